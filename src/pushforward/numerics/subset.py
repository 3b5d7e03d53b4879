"""Some of many rows, spread over all of them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["some_of"]


def some_of(rows: int, most: int, device: torch.device | None = None) -> Tensor:
    """Indices of at most ``most`` of ``rows`` rows: one, at random, from each of as many stretches.

    All rows if they are few enough. The choice is the same every time, and follows no pattern that
    the order of the rows may have.

    Example:
        >>> some_of(3, 4)
        tensor([0, 1, 2])
        >>> bool((some_of(1000, 10) // 100 == torch.arange(10)).all())
        True
    """
    if rows <= most:
        return torch.arange(rows, device=device)
    within = torch.rand(most, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    place = (torch.arange(most, dtype=torch.float64) + within) * (rows / most)
    return place.long().clamp_max(rows - 1).to(device)
