"""Powers of many numbers at once."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["powers"]


def powers(t: Tensor, degree: int) -> Tensor:
    """``1, t, ... t^degree`` along a new last dimension.

    By products: the derivatives of ``t ** 0``, of any order, are then right at 0, too.

    Example:
        >>> powers(torch.tensor([0.0, 2.0]), 3).tolist()
        [[1.0, 0.0, 0.0, 0.0], [1.0, 2.0, 4.0, 8.0]]
    """
    rows = [torch.ones_like(t)]
    for _ in range(degree):
        rows.append(rows[-1] * t)
    return torch.stack(rows, -1)
