"""Which columns make a row unlikely: each given all the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pushforward.tables.partial.completion import Completion
from pushforward.tables.schema.cells import UNSEEN
from pushforward.tables.schema.column import Column
from pushforward.tables.schema.words import outside, shown
from pushforward.tables.scoring import Scorer

__all__ = ["Surprise", "surprises"]

_COARSE = 129  # places that a number is looked for at, at first
_FINE = 129  # places more, where the first found it likely
_NEAR = 33  # places around the number that stands there
_MOST_WHOLE = 400  # whole numbers that are added up one by one
_BEYOND = 0.5  # how far outside of the data, as a share of its range


class Surprise(NamedTuple):
    """What a column adds to a row's being unlikely.

    Attributes:
        column: its name.
        nats: how much less likely its value is, given the other columns, than such values are on
            average: 0 for a usual one, infinite for one without density.
        value: what stands there, as it is shown.
        expected: what was to be expected: the median, or the most likely label.
        why: what is wrong with it whatever the others are, such as ``outside 0 to 100``; or empty.
    """

    column: str
    nats: float
    value: str
    expected: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.column} {self.value} ({self.size}; expected {self.expected})"

    @property
    def size(self) -> str:
        """How surprising it is, in words."""
        if math.isfinite(self.nats):
            return f"{self.nats:+.1f} nats"
        return self.why or "its density is zero there"


def surprises(scorer: Scorer, numbers: Tensor) -> list[list[Surprise]]:
    """The surprise of each feature in each row, largest first.

    ``log p(x_j | others) = log p(x) - log sum or integral of p over x_j``: a sum over labels and
    whole numbers, an integral by the trapezoid rule where x_j is a number.

    Args:
        scorer: flow and layout.
        numbers: of the schema's columns, ``(n, columns)``.
    """
    width = len(scorer.schema.features)
    columns = scorer.schema.columns[:width]
    found = []
    for row in numbers:
        beyond = [bool(outside(c, float(v))) for c, v in zip(columns, row, strict=False)]
        if any(beyond):  # all other columns are as impossible beside such a value
            each = [_impossible(scorer, row, place, beyond) for place in range(width)]
        else:
            each = [_surprise(scorer, row, place) for place in range(width)]
        known = [one for one in each if one is not None]
        found.append(sorted(known, key=lambda one: -one.nats))
    return found


def _impossible(scorer: Scorer, row: Tensor, place: int, beyond: Sequence[bool]) -> Surprise | None:
    """What to say of a value outside of its column's bounds; of others nothing."""
    if not beyond[place]:
        return None
    column = scorer.schema.columns[place]
    usual = row.clone()
    for other, strange in enumerate(beyond):
        if strange:  # such values would leave nothing to be expected
            usual[other] = scorer.schema.columns[other].usual
    values, log_mass, log_p = _alternatives(scorer, usual, place, column)
    share = (log_p + log_mass).softmax(0)
    expected = _middle(values, share, column) if bool(share.isfinite().all()) else column.usual
    number = float(row[place])
    return Surprise(
        column.name,
        math.inf,
        shown(column, number),
        shown(column, expected),
        outside(column, number),
    )


def _surprise(scorer: Scorer, row: Tensor, place: int) -> Surprise | None:
    column = scorer.schema.columns[place]
    if column.type == "constant":
        return None
    values, log_mass, log_p = _alternatives(scorer, row, place, column)
    if not bool(log_p.isfinite().any()):
        return None
    total = torch.logsumexp(log_p + log_mass, 0)
    share = (log_p + log_mass - total).exp()
    each = torch.where(share > 0, total - log_p, 0.0)  # -log p(value | others)
    here = float(total - scorer.of_numbers(row[None].clone())[0])
    expected = _middle(values, share, column)
    return Surprise(
        column.name,
        here - float((share * each).sum()),
        shown(column, float(row[place])),
        shown(column, expected),
        "no training row had it" if column.labels and float(row[place]) == UNSEEN else "",
    )


def _middle(values: Tensor, share: Tensor, column: Column) -> float:
    if column.coded:
        return float(values[share.argmax()])
    there = ~values.isnan()
    order = values[there].argsort()
    passed = share[there][order].cumsum(0)
    index = int((passed < 0.5 * passed[-1]).sum().clamp(max=len(order) - 1))
    return float(values[there][order][index])


def _alternatives(
    scorer: Scorer, row: Tensor, place: int, column: Column
) -> tuple[Tensor, Tensor, Tensor]:
    """Values that could stand there, logarithms of the space each stands for, log-densities."""
    single = _single(scorer, column)
    tried = torch.tensor(single, dtype=row.dtype)
    if column.coded:
        return tried, torch.zeros_like(tried), _scored(scorer, row, place, tried)
    whole = _whole(column, row[place])
    if whole is not None:
        tried = torch.cat((tried, whole[~torch.isin(whole, tried)]))
        return tried, torch.zeros_like(tried), _scored(scorer, row, place, tried)
    grid = _on_logs(scorer, column, row[place]) if column.skewed else _grid(column)
    log_p = _scored(scorer, row, place, grid)
    finer = torch.cat((_likely(grid, log_p), _around(grid, row[place], column)))
    finer = _on_spacing(finer, column)
    both = torch.unique(torch.cat((grid, finer)))
    both = both[~torch.isin(both, tried)]
    spaces = torch.cat((both[1:2] - both[:1], both[2:] - both[:-2], both[-1:] - both[-2:-1])) / 2.0
    spaces = spaces / column.spacing  # of whole numbers it is how many that there may be
    values = torch.cat((tried, both))
    log_mass = torch.cat((torch.zeros_like(tried), spaces.log()))
    return values, log_mass, _scored(scorer, row, place, values)


def _single(scorer: Scorer, column: Column) -> list[float]:
    """Values with a probability of their own: labels, atoms, that there is none."""
    found = [float(code) for code in range(len(column.labels))] if column.coded else []
    found += [value for value, _ in column.atoms]
    gaps = scorer.schema.missing == "model" and column.gaps > 0.0
    return [*found, math.nan] if gaps else found


def _whole(column: Column, value: Tensor) -> Tensor | None:
    """All whole numbers that there may be, if they are few enough."""
    if not column.counted:
        return None
    low, high = _ends(column)
    if not bool(value.isnan()):
        low, high = min(low, float(value)), max(high, float(value))
    if high - low > _MOST_WHOLE * column.spacing:
        return None
    first = column.near(low)
    return torch.arange(first, column.near(high) + 1, column.spacing, dtype=torch.float64)


def _ends(column: Column) -> tuple[float, float]:
    """Where values are looked for: some way beyond the data, within the ends that there are."""
    assert column.low is not None
    assert column.high is not None
    more = _BEYOND * (column.high - column.low)
    low, high = column.low - more, column.high + more
    least, most = column.ends
    return (low if least is None else max(low, least)), (high if most is None else min(high, most))


def _grid(column: Column) -> Tensor:
    if column.type == "circular":
        assert column.period is not None
        start = 0.0 if (column.low or 0.0) >= 0.0 else -0.5 * column.period
        return start + torch.linspace(0.0, column.period, _COARSE, dtype=torch.float64)
    low, high = _ends(column)
    if column.type == "positive" and (column.low or 0.0) > 0.0:
        assert column.low is not None
        ends = torch.tensor([0.1 * column.low, high], dtype=torch.float64).log()
        return torch.linspace(float(ends[0]), float(ends[1]), _COARSE, dtype=torch.float64).exp()
    inset = 1e-6 * (high - low)  # an end may have no density
    grid = torch.linspace(low + inset, high - inset, _COARSE, dtype=torch.float64)
    return _on_spacing(grid, column)


def _on_logs(scorer: Scorer, column: Column, value: Tensor) -> Tensor:
    """Values whose logarithms are evenly spaced, as the density of a skewed column wants it."""
    high, zero = _ends(column)[1], _zero(column)
    least = math.log(column.spacing)
    if not column.counted:
        least = _least_log(scorer, column)
        if float(value) > zero:
            least = min(least, math.log(float(value) - zero) - 1.0)
    logs = torch.linspace(least, math.log(high - zero), _COARSE, dtype=torch.float64)
    found: Tensor = torch.unique(_on_spacing(zero + logs.exp(), column))
    return found


def _zero(column: Column) -> float:
    """What is subtracted before the logarithm."""
    low = column.ends[0]
    return (low or 0.0) - column.spacing if column.counted else 0.0


def _least_log(scorer: Scorer, column: Column) -> float:
    """A logarithm below which hardly any value of a column of numbers lies."""
    features = scorer.features
    place = features.columns.index(column)
    if place in features.plain:
        assert column.low is not None
        return math.log(0.1 * column.low)
    encoding = Completion(scorer).mixed.encoding  # type: ignore[union-attr]
    knots = encoding.knots_x[encoding.lines.index(features.places.index(place))]
    return float(knots[0] - 0.5 * (knots[-1] - knots[0]))


def _on_spacing(values: Tensor, column: Column) -> Tensor:
    """Numbers that there may be: whole ones for whole numbers."""
    if not column.counted:
        return values
    return ((values - column.origin) / column.spacing).round() * column.spacing + column.origin


def _likely(grid: Tensor, log_p: Tensor) -> Tensor:
    """Places between those where the density was found."""
    mid = torch.maximum(log_p[1:], log_p[:-1])
    mass = (mid - mid.max()).exp() * grid.diff() + 1e-12
    passed = torch.cat((mass.new_zeros(1), mass.cumsum(0)))
    wanted = torch.linspace(0.0, float(passed[-1]), _FINE, dtype=grid.dtype)
    index = torch.searchsorted(passed, wanted, right=True).clamp(1, len(grid) - 1)
    share = (wanted - passed[index - 1]) / (passed[index] - passed[index - 1])
    return torch.lerp(grid[index - 1], grid[index], share)


def _around(grid: Tensor, value: Tensor, column: Column) -> Tensor:
    if bool(value.isnan()):
        return grid[:0]
    steps = torch.linspace(-1.0, 1.0, _NEAR, dtype=grid.dtype) ** 3
    if column.skewed and float(value) > _zero(column):
        near = _zero(column) + (value - _zero(column)) * (0.3 * steps).exp()
    else:
        near = value + float((grid[-1] - grid[0]) / len(grid)) * steps
    return near[(near >= grid[0]) & (near <= grid[-1])]


def _scored(scorer: Scorer, row: Tensor, place: int, values: Tensor) -> Tensor:
    rows = row.repeat(len(values), 1)
    rows[:, place] = values
    return scorer.of_numbers(rows)
