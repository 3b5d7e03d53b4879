"""The uniform base on a box."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.bases.base import Base, sampled_shape
from pushforward.transforms.domains.box import Box, box_ends

__all__ = ["Uniform"]


class Uniform(Base):
    """Uniform density on a box.

    Args:
        features: width of z.
        low: lower ends, a number or ``(features,)``.
        high: upper ends, a number or ``(features,)``.

    Shapes:
        z: ``(*batch, features)``; log_prob: ``(*batch,)``, nats, -inf outside the box

    Raises:
        ArgumentError: an upper end that is not above its lower end.

    Cost: two comparisons a number for a density, one product for a draw.

    Source: none

    Example:
        >>> Uniform(2, 0.0, 2.0).log_prob(torch.tensor([[1.0, 1.0], [1.0, 3.0]]))
        tensor([-1.3863,    -inf])
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, features: int, low: float | Tensor = 0.0, high: float | Tensor = 1.0
    ) -> None:
        super().__init__()
        self.event_shape = (features,)
        ends = box_ends("Uniform", low, high, features)
        for name, end in zip(("low", "high"), ends, strict=True):
            self.register_buffer(name, end)

    @property
    def support(self) -> Box:
        """The box."""
        return Box(self.low, self.high, closed=True)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats."""
        inside = self.support.contains(z)
        level = -(self.high - self.low).log().sum()
        # nan is neither inside nor outside: it stays nan
        outside = torch.where(z.isnan().any(-1), math.nan, -math.inf).to(z.dtype)
        return torch.where(inside, level, outside)

    def rsample(
        self,
        n: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws, ``(*n, *context_batch, features)``."""
        shape = sampled_shape(n, context, self.event_shape)
        share = torch.rand(shape, generator=generator, dtype=self.low.dtype, device=self.low.device)
        # An end, which an open support does not have, comes once in 17 million draws of float32.
        share = torch.where(share > 0, share, 0.25 * torch.finfo(share.dtype).eps)
        drawn = torch.lerp(self.low, self.high, share)
        return Box(self.low, self.high).pull_in(drawn)
