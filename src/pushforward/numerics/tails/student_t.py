"""Student's t: the constant of its density, and the one of most likelihood."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.numerics.order_statistics import quantiles

__all__ = ["log_gamma_ratio", "most_likely"]

_STEPS = 8  # of the recurrence, which carry the argument to where the series holds
# - (1 - 4^-k) B_2k / (k (2k - 1)) for k = 1, 2, ..., with Bernoulli's numbers B
_SERIES = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432, 691 / 180224, -5461 / 425984)

_RANGE = (0.2, 1e4)  # degrees of freedom that are told apart
_ROUNDS = 100
_ENOUGH = 1e-4  # change of log(df) in a round at which all columns have settled
_STRIDE = 0.7  # largest change of log(df) in a round


def log_gamma_ratio(a: Tensor) -> Tensor:
    """``log(Gamma(a + 1/2) / (Gamma(a) sqrt(a)))`` for positive a, to the last digits.

    The difference of two ``lgamma`` loses all digits for large a: at a = 5000 it is wrong by 0.002
    in float32. Here a is raised by 8, and an asymptotic series taken there.

    Example:
        >>> log_gamma_ratio(torch.tensor([0.5, 5000.0])).exp()  # sqrt(2 / pi) and 1 - 1 / (8 a)
        tensor([0.7979, 1.0000])
    """
    steps = torch.arange(_STEPS, dtype=a.dtype, device=a.device)
    below = a.unsqueeze(-1) + steps
    lowered = torch.log1p(-0.5 / (below + 0.5)).sum(-1)
    high = a + _STEPS
    inverse = high.reciprocal()
    square = inverse.square()
    series = torch.zeros_like(a)
    for coefficient in reversed(_SERIES):
        series = series * square + coefficient
    return series * inverse + 0.5 * torch.log1p(_STEPS / a) + lowered


def most_likely(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Degrees of freedom, location and scale of the columns of ``(n, features)``, in float64.

    Each round takes a step of expectation and maximization for location and scale, and one of
    Newton for the logarithm of the degrees of freedom.

    Source: Liu, Rubin 1995 (Statistica Sinica 5, 19); Meng, van Dyk 1997
        (J. Royal Stat. Soc. B 59, 511), the faster form of the step for the scale.

    Example:
        >>> angle = torch.pi * (torch.arange(1000) - 499.5) / 1000
        >>> df, loc, scale = most_likely(3.0 * angle.tan()[:, None] + 7.0)  # Cauchy's density
        >>> [round(float(value), 1) for value in (df, loc, scale)]
        [1.0, 7.0, 3.0]
    """
    rows = z.detach().to(torch.float64)
    quarters = torch.tensor([0.25, 0.5, 0.75], dtype=rows.dtype)
    low, loc, high = quantiles(rows, quarters)
    spread = 0.5 * (high - low)
    # a column that is constant in its middle half, or everywhere
    spread = torch.where(spread > 0, spread, rows.std(0))
    scale = torch.where(spread > 0, spread, torch.ones_like(spread))
    floor = 1e-3 * scale
    log_df = torch.full_like(loc, math.log(4.0))
    ends = [math.log(df) for df in _RANGE]
    for _ in range(_ROUNDS):
        square = ((rows - loc) / scale).square()
        df = log_df.exp()
        weight = (df + 1.0) / (df + square)
        total = weight.sum(0)
        loc = (weight * rows).sum(0) / total
        scale = scale * ((weight * ((rows - loc) / scale).square()).sum(0) / total).sqrt()
        scale = torch.maximum(scale, floor)
        step = _newton(((rows - loc) / scale).square(), df)
        log_df = (log_df + step).clamp(*ends)
        if bool((step.abs() < _ENOUGH).all()):
            break
    return log_df.exp(), loc, scale


def _newton(square: Tensor, df: Tensor) -> Tensor:
    """A step for log(df): Newton's where the likelihood is concave, else up the slope."""
    half = 0.5 * df
    ratio = square / df
    share = (square - 1.0) / (df + square)
    slope = 0.5 * (
        torch.digamma(half + 0.5) - torch.digamma(half) - torch.log1p(ratio).mean(0) + share.mean(0)
    )
    bend = 0.25 * (torch.polygamma(1, half + 0.5) - torch.polygamma(1, half)) + 0.5 * (
        (ratio / (df + square)).mean(0) - ((square - 1.0) / (df + square).square()).mean(0)
    )
    slope, bend = df * slope, df * slope + df.square() * bend  # in log(df)
    step = torch.where(bend < 0, -slope / bend, _STRIDE * slope.sign())
    return step.clamp(-_STRIDE, _STRIDE)
