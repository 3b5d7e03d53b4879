"""Centre and spread of columns, whatever their units."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.errors import DataError, ShapeError

__all__ = ["checked_rows", "scale_of", "standardized"]

_FARTHEST = 1e30  # standard deviations; beyond, squares and their sums would overflow


def checked_rows(who: str, x: Tensor, features: int) -> Tensor:
    """Rows to read something off, ``(n, features)`` in float64 on the CPU.

    Raises:
        ShapeError: x is no such table.
        DataError: it has no rows, or holds what is not finite.
    """
    if x.ndim != 2 or x.shape[1] != features:
        raise ShapeError(f"{who}: x has shape {tuple(x.shape)}, expected (rows, {features}).")
    if not len(x):
        raise DataError(f"{who}: x has no rows, expected at least one.")
    x = x.detach().to("cpu", torch.float64)
    if not bool(x.isfinite().all()):
        raise DataError(f"{who}: x holds NaN or infinity, expected finite numbers.")
    return x


def scale_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column of ``(n, features)``; 1 where it is constant.

    Rounding errors in the mean would give a constant column a spread; and squares of numbers of
    1e200 would overflow, so that columns are brought to their range before.
    """
    low, high = x.amin(0), x.amax(0)
    constant = low == high
    range_ = torch.where(constant, 1.0, 0.5 * high - 0.5 * low)
    shifted = (0.5 * x - 0.5 * low) / range_  # 0 to 1
    mean = torch.where(constant, low, 2.0 * (0.5 * low + range_ * shifted.mean(0)))
    deviation = torch.where(constant, 1.0, 2.0 * range_ * shifted.std(0, correction=0))
    return mean, deviation.clamp_min(torch.finfo(x.dtype).tiny)


def standardized(x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Rows in standard deviations from the mean, in float64."""
    z = (x.double() - mean) / deviation
    return z.clamp(-_FARTHEST, _FARTHEST)
