"""One box to another."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.transforms.domains.box import Box, box_ends
from pushforward.transforms.support.base import Pointwise

__all__ = ["Interval"]


class Interval(Pointwise):
    """Interval to interval along a straight line; ends go to ends exactly.

    Outside ``[low, high]`` the density is zero: for a line without ends take ``Diagonal``.

    Args:
        features: width of x.
        low: lower ends of x, a number or ``(features,)``.
        high: upper ends of x.
        to_low: lower ends of z.
        to_high: upper ends of z.

    Shapes:
        x: ``(*batch, features)``, in [low, high]; z: the same, in [to_low, to_high];
        logdet: ``(*batch,)``, the same for every row

    Raises:
        ArgumentError: an upper end that is not above its lower end.

    Cost: a few elementwise operations in either direction; exact.

    Source: none

    Example:
        >>> Interval(1, 0.0, 255.0)(torch.tensor([[51.0], [256.0]]))
        (tensor([[0.2000],
                [1.0000]]), tensor([-5.5413,    -inf]))
    """

    low: Tensor
    high: Tensor
    to_low: Tensor
    to_high: Tensor

    def __init__(
        self,
        features: int,
        low: float | Tensor,
        high: float | Tensor,
        to_low: float | Tensor = 0.0,
        to_high: float | Tensor = 1.0,
    ) -> None:
        super().__init__(features)
        ends = box_ends("Interval", low, high, features)
        ends_of_z = box_ends("Interval", to_low, to_high, features, "to_")
        names = ("low", "high", "to_low", "to_high")
        for name, end in zip(names, (*ends, *ends_of_z), strict=True):
            self.register_buffer(name, end)

    @property
    def domain(self) -> Box:
        """The first interval, with its ends."""
        return Box(self.low, self.high, closed=True)

    @property
    def codomain(self) -> Box:
        """The second interval, with its ends."""
        return Box(self.to_low, self.to_high, closed=True)

    def _there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return _along(x, self.low, self.high, self.to_low, self.to_high)

    def _back(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return _along(z, self.to_low, self.to_high, self.low, self.high)


def _along(x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """[a, b] to [c, d]; lerp hits both ends without rounding."""
    log_slope = (d - c).log() - (b - a).log()
    return torch.lerp(c, d, (x - a) / (b - a)), log_slope.expand(x.shape)
