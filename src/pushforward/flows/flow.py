"""A flow: the density that a transform makes of a base."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from pushforward.bases import Base
from pushforward.bases.base import Scored, draw_counts
from pushforward.errors import ArgumentError, ContextError, InputTypeError, ShapeError
from pushforward.flows.arrays import as_tensor, first_floating
from pushforward.flows.supports import base_for, origin, refuse_lost_mass, refuse_outside
from pushforward.numerics.order_statistics import refuse_empty
from pushforward.numerics.subset import some_of
from pushforward.spec import Part
from pushforward.transforms.base import Transform, drawing_from, weakest
from pushforward.transforms.domains import Domain
from pushforward.transforms.influence import warn_if_disconnected
from pushforward.transforms.pushing import of_each_row, push

if TYPE_CHECKING:
    from torch.distributions import Distribution

__all__ = ["Estimate", "Flow"]

_LATENTS = 1 << 14  # that a base looks at, at most


class Estimate(NamedTuple):
    """Log-density with what is known of its accuracy.

    Attributes:
        log_prob: ``(*batch,)``, nats.
        standard_error: ``(*batch,)``, nats; zero where the density is exact, nan from one sample.
        samples: how many draws it rests on.
        evaluations: how often the transform was evaluated; of a continuous one, how often its
            network was, each time for all rows and samples.
        exactness: ``exact``, ``estimate`` (unbiased) or ``bound`` (a lower one).
    """

    log_prob: Tensor
    standard_error: Tensor
    samples: int
    evaluations: int
    exactness: str


class Flow(Part, nn.Module):
    """A normalized density: ``log p(x | c) = base.log_prob(z, e) + logdet`` with ``e = embed(c)``.

    Args:
        transform: takes data x to latent z.
        base: the density of z: a base, a ``torch.distributions`` distribution or another flow.
        embed: a module applied once to the context; it gives ``(*batch, width)``.

    Shapes:
        x: ``(*batch, *event_shape)``; context: ``(*context_batch, context)``, broadcast to the
        batch of x; ``sample(n, context)`` gives ``(*n, *context_batch, *event_shape)``
        log-densities: ``(*batch,)``, nats, in the units of x

    Arrays and frames of numbers are taken too, and cast to the flow's dtype and device.

    Raises:
        ArgumentError: the base has mass that the transform does not reach, so that the density
            would not integrate to one: a normal base behind a sigmoid.
        ShapeError: transform and base do not fit, or x does not fit the flow.
        ContextError: a context is missing, or given to a flow that reads none.
        InputTypeError: ``transform`` or ``base`` is none, or x holds no numbers.
        DataError: in ``fit``, if there is no row, or one that has no density.

    Source: Papamakarios et al. 2021, arXiv:1912.02762

    Example:
        >>> from pushforward import bases, transforms
        >>> flow = Flow(transforms.Diagonal(2), bases.Normal(2))
        >>> flow.log_prob([[0.0, 0.0]]).detach()
        tensor([-1.8379])
        >>> flow.sample(3).shape
        torch.Size([3, 2])
    """

    def __init__(self, transform: Transform, base: Any, embed: nn.Module | None = None) -> None:
        super().__init__()
        if not isinstance(transform, Transform):
            raise InputTypeError(
                f"Flow: transform is a {type(transform).__name__}, expected a Transform."
            )
        self.transform = transform
        self.base = base_for(transform, base)
        self.embed = embed
        if transform.latent_shape != tuple(self.base.event_shape):
            raise ShapeError(
                f"Flow: the transform gives z of shape {transform.latent_shape}, the base is a "
                f"density of shape {tuple(self.base.event_shape)}."
            )
        refuse_lost_mass(transform, self.base)
        widths = {transform.context, self.base.context} - {0}
        if len(widths) > 1:
            raise ShapeError(f"Flow: transform and base read contexts of widths {sorted(widths)}.")
        self.context: int = widths.pop() if widths else 0
        self.facts: dict[str, Any] = {}
        warn_if_disconnected("Flow", self._in_a_row())

    def _in_a_row(self) -> list[Transform]:
        """The transforms down to the innermost base, data first."""
        inner = self.base._in_a_row() if isinstance(self.base, Flow) else []
        return [self.transform, *inner]

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one x."""
        return self.transform.event_shape

    @property
    def support(self) -> Domain | None:
        """Where it has mass; None where that is not known."""
        return origin(self.transform, self.base)

    @property
    def exactness(self) -> str:
        """``exact``, ``estimate`` or ``bound``: what ``log_prob`` is."""
        return weakest(self.transform.exactness, self.base.exactness)

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of the weights."""
        like = first_floating(self)
        return torch.get_default_dtype() if like is None else like.dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        like = first_floating(self)
        return torch.device("cpu") if like is None else like.device

    # ------------------------------------------------------------------ densities

    def forward(self, x: Any, context: Any = None) -> Tensor:
        """The same as ``log_prob``."""
        return self.log_prob(x, context)

    def log_prob(
        self,
        x: Any,
        context: Any = None,
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Log-density of x in nats, ``(*batch,)``.

        Args:
            x: ``(*batch, *event_shape)``.
            context: ``(*context_batch, context)``.
            samples: draws a row where the density is not exact: a bound takes their
                log-mean-exp, which is tighter for more of them, an estimate their mean.
            generator: where those draws come from.
        """
        x, e = self._data("log_prob", x), self._embedded("log_prob", context)
        if self.exactness == "exact":
            return self._log_prob(x, e)
        draws = self._draws(x, e, samples, generator)
        if self.exactness == "bound":
            return draws.logsumexp(0) - math.log(samples)
        return draws.mean(0)

    def estimate(
        self,
        x: Any,
        context: Any = None,
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Estimate:
        """Log-density with its standard error, for flows whose density is not exact."""
        x, e = self._data("estimate", x), self._embedded("estimate", context)
        if self.exactness == "exact":
            exact = self._log_prob(x, e)
            return Estimate(exact, torch.zeros_like(exact), 1, self._evaluations(1), "exact")
        draws = self._draws(x, e, samples, generator)
        if self.exactness == "estimate":
            error = _error_of_mean(draws)
            return Estimate(draws.mean(0), error, samples, self._evaluations(samples), "estimate")
        value = draws.logsumexp(0) - math.log(samples)
        ratio = (draws - value).exp()  # delta method: the log of a mean of ratios
        error = _error_of_mean(ratio)
        return Estimate(value, error, samples, self._evaluations(samples), "bound")

    def _evaluations(self, samples: int) -> int:
        """The network calls that solvers counted; without a solver, one pass a sample."""
        counts = (part.evaluations for part in self.modules() if isinstance(part, Transform))
        return sum(counts) or samples

    def _log_prob(self, x: Tensor, e: Tensor | None) -> Tensor:
        end = Scored(self.base, e if self.base.context else None)
        return self.transform._scored(x, e if self.transform.context else None, end)

    def _base_log_prob(self, z: Tensor, e: Tensor | None) -> Tensor:
        return self.base.log_prob(z, e if self.base.context else None)  # type: ignore[no-any-return]

    def _draws(
        self, x: Tensor, e: Tensor | None, samples: int, generator: torch.Generator | None
    ) -> Tensor:
        if samples < 1:
            raise ArgumentError(f"Flow.log_prob: samples is {samples}, expected at least 1.")
        with drawing_from(generator):
            return self._log_prob(x.expand(samples, *x.shape), e)

    # ------------------------------------------------------------------ samples

    def sample(
        self,
        n: int | tuple[int, ...] = (),
        context: Any = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws, ``(*n, *context_batch, *event_shape)``, without gradients."""
        with torch.no_grad():
            return self.rsample(n, context, generator=generator)

    def rsample(
        self,
        n: int | tuple[int, ...] = (),
        context: Any = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws with gradients to the weights."""
        e = self._embedded("rsample", context)
        return self._generate(n, e, generator)[0]

    def sample_and_log_prob(
        self,
        n: int | tuple[int, ...] = (),
        context: Any = None,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draws and their log-densities in one pass, without gradients."""
        with torch.no_grad():
            return self.rsample_and_log_prob(n, context, generator=generator)

    def rsample_and_log_prob(
        self,
        n: int | tuple[int, ...] = (),
        context: Any = None,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draws and their log-densities in one pass, with gradients to the weights."""
        e = self._embedded("rsample_and_log_prob", context)
        x, z, logdet = self._generate(n, e, generator)
        # -inf says that z has no x: what is returned in its place has no density
        log_prob = self._base_log_prob(z, e) - logdet
        return x, torch.where(logdet == -math.inf, -math.inf, log_prob)

    def _generate(
        self, n: int | tuple[int, ...], e: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if self.base.context or e is None:
            z = self.base.rsample(n, e, generator=generator)
        else:
            z = self.base.rsample((*draw_counts(n), *e.shape[:-1]), generator=generator)
        with drawing_from(generator):
            x, logdet = self.transform.inverse(z, e if self.transform.context else None)
        return x, z, logdet

    # ------------------------------------------------------------------ encodings

    def encode(self, x: Any, context: Any = None) -> Tensor:
        """Data to latent, ``(*batch, *latent_shape)``."""
        e = self._embedded("encode", context)
        return self.transform(self._data("encode", x), e if self.transform.context else None)[0]  # type: ignore[no-any-return]

    def decode(self, z: Any, context: Any = None) -> Tensor:
        """Latent to data, ``(*batch, *event_shape)``."""
        e = self._embedded("decode", context)
        z = as_tensor("Flow.decode", "z", z, self.dtype, self.device)
        return self.transform.inverse(z, e if self.transform.context else None)[0]

    def states(self, x: Any, context: Any = None) -> list[tuple[str, Tensor, Tensor]]:
        """What each layer makes of x: its name, the state behind it, the logdet up to there."""
        e = self._embedded("states", context)
        x = self._data("states", x)
        total = x.new_zeros(x.shape[: x.ndim - len(self.event_shape)])
        seen = [("data", x, total)]
        for name, apply in self.transform.steps():
            x, logdet = apply(x, e)
            total = total + logdet
            seen.append((name, x, total))
        return seen

    def distribution(self, context: Any = None) -> Distribution:
        """This density as a ``torch.distributions.Distribution``, for one context (or a batch)."""
        from pushforward.flows.distribution import FlowDistribution

        return FlowDistribution(self, context)

    # ------------------------------------------------------------------ data

    def fit(self, x: Any, context: Any = None) -> Flow:
        """Let transform and embedding read off the data what they take from it.

        This sets scalings, boxes and the like, and trains nothing: ``pf.fit`` does both.
        """
        with torch.no_grad():
            x = self._data("fit", x)
            refuse_empty("Flow.fit", x)
            refuse_outside("Flow.fit: x", self.transform.domain, x)
            look = getattr(self.embed, "fit", None)
            if look is not None and context is not None:
                look(as_tensor("Flow.fit", "context", context, self.dtype, self.device))
            e = self._embedded("fit", context)
            self.transform.fit(x, e)
            look = getattr(self.base, "fit", None)
            if look is not None:
                some = some_of(len(x), _LATENTS, x.device)
                e = of_each_row(x, e)
                e = None if e is None else e[some]
                x = x[some]
                z = self.transform(x, e if self.transform.context else None)[0]
                look(z, e if self.base.context else None)
        return self

    def settle(self, x: Any, context: Any = None) -> Flow:
        """Set what evaluation needs to know of the trained flow; ``pf.fit`` does so at its end.

        Statistics of batch normalization become those of all rows x, and bases that normalize
        themselves by draws take many.
        """
        with torch.no_grad():
            x, e = self._data("settle", x), self._embedded("settle", context)
            self.transform.settle(x, e)
            if type(self.base).settle is not Base.settle:
                z = push(self.transform, x, e if self.transform.context else None)
                self.base.settle(z, of_each_row(x, e) if self.base.context else None)
        return self

    def _data(self, method: str, x: Any) -> Tensor:
        like = first_floating(self)  # one look at the weights tells both
        if like is None:
            return as_tensor(f"Flow.{method}", "x", x, self.dtype, self.device)
        return as_tensor(f"Flow.{method}", "x", x, like.dtype, like.device)

    def _embedded(self, method: str, context: Any) -> Tensor | None:
        if self.context == 0:
            if context is not None:
                raise ContextError(
                    f"Flow.{method}: got a context, but this flow reads none; "
                    f"build it with context={_width(context)}."
                )
            return None
        if context is None:
            raise ContextError(
                f"Flow.{method}: needs a context of shape (*batch, {self.context}), got None."
            )
        e = as_tensor(f"Flow.{method}", "context", context, self.dtype, self.device)
        e = e if self.embed is None else self.embed(e)
        if e.shape[-1:] != (self.context,):
            raise ShapeError(
                f"Flow.{method}: context has shape {tuple(e.shape)}"
                f"{' after embed' if self.embed is not None else ''}, "
                f"expected (*batch, {self.context})."
            )
        return e

    def remembered(self) -> dict[str, Any]:
        """What is known of the flow besides its weights: its recipe and its training."""
        return dict(self.facts)

    def remember(self, facts: Mapping[str, Any]) -> None:
        """Take back what ``remembered`` gave."""
        self.facts = dict(facts)


def _error_of_mean(draws: Tensor) -> Tensor:
    """Standard error of the mean over the first dimension; one draw tells nothing of it."""
    if len(draws) < 2:
        return torch.full_like(draws[0], math.nan)
    return draws.std(0) / math.sqrt(len(draws))


def _width(context: Any) -> int | str:
    shape: Sequence[int] = getattr(context, "shape", ())
    return int(shape[-1]) if len(shape) else "…"
