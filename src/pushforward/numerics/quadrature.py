"""Integrals of densities in one and two dimensions, on a grid that follows the mass."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["integrate_density"]

# Cells along each axis, from few to many, until two grids agree.
_CELLS = {1: (1_250, 2_500, 5_000, 10_000, 20_000), 2: (88, 175, 350, 700)}
_ENOUGH = 3e-3  # of the mass: a check allows a hundredth
_CHUNK = 65_536


def integrate_density(
    log_prob: Callable[[Tensor], Tensor],
    samples: Tensor,
    within: tuple[Tensor, Tensor] | None = None,
) -> tuple[float, float]:
    """Integral of a density by the midpoint rule, and an estimate of its error.

    Each axis is laid out along the quantiles of samples, so that spikes get fine cells, and goes
    out beyond the farthest sample by half the range. The error is the difference to a grid with
    half the cells; grids are refined until that is small twice in a row, or they are fine enough
    for any density that can be trained.

    Args:
        log_prob: ``(n, d) -> (n,)``, d 1 or 2.
        samples: ``(n, d)`` draws that show where the mass is.
        within: low and high end, ``(d,)`` each, of the box to integrate over, such as one period;
            infinite where there is no such end.

    Example:
        >>> from pushforward import bases
        >>> drawn = bases.Normal(1).rsample(1000, generator=torch.manual_seed(0))
        >>> value, error = integrate_density(bases.Normal(1).log_prob, drawn)
        >>> round(value, 3)
        1.0
    """
    found: list[float] = []
    for cells in _CELLS[samples.shape[-1]]:
        found.append(_on_grid(log_prob, samples, cells, within))
        # Twice in a row: two coarse grids may miss the same spike.
        gaps = [abs(b - a) for a, b in pairwise(found)]
        if len(gaps) > 1 and max(gaps[-2:]) < _ENOUGH:
            break
    return found[-1], gaps[-1]


def _on_grid(
    log_prob: Callable[[Tensor], Tensor],
    samples: Tensor,
    cells: int,
    within: tuple[Tensor, Tensor] | None,
) -> float:
    edges = [_edges(column, cells) for column in samples.double().unbind(-1)]
    if within is not None:
        ends = zip(*(end.double().tolist() for end in within), strict=True)
        edges = [
            torch.unique(torch.cat((e.clamp(*pair), e.new_tensor([*filter(math.isfinite, pair)]))))
            for e, pair in zip(edges, ends, strict=True)
        ]
    middles = [0.5 * (e[1:] + e[:-1]) for e in edges]
    widths = [e[1:] - e[:-1] for e in edges]
    points = torch.cartesian_prod(*middles).reshape(-1, len(edges))
    volumes = torch.cartesian_prod(*widths).reshape(-1, len(edges)).prod(-1)
    total = 0.0
    for rows, volume in zip(torch.split(points, _CHUNK), torch.split(volumes, _CHUNK), strict=True):
        density = log_prob(rows.to(samples.dtype)).double().exp()
        total += float((density * volume).sum())
    return total


def _edges(column: Tensor, cells: int) -> Tensor:
    """Cell edges: two thirds follow the samples' quantiles, the others are even."""
    column = column.sort().values
    low, high = column[0], column[-1]
    reach = 0.5 * (high - low)
    even = torch.linspace(float(low - reach), float(high + reach), cells // 3 + 1).to(column)
    follow = cells - cells // 3
    place = torch.linspace(0, len(column) - 1, follow, dtype=torch.float64).to(column)
    left = place.floor().long().clamp_max(len(column) - 2)
    along = torch.lerp(column[left], column[left + 1], place - left)
    edges: Tensor = torch.unique(torch.cat((even, along)))
    return edges
