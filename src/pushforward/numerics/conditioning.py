"""What networks are shown of features that may lie anywhere."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["reach"]

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
