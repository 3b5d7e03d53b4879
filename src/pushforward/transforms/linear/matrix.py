"""What linear transforms share: products and solves for each row, logdet spread over them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.numerics.precision import full_precision

__all__ = ["apply_matrix", "solve_lower", "solve_upper", "spread"]


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
