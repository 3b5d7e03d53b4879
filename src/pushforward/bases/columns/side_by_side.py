"""Densities side by side."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pushforward.bases.base import Base, sampled_shape
from pushforward.errors import ArgumentError, ContextError, InputTypeError, ShapeError
from pushforward.transforms.base import weakest
from pushforward.transforms.domains import Domain
from pushforward.transforms.domains.together import side_by_side

__all__ = ["Columns"]


class Columns(Base):
    """Independent densities side by side: each of its own features, from left to right.

    Args:
        *bases: the densities, each of vectors: bases or flows.

    Shapes:
        z: ``(*batch, sum of their features)``; context: ``(*batch, context)``, for those that read
        one; log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: no density at all.
        ShapeError: one that is not of vectors, or contexts of different widths.
        ContextError: no context, where one reads it.

    Cost: the sum of the densities'.

    Source: none

    Example:
        >>> from pushforward.bases import Normal, Uniform
        >>> both = Columns(Normal(1), Uniform(1, 0.0, 4.0))
        >>> both.log_prob(torch.tensor([[0.0, 1.0], [0.0, 5.0]])).detach()
        tensor([-2.3052,    -inf])
    """

    def __init__(self, *bases: Any) -> None:
        super().__init__()
        if not bases:
            raise ArgumentError("Columns: got no density, expected at least one.")
        made: list[Any] = list(bases)
        for base in made:
            if not (isinstance(base, nn.Module) and hasattr(base, "log_prob")):
                raise InputTypeError(
                    f"Columns: got a {type(base).__name__}, expected bases or flows; write "
                    f"bases.as_base(distribution) for one of torch.distributions."
                )
            shape: Any = base.event_shape
            if len(shape) != 1:
                raise ShapeError(
                    f"Columns: {type(base).__name__} is a density of shape {tuple(shape)}, "
                    f"expected one of vectors."
                )
        widths = sorted({base.context for base in made} - {0})
        if len(widths) > 1:
            raise ShapeError(f"Columns: the densities read contexts of widths {widths}.")
        self.context = widths[0] if widths else 0
        self.bases = nn.ModuleList(made)
        self._sizes = [int(base.event_shape[0]) for base in made]
        self.event_shape = (sum(self._sizes),)

    @property
    def exactness(self) -> str:  # type: ignore[override]
        """That of the weakest."""
        return weakest(*(base.exactness for base in self._all()))

    @property
    def support(self) -> Domain | None:
        """Each feature's own; not known if of one it is not."""
        supports = [getattr(base, "support", None) for base in self._all()]
        known = [support for support in supports if support is not None]
        return side_by_side(known, self._sizes) if len(known) == len(supports) else None

    def _all(self) -> list[Any]:
        return list(self.bases)

    def fit(self, z: Tensor, context: Tensor | None = None) -> Columns:
        """Let each look at its own features of rows z."""
        for base, part in zip(self._all(), torch.split(z, self._sizes, -1), strict=True):
            look = getattr(base, "fit", None)
            if look is not None:
                look(part, context if base.context else None)
        return self

    def settle(self, z: Tensor | None = None, context: Tensor | None = None) -> Columns:
        """Let each settle what it has to, of its own features."""
        parts = [None] * len(self._sizes) if z is None else torch.split(z, self._sizes, -1)
        for base, part in zip(self._all(), parts, strict=True):
            base.settle(part, context if base.context else None)
        return self

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats, the sum of the densities'."""
        parts = zip(self._all(), torch.split(z, self._sizes, -1), strict=True)
        found = [base.log_prob(part, self._read(base, context)) for base, part in parts]
        return torch.stack(found).sum(0)

    def rsample(
        self,
        n: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws of each, side by side."""
        batch = sampled_shape(n, context, ())
        draws = [
            base.rsample(n, self._read(base, context), generator=generator)
            if base.context
            else base.rsample(batch, generator=generator)
            for base in self._all()
        ]
        return torch.cat(draws, -1)

    def _read(self, base: Any, context: Tensor | None) -> Tensor | None:
        if not base.context:
            return None
        if context is None:
            raise ContextError(
                f"Columns: {type(base).__name__} reads a context of width {base.context}, got None."
            )
        return context
