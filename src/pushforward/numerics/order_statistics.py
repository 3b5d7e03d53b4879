"""Quantiles of the columns of a table, and the columns that have none."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.errors import DataError
from pushforward.numerics.subset import some_of

__all__ = ["central_range", "quantiles", "refuse_empty", "refuse_not_finite"]

_ROWS = 1 << 17  # enough for the 0.05 % quantile to rest on 65 rows


def quantiles(x: Tensor, shares: Tensor) -> Tensor:
    """Quantiles of each column, linearly interpolated between order statistics.

    Args:
        x: ``(n, features)``; of more than 131 072 rows so many are taken.
        shares: ``(k,)`` in [0, 1].

    Shapes:
        result: ``(k, features)`` in float64

    Example:
        >>> quantiles(torch.arange(5.0)[:, None], torch.tensor([0.5])).tolist()
        [[2.0]]
    """
    if len(x) > _ROWS:
        x = x[some_of(len(x), _ROWS, x.device)]
    ordered = x.detach().to(torch.float64).sort(0).values
    place = shares.to(ordered) * (len(ordered) - 1)
    left = place.floor().long()
    right = (left + 1).clamp_max(len(ordered) - 1)
    return torch.lerp(ordered[left], ordered[right], (place - left)[:, None])


def central_range(x: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Low and high end, ``(features,)`` each, of the central ``share`` of every column."""
    tail = (1.0 - share) / 2.0
    low, high = quantiles(x, torch.tensor([tail, 1.0 - tail], dtype=torch.float64))
    return low, high


def refuse_empty(who: str, x: Tensor) -> None:
    """Refuse a table ``(n, …)`` without rows, of which nothing can be read off.

    Raises:
        DataError: n is 0.
    """
    if x.shape[:1] == (0,):
        raise DataError(f"{who}: x has no rows, expected at least 1.")


def refuse_not_finite(who: str, found: Tensor) -> None:
    """Refuse columns of which something was read off, ``(features,)``, that is not finite.

    Raises:
        DataError: one is not; it is named.
    """
    for i, known in enumerate(found.isfinite().tolist()):
        if not known:
            raise DataError(f"{who}: column {i} of x holds values that are not finite.")
