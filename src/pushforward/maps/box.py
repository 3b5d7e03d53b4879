"""Maps whose formula holds on a box that the data sets, and that go on in another way outside."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor

from pushforward.errors import ArgumentError, ShapeError
from pushforward.maps.base import Map
from pushforward.numerics.order_statistics import central_range, refuse_empty, refuse_not_finite

__all__ = ["Boxed"]

B = TypeVar("B", bound="Boxed")

_SHARE = 0.999  # the central share of the data that the box covers
_MARGIN = 1.1  # room around it, so that the outermost rows do not sit on an end
_UNFITTED = 3.5  # half width until the data says another


class Boxed(Map):
    """A map on ``[low, high]``, a symmetric box for each feature.

    Args:
        box: half width of the box, or ``None`` to read it off the data (3.5 until ``fit``).
    """

    low: Tensor
    high: Tensor

    def __init__(self, box: float | None = None) -> None:
        super().__init__()
        if box is not None and not 0.0 < box < math.inf:
            raise ArgumentError(f"{type(self).__name__}: box is {box}, expected a positive number.")
        self.box = box
        half = _UNFITTED if box is None else float(box)
        self.register_buffer("low", torch.tensor(-half))
        self.register_buffer("high", torch.tensor(half))

    @property
    def constants(self) -> tuple[Tensor | None, Tensor | None]:
        """The ends of the boxes."""
        own = self._buffers  # asking the module for them takes longer than the rest
        low, high = own.get("low"), own.get("high")
        return (self.low, self.high) if low is None or high is None else (low, high)

    def bind(self: B, features: int) -> B:
        """A copy with a box for each of ``features`` numbers."""
        bound = super().bind(features)
        bound.low = self.low.expand(features).clone()
        bound.high = self.high.expand(features).clone()
        return bound

    def part(self: B, index: slice | Tensor) -> B:
        """This map with the boxes of some of the features."""
        return self._with(low=self.low[index], high=self.high[index])

    def fit(self: B, x: Tensor) -> B:
        """Set the box from ``(n, features)``, unless one was given."""
        if self.box is not None:
            return self
        if x.shape[-1] != self.low.numel():
            raise ShapeError(
                f"{type(self).__name__}.fit: x has {x.shape[-1]} features, the map is bound to "
                f"{self.low.numel()}; call bind({x.shape[-1]}) first."
            )
        who = f"{type(self).__name__}.fit"
        refuse_empty(who, x)
        low, high = central_range(x, _SHARE)
        half = torch.maximum(low.abs(), high.abs()) * _MARGIN
        refuse_not_finite(who, half)
        half = torch.where(half > 0, half, torch.ones_like(half))
        self.low.copy_(-half)
        self.high.copy_(half)
        return self
