"""Matrices with orthonormal columns, from unconstrained numbers; one, or one a row."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.numerics.precision import full_precision
from pushforward.transforms.linear import rotations

__all__ = ["exponential", "reflected"]


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

    Reflection i is across the plane orthogonal to ``e_i + raw_i``.

    Shapes:
        raw, result: ``(*batch, features, rank)``, rank at most features
    """
    features, rank = raw.shape[-2:]
    starts = torch.eye(rank, features, dtype=raw.dtype, device=raw.device)
    with full_precision(raw):
        return rotations.reflected(rotations.unit_rows(raw.mT + starts, starts), starts.mT)
