"""What networks are shown of features that may lie anywhere."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["reach", "reach_slope"]

_SCALE = 4.0


def reach(x: Tensor) -> Tensor:
    """Compress far values: nearly x within a few standard deviations, logarithmic beyond.

    A network that reads a row a million standard deviations away extrapolates linearly to scales
    that overflow. What a network is shown need not be invertible, so it is shown
    ``4 asinh(x / 4)``.

    Example:
        >>> reach(torch.tensor([0.0, 1.0, 1e6]))
        tensor([ 0.0000,  0.9899, 52.4895])
    """
    return _SCALE * torch.asinh(x / _SCALE)


def reach_slope(x: Tensor) -> Tensor:
    """The derivative of ``reach``: 1 at the origin, falling as ``4 / |x|`` far out.

    Example:
        >>> reach_slope(torch.tensor([0.0, 3.0, 1e30]))
        tensor([1.0000e+00, 8.0000e-01, 4.0000e-30])
    """
    # not sqrt(1 + x^2), which overflows where x^2 does
    return 1.0 / torch.hypot(torch.ones_like(x), x / _SCALE)
