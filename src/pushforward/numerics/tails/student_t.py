"""Student's t: the constant of its density, and the one of most likelihood."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.numerics.order_statistics import quantiles

__all__ = ["heavier_where_far", "log_gamma_ratio", "most_likely"]

_STEPS = 8  # of the recurrence, which carry the argument to where the series holds
# - (1 - 4^-k) B_2k / (k (2k - 1)) for k = 1, 2, ..., with Bernoulli's numbers B
_SERIES = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432, 691 / 180224, -5461 / 425984)

_RANGE = (0.2, 1e4)  # degrees of freedom that are told apart
_ROUNDS = 100
_ENOUGH = 1e-4  # change of log(df) in a round at which all columns have settled
_STRIDE = 0.7  # largest change of log(df) in a round

_FAR = 0.005  # share of the rows, farthest out, that tell of the tails alone
_FEWEST = 30  # of them that are asked; fewer can be anything
_ERRORS = 3.0  # standard errors from which they outweigh the likelihood of all rows
_LEFT_OUT = 20  # one in so many, the farthest, may be mistakes
_HALVINGS = 40


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


def heavier_where_far(
    z: Tensor, df: Tensor, loc: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Degrees of freedom, location and scale, by the far rows alone where these are heavier.

    The likelihood of all rows is for data that is Student's t throughout. Where most rows are
    spread by something else, such as a bounded shift, it says what is between the spread and the
    tails: 7 for ``t + 2 sin(a)``, with t of 3 degrees of freedom. So the farthest rows are compared
    with the same quantiles of the density found, and if they lie apart by more than chance, the
    density is taken whose quantiles lie as theirs do. Lighter tails are left as they are.

    Args:
        z: rows, ``(n, features)``.
        df: degrees of freedom of most likelihood, ``(features,)``.
        loc: location.
        scale: scale.

    Source: Hill 1975, doi:10.1214/aos/1176343247, without the farthest spacings, and compared with
        a Student-t density instead of a power.

    Example:
        >>> rows = torch.linspace(-1.0, 1.0, 8001, dtype=torch.float64)[1:-1, None]
        >>> z = rows / (1.0 - rows.abs()).sqrt()  # tails of index 2
        >>> df, loc, scale = heavier_where_far(z, *(torch.tensor([v]) for v in (9.0, 0.0, 1.0)))
        >>> df.round()
        tensor([2.], dtype=torch.float64)
    """
    count = int(_FAR * len(z))
    df, loc, scale = (value.to(torch.float64) for value in (df, loc, scale))
    if count < _FEWEST:
        return df, loc, scale
    apart = (z.detach().to(torch.float64) - loc).abs()
    far = apart.topk(count + 1, dim=0).values
    found, chance = _stretch(far), 1.0 / math.sqrt(count - count // _LEFT_OUT)
    heavier = (found > (1.0 + _ERRORS * chance) * _stretch(_far_quantiles(df, len(z), count))) & (
        far[-1] > 0
    )
    low, high = (torch.full_like(df, math.log(end)) for end in _RANGE)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        lighter = _stretch(_far_quantiles(middle.exp(), len(z), count)) < found
        low, high = torch.where(lighter, low, middle), torch.where(lighter, middle, high)
    index = torch.where(heavier, high.exp(), df)
    width = far[-1] / _far_quantiles(index, len(z), count)[-1]
    return index, loc, torch.where(heavier, width, scale)


def _far_quantiles(df: Tensor, rows: int, count: int) -> Tensor:
    """Where the ``count + 1`` farthest of so many rows lie, farthest first, ``(…, features)``."""
    from scipy.special import stdtrit

    beyond = (torch.arange(count + 1, dtype=torch.float64) + 0.5) / rows
    there = stdtrit(df.cpu().numpy(), 1.0 - 0.5 * beyond.numpy()[:, None])
    return torch.as_tensor(there, device=df.device)


def _stretch(far: Tensor) -> Tensor:
    """Mean of the spacings of logarithms, each times its place, but of the farthest few."""
    logs = far.clamp_min(torch.finfo(far.dtype).tiny).log()
    place = torch.arange(1, len(far), dtype=far.dtype, device=far.device)[:, None]
    spacings = place * (logs[:-1] - logs[1:])
    return spacings[(len(far) - 1) // _LEFT_OUT :].mean(0)


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
