"""How heavy the tails of the columns of a table are."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.numerics.subset import some_of

__all__ = ["hill"]

_ROWS = 1 << 17
_FEWEST = 10


def hill(x: Tensor, share: float = 0.005) -> Tensor:
    """Hill's estimate of the tails of each column, ``(features, 2)``: below and above the median.

    The tail l says that the chance of a distance beyond r from the median falls as ``r^(-1 / l)``.
    Tails lighter than any power, as the normal one, get about 0.1 to 0.2, with no meaning; a single
    row gets 0.

    Args:
        x: ``(n, features)``; of more than 131 072 rows so many are taken.
        share: of the rows that make a tail; 10 at the least, or a quarter of few rows.

    Source: Hill 1975, doi:10.1214/aos/1176343247

    Example:
        >>> u = torch.linspace(0.0001, 1, 10_000, dtype=torch.float64)[:, None]
        >>> hill(torch.cat((u**-0.5, -u**-0.5))).round(decimals=2)
        tensor([[0.4600, 0.5200]], dtype=torch.float64)
    """
    if len(x) > _ROWS:
        x = x[some_of(len(x), _ROWS, x.device)]
    if len(x) < 2:
        return torch.zeros(x.shape[-1], 2, dtype=torch.float64, device=x.device)
    count = max(1, min(_FEWEST, len(x) // 4), int(share * len(x)))
    ordered = x.detach().to(torch.float64).sort(0).values
    middle = ordered[len(ordered) // 2]
    tiny = torch.finfo(torch.float64).tiny
    tails = []
    for far in (middle - ordered[: count + 1], (ordered - middle).flip(0)[: count + 1]):
        logs = far.clamp_min(tiny).log()
        tails.append((logs[:-1] - logs[-1]).mean(0))
    return torch.stack(tails, -1)
