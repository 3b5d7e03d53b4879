"""What linear transforms share: full precision under autocast, logdet spread over the batch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["apply_matrix", "full_precision", "solve_lower", "solve_upper", "spread"]


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Autocast switched off where x lives; some devices, such as ``meta``, have none."""
    if torch.amp.is_autocast_available(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()


def apply_matrix(x: Tensor, matrix: Tensor, shift: Tensor | None = None) -> Tensor:
    """``matrix @ x + shift`` for each row, never in half precision: it is part of a density."""
    with full_precision(x):
        return functional.linear(x, matrix, shift)


def solve_lower(matrix: Tensor, x: Tensor) -> Tensor:
    """``matrix^-1 @ x`` for each row, with a unit lower triangle."""
    return _solve(matrix, x, upper=False, unit=True)


def solve_upper(matrix: Tensor, x: Tensor) -> Tensor:
    """``matrix^-1 @ x`` for each row, with an upper triangle."""
    return _solve(matrix, x, upper=True, unit=False)


def _solve(matrix: Tensor, x: Tensor, *, upper: bool, unit: bool) -> Tensor:
    # Rows times the transposed triangle from the right: the batch is one dimension of the solve.
    flat = x.reshape(-1, x.shape[-1])
    solved: Tensor = torch.linalg.solve_triangular(
        matrix.mT, flat, upper=not upper, left=False, unitriangular=unit
    )
    return solved.reshape(x.shape)


def spread(logdet: Tensor, x: Tensor) -> Tensor:
    """One logdet for all rows of x."""
    return logdet.expand(x.shape[:-1])
