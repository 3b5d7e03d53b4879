"""A monotone curve through the quantiles of each column: numbers to normal scores and back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["QuantileTable", "quantile_table", "scores", "values"]

_ROWS_BEYOND = 10  # rows beyond the outermost knot on either side, at least
_FARTHEST = 3.0  # normal score of the outermost knots, at most
_LEAST_GAP = 1e-3  # between knots, in standard deviations for each unit of score


class QuantileTable(NamedTuple):
    """Knots of the curves of some columns.

    Attributes:
        x: numbers, ``(columns, knots)``, increasing.
        z: their normal scores, ``(columns, knots)``, increasing.
        slope: of the curves at the knots, dz/dx. Outside they go on along lines.
    """

    x: Tensor
    z: Tensor
    slope: Tensor


def quantile_table(rows: Tensor, knots: int, size: int | None = None) -> QuantileTable:
    """Read curves off data, in float64.

    Knots lie at evenly spaced normal scores, so far out as a handful of rows lie beyond. Where a
    number is so frequent that it is several of these quantiles, they become one knot.

    Args:
        rows: ``(n, columns)``.
        knots: how many quantiles, at least 2.
        size: how many knots the table has; those beyond lie on the line behind the last.

    Example:
        >>> table = quantile_table(torch.randn(5000, 1, generator=torch.manual_seed(0)), 9)
        >>> scores(table, torch.tensor([[1.0]], dtype=torch.float64))[0].round(decimals=1)
        tensor([[1.]], dtype=torch.float64)
    """
    rows = rows.detach().to("cpu", torch.float64)
    share = min(max(_ROWS_BEYOND / max(len(rows), 1), 0.00135), 0.1587)
    farthest = min(float(torch.special.ndtri(torch.tensor(1.0 - share))), _FARTHEST)
    z = torch.linspace(-farthest, farthest, knots, dtype=torch.float64)
    # numbers that there are: between whole ones there would be steep steps
    place = (torch.special.ndtr(z) * (len(rows) - 1)).round().long()
    x = rows.sort(0).values[place]
    mean, std = rows.mean(0), rows.std(0, correction=0)
    curves = [
        _padded(*_apart(column, z, float(mean[i]), float(std[i])), size or knots)
        for i, column in enumerate(x.T)
    ]
    all_x, all_z = (torch.stack(parts) for parts in zip(*curves, strict=True))
    return QuantileTable(all_x, all_z, _slopes(all_x, all_z))


def _apart(x: Tensor, z: Tensor, mean: float, std: float) -> tuple[Tensor, Tensor]:
    """The knots that lie apart from the one before; equal ones become one, at their mean score."""
    std = std if std > 0.0 else 1.0
    gap = _LEAST_GAP * std * float(z[1] - z[0])
    kept_x, kept_z, equal = [float(x[0])], [float(z[0])], 1
    for number, score in zip(x[1:].tolist(), z[1:].tolist(), strict=True):
        if number - kept_x[-1] < gap:
            kept_z[-1] = (kept_z[-1] * equal + score) / (equal + 1)
            equal += 1
        else:
            kept_x.append(number)
            kept_z.append(score)
            equal = 1
    if len(kept_x) < 2:  # nearly all rows have one value
        kept_x, kept_z = [mean - std, mean + std], [-1.0, 1.0]
    return x.new_tensor(kept_x), z.new_tensor(kept_z)


def _padded(x: Tensor, z: Tensor, size: int) -> tuple[Tensor, Tensor]:
    more = torch.arange(1, size - len(x) + 1, dtype=x.dtype)
    return (
        torch.cat((x, x[-1] + more * (x[-1] - x[-2]))),
        torch.cat((z, z[-1] + more * (z[-1] - z[-2]))),
    )


def _slopes(x: Tensor, z: Tensor) -> Tensor:
    """Geometric means of the slopes on either side, so that the inverse is made alike."""
    log_slope = z.diff(dim=-1).log() - x.diff(dim=-1).log()
    inner = 0.5 * (log_slope[:, 1:] + log_slope[:, :-1])
    return torch.cat((log_slope[:, :1], inner, log_slope[:, -1:]), -1).exp()


def scores(table: QuantileTable, x: Tensor) -> tuple[Tensor, Tensor]:
    """Normal scores of numbers ``(*batch, columns)``, and log dz/dx."""
    low, high = table.x[:, 0], table.x[:, -1]
    inside = torch.maximum(torch.minimum(x, high), low)
    x0, x1, z0, z1, d0, d1 = _interval(table, table.x, inside)
    width, height = x1 - x0, z1 - z0
    steep = height / width
    xi = (inside - x0) / width
    rise, log_slope = _rational(xi, steep, d0, d1)
    beyond, outer = x - inside, torch.where(x < low, table.slope[:, 0], table.slope[:, -1])
    return z0 + height * rise + beyond * outer, torch.where(beyond == 0, log_slope, outer.log())


def values(table: QuantileTable, z: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of normal scores ``(*batch, columns)``, and log dx/dz."""
    low, high = table.z[:, 0], table.z[:, -1]
    inside = torch.maximum(torch.minimum(z, high), low)
    x0, x1, z0, z1, d0, d1 = _interval(table, table.z, inside)
    width, height = x1 - x0, z1 - z0
    steep = height / width
    xi = _root((inside - z0) / height, steep, d0, d1)
    log_slope = _rational(xi, steep, d0, d1)[1]
    beyond, outer = z - inside, torch.where(z < low, table.slope[:, 0], table.slope[:, -1])
    x = x0 + width * xi + beyond / outer
    return x, -torch.where(beyond == 0, log_slope, outer.log())


def _interval(table: QuantileTable, knots: Tensor, inside: Tensor) -> tuple[Tensor, ...]:
    """Ends of the interval each number lies in: x, z and slope, left and right."""
    index = (inside.detach()[..., None] >= knots[:, 1:-1]).sum(-1)
    found = []
    for part in table:
        each = part.expand(*inside.shape, part.shape[-1])
        found += [each.gather(-1, (index + k)[..., None])[..., 0] for k in (0, 1)]
    return tuple(found)


def _rational(xi: Tensor, steep: Tensor, d0: Tensor, d1: Tensor) -> tuple[Tensor, Tensor]:
    """Share of its height that a rational-quadratic interval has risen by, and its log slope."""
    q = xi * (1.0 - xi)
    divisor = steep + (d0 + d1 - 2.0 * steep) * q
    rise = (steep * xi * xi + d0 * q) / divisor
    slope = d1 * xi * xi + 2.0 * steep * q + d0 * (1.0 - xi) * (1.0 - xi)
    return rise, 2.0 * (steep.log() - divisor.log()) + slope.log()


def _root(rise: Tensor, steep: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    """Where an interval has risen by a share, by the form of the root that does not cancel."""
    more = rise * (d0 + d1 - 2.0 * steep)
    a, b, c = steep - d0 + more, d0 - more, -steep * rise
    root = (b * b - 4.0 * a * c).clamp_min(0.0).sqrt()
    positive = b >= 0
    above = torch.where(positive, -2.0 * c, root - b)
    below = torch.where(positive, b + root, 2.0 * a)
    below = torch.where(below == 0, torch.ones_like(below), below)
    return (above / below).clamp(0.0, 1.0)
