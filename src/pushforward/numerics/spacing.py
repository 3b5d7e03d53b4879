"""Some of many rows, spread evenly over all of them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["spread_evenly"]


def spread_evenly(rows: int, most: int, device: torch.device | None = None) -> Tensor:
    """Indices of at most ``most`` of ``rows`` rows at even distances; all of them if they are few.

    Example:
        >>> spread_evenly(10, 4), spread_evenly(3, 4)
        (tensor([0, 2, 5, 7]), tensor([0, 1, 2]))
    """
    count = min(rows, most)
    return torch.arange(count, device=device) * rows // max(count, 1)
