"""A full matrix by its LU factors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.numerics.precision import full_precision
from pushforward.transforms.base import Transform
from pushforward.transforms.linear.matrix import (
    apply_matrix,
    solve_lower,
    solve_upper,
    spread,
)

__all__ = ["LU"]

_SMALLEST = 1e-3  # of the diagonal, so that the matrix stays invertible
_OFFSET = math.log(math.expm1(1.0 - _SMALLEST))  # the diagonal is 1 at raw = 0


class LU(Transform):
    """Linear transform ``z = L U x + shift``, L unit lower and U upper triangular.

    The diagonal of U is positive: with a ``Permutation`` before it, it reaches every matrix of
    positive determinant that elimination can factor. The identity before training.

    Args:
        features: width of x.
        shift: whether a shift is learned too.

    Shapes:
        x, z: ``(*batch, features)``; logdet: ``(*batch,)``, the same for every row

    Cost: one product of ``features``^2 a row in either direction; exact.

    Source: Oliva et al. 2018, arXiv:1801.09819; Kingma, Dhariwal 2018, arXiv:1807.03039.
        Differs: the diagonal is bounded away from zero.

    Example:
        >>> z, logdet = LU(2)(torch.tensor([1.0, 2.0]))
        >>> z.detach().round(decimals=4)
        tensor([1., 2.])
    """

    def __init__(self, features: int, shift: bool = True) -> None:
        super().__init__()
        self.event_shape = (features,)
        self.lower = nn.Parameter(torch.zeros(features, features))
        self.upper = nn.Parameter(torch.zeros(features, features))
        self.diagonal = nn.Parameter(torch.zeros(features))
        self.shift = nn.Parameter(torch.zeros(features)) if shift else None

    def _factors(self) -> tuple[Tensor, Tensor, Tensor]:
        diagonal = functional.softplus(self.diagonal + _OFFSET) + _SMALLEST
        lower = self.lower.tril(-1) + torch.eye(
            self.event_shape[0], dtype=diagonal.dtype, device=diagonal.device
        )
        return lower, self.upper.triu(1) + diagonal.diag(), diagonal

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        lower, upper, diagonal = self._factors()
        with full_precision(x):
            matrix = lower @ upper
        return apply_matrix(x, matrix, self.shift), spread(diagonal.log().sum(), x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        lower, upper, diagonal = self._factors()
        x = z if self.shift is None else z - self.shift
        return solve_upper(upper, solve_lower(lower, x)), spread(-diagonal.log().sum(), z)
