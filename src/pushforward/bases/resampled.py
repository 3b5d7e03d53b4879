"""A base resampled by a learned chance of acceptance."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pushforward.bases.base import Base, sampled_shape
from pushforward.bases.wrapped import as_base
from pushforward.errors import ArgumentError, ShapeError
from pushforward.networks.given import made_network, shaped_output
from pushforward.networks.mlp import MLP
from pushforward.numerics.conditioning import reach
from pushforward.transforms.base import current_generator, weakest
from pushforward.transforms.domains import Domain

__all__ = ["Normalizer", "Resampled"]

_BOUND = 10.0  # of the logit: chances from 5e-5 to 1 - 5e-5, whose logarithms float32 can hold
_CHUNK = 1 << 16  # draws that are looked at together
_LESS = 32  # times fewer draws in training


class Normalizer(NamedTuple):
    """The mean chance of acceptance Z, and how well it is known.

    Attributes:
        log_z: log Z.
        standard_error: of log Z, in nats; the same error in every log-density.
        samples: how many draws it rests on.
    """

    log_z: float
    standard_error: float
    samples: int


class Resampled(Base):
    r"""Another base whose draws are accepted with a learned chance, and drawn again if not.

    With a proposal pi, chances a(z) from a network, their mean Z and at most T draws,

        p(z) = pi(z) ((1 - alpha) a(z) / Z + alpha),    alpha = (1 - Z)^(T - 1).

    A proposal of one lump can so become several, or a ring, without a transform that tears it.
    All chances are 1/2 before training: the base is then the proposal.

    Z is a mean over draws, and the density is normalized as far as Z is known: log Z has a
    standard error of at most ``sqrt((1 - Z) / (Z samples))``, which ``normalizer()`` tells, and
    which is the same for every z: 0.4 % at Z = 0.3, 1.3 % at Z = 0.04. In training mode the draws
    are new ones each time, and ``exactness`` is ``estimate`` (log Z is biased by half the square
    of its standard error). In evaluation they are the same ones each time, ``samples`` of them, so
    that a density is a function of z and the weights alone, and ``exactness`` is ``exact``: exact
    given Z. ``settle()`` keeps a Z of many more draws until training goes on, which is saved, too:
    densities then cost less, and are known four times as well; only then do ``torch.compile`` in
    one graph and ``vmap`` take them.

    Args:
        base: the proposal, a base that reads no context or a ``torch.distributions`` distribution.
        network: a function of (inputs, outputs) giving the network of the chances' logits; by
            default an ``MLP``. Its output is bounded to 10 either way.
        truncation: largest number of draws T, 2 or more; the last one is always accepted.
        hidden: widths of the hidden layers of the default network.
        samples: draws behind Z in evaluation; a thirty-second part of them in training.

    Shapes:
        z: ``(*batch, features)``; log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: a truncation below 2, fewer than 10 samples, or a base with a context.
        ShapeError: a base whose events are no vectors; when called: the network gives another
            width than was asked for.
        InputTypeError: ``network`` is no function that gives a network.

    Cost: a density one call of the network a row, and, until ``settle()``, one for each of
        ``samples``; a draw about 1 / Z calls, at most T. Gradients of draws reach the proposal,
        not the chances: whether a draw is accepted is not differentiable.

    Source: Bauer, Mnih 2019, arXiv:1810.11428; Stimper, Schölkopf, Hernández-Lobato 2022,
        arXiv:2110.15828.
        Differs: no running mean of Z, which lags behind the weights, but many draws; the gradient
        of Z reaches the proposal, too.

    Example:
        >>> from pushforward.bases import Normal
        >>> base = Resampled(Normal(2)).eval()
        >>> bool((base.log_prob(torch.zeros(2)) - Normal(2).log_prob(torch.zeros(2))).abs() < 1e-4)
        True
    """

    kept: Tensor  # what is settled: log Z, its standard error, number of draws; zeros if nothing is

    def __init__(
        self,
        base: Any,
        network: Callable[[int, int], nn.Module] | None = None,
        truncation: int = 100,
        hidden: Sequence[int] = (64, 64),
        samples: int = 1 << 17,
    ) -> None:
        super().__init__()
        for name, value, least in (("truncation", truncation, 2), ("samples", samples, 10)):
            if value < least:
                raise ArgumentError(
                    f"Resampled: {name} is {value!r}, expected a whole number from {least} up."
                )
        base = as_base(base)
        if base.context:
            raise ArgumentError(
                f"Resampled: base reads a context of width {base.context}, which would need a Z "
                f"for each; put the context into the transform of the flow."
            )
        self.event_shape = tuple(base.event_shape)
        if len(self.event_shape) != 1:
            raise ShapeError(
                f"Resampled: base is a density of shape {self.event_shape}, expected (features,)."
            )
        self.base = base
        self.truncation, self.samples = operator.index(truncation), operator.index(samples)
        width = self.event_shape[0]
        self.network = (
            MLP(width, 1, hidden)
            if network is None
            else made_network("Resampled", network, width, 1)
        )
        self.register_buffer("kept", torch.zeros(3))
        self.settled: Normalizer | None = None

    @property
    def support(self) -> Domain | None:
        """That of the proposal."""
        return getattr(self.base, "support", None)

    @property
    def exactness(self) -> str:  # type: ignore[override]
        """``estimate`` in training mode, else ``exact``, given Z."""
        return weakest("estimate" if self.training else "exact", self.base.exactness)

    def train(self, mode: bool = True) -> Resampled:
        """Training mode forgets a settled Z."""
        if mode and self.settled is not None:
            self.settled = None
            self.kept.zero_()
        return super().train(mode)

    def normalizer(self, samples: int | None = None, seed: int = 0) -> Normalizer:
        """Z from many draws, and its standard error; nothing is changed."""
        samples = self.samples if samples is None else samples
        generator = torch.Generator(self.kept.device).manual_seed(seed)
        total = square = torch.zeros((), dtype=torch.float64, device=generator.device)
        with torch.no_grad():
            for start in range(0, samples, _CHUNK):
                count = min(_CHUNK, samples - start)
                chance = self._log_chance(self.base.rsample(count, generator=generator)).exp()
                total = total + chance.double().sum()
                square = square + chance.double().square().sum()
        mean = total / samples
        deviation = (square / samples - mean.square()).clamp_min(0.0).sqrt()
        error = float(deviation / mean) / math.sqrt(samples)
        return Normalizer(float(mean.log()), error, samples)

    def settle(
        self, z: Tensor | None = None, context: Tensor | None = None, *, samples: int = 1 << 21
    ) -> Resampled:
        """Go to evaluation, and keep a Z of many draws until training goes on; z is not read."""
        self.eval()
        self.settled = self.normalizer(samples)
        self.kept.copy_(torch.tensor(self.settled))
        return self

    def _load_from_state_dict(self, state: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state, prefix, *rest)
        log_z, error, samples = self.kept.tolist()
        self.settled = Normalizer(log_z, error, int(samples)) if samples else None

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats."""
        log_z = self._log_z()
        log_miss = (self.truncation - 1) * torch.log1p(-log_z.exp())  # log alpha
        log_hit = torch.log(-torch.expm1(log_miss))
        chosen = log_hit + self._log_chance(z) - log_z
        log_pi: Tensor = self.base.log_prob(z)
        return log_pi + torch.logaddexp(chosen, log_miss)

    def rsample(
        self,
        n: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws by rejection; gradients reach the proposal, but not the chances."""
        shape = sampled_shape(n, context, self.event_shape)
        count = math.prod(shape[:-1])
        left = torch.arange(count, device=self.kept.device)
        places, draws = [], []
        for attempt in range(self.truncation):
            z = self.base.rsample(len(left), generator=generator)
            with torch.no_grad():
                chance = self._log_chance(z).exp()
                share = torch.rand(
                    len(left), generator=generator, dtype=chance.dtype, device=chance.device
                )
                taken = (share < chance) | (attempt == self.truncation - 1)
            places.append(left[taken])
            draws.append(z[taken])
            left = left[~taken]
            if not len(left):
                break
        order = torch.cat(places).argsort()
        return torch.cat(draws)[order].reshape(shape)

    def fit(self, z: Tensor, context: Tensor | None = None) -> Resampled:
        """Let the proposal look at latents, if it does."""
        look = getattr(self.base, "fit", None)
        if look is not None:
            look(z)
        return self

    def _log_chance(self, z: Tensor) -> Tensor:
        """``log a(z)``, ``(*batch,)``."""
        given = self.network(reach(z))
        logit = shaped_output("Resampled", self.network, given, (*z.shape[:-1], 1))
        logit = logit.squeeze(-1).to(z.dtype)
        return nn.functional.logsigmoid(_BOUND * torch.tanh(logit / _BOUND))

    def _log_z(self) -> Tensor:
        if self.settled is not None:
            return self.kept[0]
        if self.training:
            count, generator = max(1, self.samples // _LESS), current_generator()
        else:
            count = self.samples
            generator = torch.Generator(self.kept.device).manual_seed(0)
        with torch.no_grad():
            z = self.base.rsample(count, generator=generator)
        log_chance = self._log_chance(z)
        if torch.is_grad_enabled() and any(p.requires_grad for p in self.base.parameters()):
            # the draws stand still: this factor of 1 has the gradient of their distribution
            log_pi = self.base.log_prob(z)
            log_chance = log_chance + log_pi - log_pi.detach()
        return log_chance.logsumexp(0) - math.log(count)

    def extra_repr(self) -> str:
        """What was chosen."""
        return f"truncation={self.truncation}, samples={self.samples}"
