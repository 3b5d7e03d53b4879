"""A mixture of bases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.bases.base import Base, draw_components, sampled_shape
from pushforward.errors import ArgumentError, InputTypeError, ShapeError
from pushforward.networks.mlp import MLP
from pushforward.numerics.conditioning import reach
from pushforward.transforms.base import admit_context, weakest
from pushforward.transforms.domains import Domain, Either, Everywhere

__all__ = ["Mixture"]


class Mixture(Base):
    """Mixture of densities, each a base (a ``Flow`` is one).

    Components may read a context, and so may the shares. The mixture is as exact as the weakest
    component: of bounds it is a bound; of unbiased estimates of log-densities it is an estimate
    that lies a little high, by at most half their variance, since it is the logarithm of a sum.

    ``Flow.fit`` does not reach the components: shown all rows, each would be placed on all of them.

    Args:
        *components: the densities; give them different centres, since equal ones stay equal.
        weights: shares of the components, normalized here; by default equal.
        learn: whether the shares are trained.
        context: width of a context that moves the shares, by a network of it; 0 for none.
        hidden: widths of the hidden layers of that network.

    Shapes:
        z: ``(*batch, *event_shape)``; context: ``(*batch, context)``; log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: no component, or weights that are not one positive number for each.
        InputTypeError: a component that is no base and no flow.
        ShapeError: components of different event shapes, or contexts of different widths.
        ContextError: no context for a mixture that reads one.

    Cost: the sum of the components'; every one is drawn from, too.

    Source: none

    Example:
        >>> from pushforward.bases import Normal
        >>> two = Mixture(Normal(1, loc=-2.0), Normal(1, loc=2.0))
        >>> two.log_prob(torch.zeros(1)).detach()
        tensor(-2.9189)
    """

    logits: Tensor

    def __init__(
        self,
        *components: Base,
        weights: list[float] | Tensor | None = None,
        learn: bool = True,
        context: int = 0,
        hidden: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__()
        if not components:
            raise ArgumentError("Mixture: got no component, expected at least one.")
        for part in components:
            if not (isinstance(part, nn.Module) and hasattr(part, "log_prob")):
                raise InputTypeError(_no_base(part))
        shapes = [tuple(component.event_shape) for component in components]
        if len(set(shapes)) > 1:
            raise ShapeError(f"Mixture: the components have event shapes {shapes}, expected one.")
        self.event_shape = shapes[0]
        widths = sorted({context, *(component.context for component in components)} - {0})
        if len(widths) > 1:
            raise ShapeError(f"Mixture: the parts read contexts of widths {widths}, expected one.")
        self.context = widths[0] if widths else 0
        self.components = nn.ModuleList(components)
        share = _shares([1.0] * len(components) if weights is None else weights, len(components))
        logits = (share / share.sum()).log().to(torch.get_default_dtype())
        if learn:
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits)
        self.network = MLP(context, len(components), hidden) if context else None

    @property
    def exactness(self) -> str:  # type: ignore[override]
        """That of the weakest component."""
        components: list[Any] = list(self.components)
        return weakest(*(component.exactness for component in components))

    @property
    def support(self) -> Domain | None:
        """Where a component has mass; not known if of one of them it is not.

        One that has mass everywhere settles it.
        """
        supports = [getattr(part, "support", None) for part in self.components]
        known = [support for support in supports if support is not None]
        whole = next((one for one in known if isinstance(one, Everywhere)), None)
        if whole is not None or len(known) < len(supports):
            return whole
        widest = (one for one in known if all(other.within(one) for other in known))
        return next(widest, Either(known))

    def settle(self, z: Tensor | None = None, context: Tensor | None = None) -> Mixture:
        """Let each component settle what it has to, of the rows z."""
        components: list[Any] = list(self.components)
        for component in components if z is not None else []:
            component.settle(z, context if component.context else None)
        return self

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats."""
        return torch.logsumexp(self._joint(z, context), -1)

    def responsibilities(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Probability that each component made z, ``(*batch, components)``."""
        return torch.softmax(self._joint(z, context), -1)

    def _joint(self, z: Tensor, context: Tensor | None) -> Tensor:
        batch = tuple(z.shape[: z.ndim - len(self.event_shape)])
        context = self._admitted("log_prob", batch, context)
        components: list[Any] = list(self.components)
        parts = [part.log_prob(z, context if part.context else None) for part in components]
        return torch.stack(parts, -1) + torch.log_softmax(self._logits(context), -1)

    def _admitted(
        self, method: str, batch: tuple[int, ...], context: Tensor | None
    ) -> Tensor | None:
        if not self.context:
            return None
        return admit_context(f"Mixture.{method}", "z", batch, context, self.context)

    def _logits(self, context: Tensor | None) -> Tensor:
        """Logarithms of the shares but for a constant, ``(components,)`` or one for each row."""
        if self.network is None or context is None:
            return self.logits
        more: Tensor = self.network(reach(context)).to(self.logits.dtype)
        return self.logits + more

    def rsample(
        self,
        n: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws; gradients reach the components, but not the choice among them."""
        shape = sampled_shape(n, context, self.event_shape)
        batch = shape[: len(shape) - len(self.event_shape)]
        given = self._admitted("rsample", () if context is None else context.shape[:-1], context)
        which = draw_components(self._logits(given), batch, generator)
        components: list[Any] = list(self.components)
        draws = [
            component.rsample(n, given, generator=generator)
            if component.context
            else component.rsample(batch, generator=generator)
            for component in components
        ]
        index = which.reshape(1, *batch, *(1 for _ in self.event_shape)).expand(1, *shape)
        return torch.stack(draws).gather(0, index)[0]


def _shares(weights: Any, components: int) -> Tensor:
    """The weights, one for each component, checked."""
    try:
        share = torch.as_tensor(weights)
        fits = share.shape == (components,) and bool((share.isfinite() & (share > 0)).all())
    except (TypeError, ValueError, RuntimeError):  # no numbers at all, or ragged lists of them
        fits = False
    if not fits:
        shown = weights.tolist() if isinstance(weights, Tensor) else weights
        raise ArgumentError(
            f"Mixture: weights are {shown!r:.80}, expected {components} positive numbers."
        )
    return share


def _no_base(part: Any) -> str:
    several = isinstance(part, list | tuple)
    hint = "; write Mixture(a, b) rather than Mixture([a, b])" if several else ", or flows"
    return f"Mixture: got a {type(part).__name__}, expected bases{hint}."
