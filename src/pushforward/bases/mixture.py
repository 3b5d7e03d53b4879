"""A mixture of bases."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pushforward.bases.base import Base, draw_components, sampled_shape
from pushforward.errors import ArgumentError, ShapeError

__all__ = ["Mixture"]


class Mixture(Base):
    """Mixture of densities, each a base (a ``Flow`` is one).

    Args:
        *components: the densities; give them different centres, since equal ones stay equal.
        weights: shares of the components, normalized here; by default equal.
        learn: whether the shares are trained.

    Shapes:
        z: ``(*batch, *event_shape)``; log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: no component, or weights that are not positive.
        ShapeError: components of different event shapes.

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
    ) -> None:
        super().__init__()
        if not components:
            raise ArgumentError("Mixture: got no component, expected at least one.")
        shapes = [tuple(component.event_shape) for component in components]
        if len(set(shapes)) > 1:
            raise ShapeError(f"Mixture: the components have event shapes {shapes}, expected one.")
        self.event_shape = shapes[0]
        self.context = max(component.context for component in components)
        self.components = nn.ModuleList(components)
        share = torch.ones(len(components)) if weights is None else torch.as_tensor(weights)
        if len(share) != len(components) or not bool((share > 0).all()):
            raise ArgumentError(
                f"Mixture: weights are {share.tolist()}, expected {len(components)} "
                f"positive numbers."
            )
        logits = (share / share.sum()).log().to(torch.get_default_dtype())
        if learn:
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats."""
        return torch.logsumexp(self._joint(z, context), -1)

    def responsibilities(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Probability that each component made z, ``(*batch, components)``."""
        return torch.softmax(self._joint(z, context), -1)

    def _joint(self, z: Tensor, context: Tensor | None) -> Tensor:
        parts = [_log_prob(component, z, context) for component in self.components]
        return torch.stack(parts, -1) + torch.log_softmax(self.logits, -1)

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
        which = draw_components(self.logits, batch, generator)
        components: list[Any] = list(self.components)
        draws = [
            component.rsample(n, context if component.context else None, generator=generator)
            if component.context or context is None
            else component.rsample(batch, generator=generator)
            for component in components
        ]
        index = which.reshape(1, *batch, *(1 for _ in self.event_shape)).expand(1, *shape)
        return torch.stack(draws).gather(0, index)[0]


def _log_prob(component: nn.Module, z: Tensor, context: Tensor | None) -> Tensor:
    return component.log_prob(z, context if component.context else None)  # type: ignore[operator,no-any-return]
