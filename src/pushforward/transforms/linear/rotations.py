"""Orthogonal matrices of determinant 1 from unconstrained numbers, one or a batch of them.

Each function takes zeros to the identity, has a gradient there that is not zero, and gives a matrix
that is orthogonal to rounding wherever its numbers are driven.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pushforward.errors import ArgumentError
from pushforward.numerics.precision import full_precision
from pushforward.transforms.linear.matrix import whole

__all__ = [
    "ROTATIONS",
    "cayley",
    "exponential",
    "householder",
    "raw_shape",
    "reflect",
    "reflected",
    "unit_rows",
]

_FARTHEST = 1e3  # of an entry of an antisymmetric matrix


def exponential(raw: Tensor) -> Tensor:
    """``exp(A)``, A antisymmetric with the strict lower triangle of raw; reaches every rotation.

    ``(*batch, features, features)`` to the same shape.
    """
    with full_precision(raw):
        return _polished(torch.linalg.matrix_exp(_antisymmetric(raw)))


def cayley(raw: Tensor) -> Tensor:
    """``(I - A) (I + A)^-1``, A antisymmetric with the strict lower triangle of raw.

    Reaches every rotation that turns nothing by half a circle, and comes near those that do.
    ``(*batch, features, features)`` to the same shape.
    """
    with full_precision(raw):
        skew = _antisymmetric(raw)
        one = _one(raw, raw.shape[-1])
        # The two factors commute; I + A has no singular value below 1.
        return _polished(torch.linalg.solve(one + skew, one - skew))


def householder(raw: Tensor) -> Tensor:
    """Product of reflections ``I - 2 v v^T / |v|^2``, one for each row of raw.

    As many reflections as features reach every rotation. ``(*batch, reflections, features)`` to
    ``(*batch, features, features)``; see ``reflect``.
    """
    return reflect(raw, _one(raw, raw.shape[-1]))


def reflect(raw: Tensor, columns: Tensor) -> Tensor:
    """``householder(raw) @ columns``, without building the matrix: O(reflections) a number.

    Reflections start in pairs of equals, along one axis after the other, so that they undo each
    other; the gradients of a pair are opposite, so training parts them. An odd number cannot
    undo itself: its last reflection is paired with one that stays fixed. The determinant is
    therefore always 1.
    """
    count, features = raw.shape[-2:]
    pair = torch.arange(count, device=raw.device) // 2
    starts = _one(raw, features)[pair % features]
    with full_precision(raw):
        v = unit_rows(raw + starts, starts)
        if count % 2:
            v = torch.cat((v, starts[-1:].expand(*v.shape[:-2], 1, features)), -2)
        return reflected(v, columns)


ROTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "exponential": exponential,
    "cayley": cayley,
    "householder": householder,
}


def raw_shape(who: str, features: int, method: str, reflections: int | None) -> tuple[int, int]:
    """The shape of what a method takes, its arguments checked."""
    if method not in ROTATIONS:
        names = ", ".join(ROTATIONS)
        raise ArgumentError(f"{who}: method is {method!r}, expected one of {names}.")
    if method == "householder":
        return whole(who, "reflections", features if reflections is None else reflections), features
    if reflections is not None:
        raise ArgumentError(
            f"{who}: reflections is {reflections!r}, but method is {method!r}, which has none; "
            f"write method='householder'."
        )
    return features, features


def reflected(v: Tensor, columns: Tensor) -> Tensor:
    """``H_1 … H_k @ columns``, H_i the reflection across the plane orthogonal to row i of v.

    The rows have length 1. This is the compact WY form, ``H_1 … H_k = I - V T V^T``, where the
    inverse of T is the triangle below (Joffrain et al. 2006, doi:10.1145/1141885.1141886). No entry
    of T exceeds 4.
    """
    triangle = (v @ v.mT).triu(1) + 0.5 * _one(v, v.shape[-2])
    inner = torch.linalg.solve_triangular(triangle, v @ columns, upper=True)
    turned: Tensor = columns - v.mT @ inner
    return turned


def _antisymmetric(raw: Tensor) -> Tensor:
    # Beyond a thousand turns nothing new is reached, and the digits of the angles are lost.
    below = raw.tril(-1).clamp(-_FARTHEST, _FARTHEST)
    return below - below.mT


def _polished(matrix: Tensor) -> Tensor:
    """One Newton step to the nearest orthogonal matrix.

    An exponential of large numbers is orthogonal to its norm times a rounding only, and its inverse
    is taken to be its transpose.
    """
    return 1.5 * matrix - 0.5 * matrix @ (matrix.mT @ matrix)


def unit_rows(v: Tensor, otherwise: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros, which has no direction, becomes ``otherwise``."""
    tiny = torch.finfo(v.dtype).tiny
    size = v.detach().abs().amax(-1, keepdim=True)  # so that no square overflows
    v = torch.where(size > tiny, v / size.clamp_min(tiny), otherwise)
    unit: Tensor = v / torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    return unit


def _one(like: Tensor, features: int) -> Tensor:
    return torch.eye(features, dtype=like.dtype, device=like.device)
