"""Matrices with orthonormal columns, from unconstrained numbers; one, or one a row."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.transforms.linear import rotations

__all__ = ["exponential", "reflected"]

_TINY = 1e-30


def exponential(raw: Tensor) -> Tensor:
    """The first columns of ``exp(A)``, A antisymmetric with ``raw`` below its diagonal.

    Every orthonormal frame narrower than the space can be reached; of the full ones the rotations.

    Shapes:
        raw, result: ``(*batch, features, rank)``, rank at most features
    """
    features, rank = raw.shape[-2:]
    square = functional.pad(raw.tril(-1), (0, features - rank))
    return rotations.exponential(square)[..., :rank]


def reflected(raw: Tensor) -> Tensor:
    """The first columns of a product of reflections, one for each column of ``raw``.

    Reflection i is across the plane orthogonal to ``e_i + raw_i``. Their product
    ``H_1 ... H_m = I - V T V^T`` is formed at once (Schreiber, Van Loan 1989): with unit columns V,
    T is the inverse of the upper triangle of V^T V with 1/2 on its diagonal.

    Shapes:
        raw, result: ``(*batch, features, rank)``, rank at most features
    """
    features, rank = raw.shape[-2:]
    unit = torch.eye(features, rank, dtype=raw.dtype, device=raw.device)
    v = unit + raw
    square = (v * v).sum(-2, keepdim=True)
    there = square > _TINY
    v = torch.where(there, v / torch.where(there, square, 1.0).sqrt(), unit)
    upper = (v.mT @ v).triu(1) + 0.5 * unit[:rank]
    solved: Tensor = torch.linalg.solve_triangular(upper, v[..., :rank, :].mT, upper=True)
    return unit - v @ solved
