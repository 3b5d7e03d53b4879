"""Rows that are repeated, so that what is computed of them is computed once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["distinct_rows"]

_EXACT = 2.0**53  # whole numbers up to here are exact in float64
_FEW = 256  # rows that are not worth looking


def distinct_rows(codes: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor] | None:
    """The distinct rows, and for each row which of them it is; None where that saves nothing.

    Args:
        codes: whole numbers from 0 to below their size, ``(n, columns)``, of any type.
        sizes: how many codes each column has.

    Returns:
        ``(distinct, place)`` such that ``distinct[place]`` is ``codes``; or None for few rows, for
        rows of which more than half are distinct, and where something is no code.

    Example:
        >>> codes = torch.arange(6.0).remainder(3).repeat(100)[:, None]
        >>> distinct, place = distinct_rows(codes, [3])
        >>> len(distinct), torch.equal(distinct[place], codes)
        (3, True)
    """
    if len(codes) < _FEW or math.prod(sizes) > _EXACT:
        return None
    size = torch.tensor(list(sizes), dtype=torch.float64, device=codes.device)
    wide = codes.double()
    if not bool(((wide == wide.round()) & (wide >= 0) & (wide < size)).all()):
        return None
    key = wide @ (size.cumprod(0) / size)
    keys, place = torch.unique(key, return_inverse=True)
    if 2 * len(keys) > len(codes):
        return None
    first = torch.empty(len(keys), dtype=torch.long, device=codes.device)
    first[place] = torch.arange(len(codes), device=codes.device)  # any row of each key will do
    return codes[first], place
