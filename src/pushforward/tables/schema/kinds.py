"""What a column of numbers is taken for, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from pushforward.tables.schema.cells import label_of
from pushforward.tables.schema.column import Column, Declared
from pushforward.tables.schema.survey import ColumnSurvey

__all__ = ["kind_of_numbers", "spacing_of"]

_ATOM = 0.05  # the share of rows above which a repeated number is an atom
_FEWEST = 5  # rows of an atom, at least
_STANDS_OUT = 10.0  # how much more frequent than the mean an atom among whole numbers is
_FEW = 12  # different numbers that are labels rather than numbers
_ROWS_A_LABEL = 10
_NAMES = 200  # different whole numbers that are labels if they are far apart, at most
_FULL = 0.7  # of what lies between, from which a few are neighbours with something missing
_ALONE = 0.1  # of the rows hold a number without a neighbour: more than the tail of a count
_SPARSE = 0.02  # of what lies between, if more than a few are to be labels
_SPACED = 30  # rows that are not all multiples of something by chance
_DISTINCT = 10  # different numbers that are not either
_SKEWED = 0.1  # by how much the logarithm must be more even
_TURNS = {2.0 * math.pi: "two pi", 360.0: "360"}
_RESOLVED = 1e3  # float32 gives a value this many stds away a resolution of 1e-4 stds


def kind_of_numbers(column: Column, known: ColumnSurvey, said: Declared | None) -> Column:
    """A column of numbers with its type, statistics and atoms.

    Args:
        column: its name and dtype.
        known: what its numbers are.
        said: what somebody said that it is, or None.
    """
    column = _described(column, known)
    low, high = known.ends
    if low == high and known.count and said is None:
        label = (label_of(low),)
        return replace(column, type="constant", labels=label, reason="the same in all rows")
    column = _inferred(column, known) if said is None else _as_said(column, said)
    column = _stepped(column, known)
    if column.type == "integer" and said is None:
        column = replace(column, spacing=spacing_of(known))
    atoms = _atoms(column, known)
    column = replace(column, atoms=atoms)
    if column.type == "integer" and column.ends[0] is not None:
        column = replace(column, skewed=_skewed(known, column.ends[0] - 1.0, atoms))
    if said is None and column.type == "real" and _at_zero(column):
        reason = "zero in many rows, above it in others"
        column = replace(column, type="positive", ends=(0.0, None), offset=0.0, reason=reason)
    if column.type == "positive":
        column = replace(column, skewed=_skewed(known, 0.0, atoms))
    shown = [f"{value:g} in {share:.0%} of the rows (an atom)" for value, share in atoms[:3]]
    if column.spacing > 1:
        shown.append(f"in steps of {column.steps}")
    if column.offset and not atoms:
        shown.append(f"{column.offset:.17g} subtracted before rounding to float32")
    return replace(column, treatment="; ".join(shown))


def _described(column: Column, known: ColumnSurvey) -> Column:
    low, high = known.ends
    return replace(
        column,
        low=low,
        high=high,
        mean=known.mean,
        std=known.std,
        unique=known.frequent.distinct,
        offset=_offset(known.mean, known.std),
    )


def _offset(mean: float, std: float) -> float:
    """The mean, rounded to the power of ten above the std, where float32 needs it; else 0."""
    if not math.isfinite(std) or abs(mean) <= _RESOLVED * std or std == 0.0:
        return 0.0
    return float(round(mean, -math.ceil(math.log10(std))))


def _as_said(column: Column, said: Declared) -> Column:
    ends = (0.0, None) if said.type == "positive" else said.ends
    offset = 0.0 if said.type in ("positive", "interval", "circular") else column.offset
    return replace(
        column,
        type=said.type,
        ends=ends,
        period=said.period,
        offset=offset,
        reason="as asked for",
    )


def _inferred(column: Column, known: ColumnSurvey) -> Column:
    assert column.low is not None
    assert column.high is not None
    few = column.unique is not None and column.unique <= _FEW
    enough = column.unique is not None and known.count >= _ROWS_A_LABEL * column.unique
    if column.unique == 2 and enough:
        return _labelled(column, known, "boolean", "two values")
    if known.decimals == 0 and _apart(known):
        reason = f"{column.unique} different whole numbers, far apart"
        return _labelled(column, known, "ordinal", reason)
    if known.decimals == 0:
        ends = (0.0, None) if column.low >= 0.0 else (None, None)
        return replace(column, type="integer", ends=ends, reason="whole numbers")
    if few and enough:
        return _labelled(column, known, "ordinal", f"{column.unique} different numbers only")
    turn = _turn(column, known)
    if turn:
        why = f"fills {column.low:.4g} to {column.high:.4g}, a turn of {_TURNS[turn]}"
        return replace(column, type="circular", period=turn, offset=0.0, reason=why)
    if column.low > 0.0 and _skewed(known):
        return replace(
            column,
            type="positive",
            ends=(0.0, None),
            offset=0.0,
            reason="above zero and skewed to the right",
        )
    return replace(column, reason="numbers")


def _apart(known: ColumnSurvey) -> bool:
    """Whether whole numbers are names of things, such as prices of a list or postal codes.

    Each is in many rows, hardly any between the least and the largest is there, and those without a
    neighbour are not just the rare large ones of a count.
    """
    distinct, (low, high) = known.frequent.distinct, known.ends
    if distinct is None or distinct > _NAMES or known.count < _ROWS_A_LABEL * distinct:
        return False
    filled = distinct / ((high - low) / max(known.steps.stride, 1) + 1.0)
    if filled >= (_FULL if distinct <= _FEW else _SPARSE):
        return False
    values, counts = torch.tensor(sorted(known.frequent.top(0.0))).double().unbind(-1)
    far = torch.nn.functional.pad(values.diff() > max(known.steps.stride, 1), (1, 1), value=True)
    alone = float(counts[far[1:] & far[:-1]].sum())
    return bool(counts.min() >= _FEWEST) and alone >= _ALONE * known.count


def _labelled(column: Column, known: ColumnSurvey, type: str, reason: str) -> Column:
    found = sorted(known.frequent.top(0.0))
    return replace(
        column,
        type=type,  # type: ignore[arg-type]
        labels=tuple(label_of(value) for value, _ in found),
        shares=tuple(count / known.count for _, count in found),
        reason=reason,
    )


def _at_zero(column: Column) -> bool:
    """Whether zero is an atom of it, and all else lies above."""
    return column.low == 0.0 and any(value == 0.0 for value, _ in column.atoms)


def _skewed(
    known: ColumnSurvey, zero: float = 0.0, atoms: Sequence[tuple[float, float]] = ()
) -> bool:
    """Whether the logarithm lies more evenly around its middle than the numbers themselves.

    Args:
        known: the numbers.
        zero: what is subtracted before.
        atoms: numbers that are left out if they are the least.
    """
    least = sum(share for value, share in atoms if value == known.ends[0])
    shares = [least + (1.0 - least) * share for share in (0.05, 0.5, 0.95)]
    low, middle, high = (
        value - zero for value in _quantiles(known, (shares[0], shares[1], shares[2]))
    )
    if not 0.0 < low < middle < high:
        return False
    plain = abs(high + low - 2.0 * middle) / (high - low)
    a, b, c = (math.log(value) for value in (low, middle, high))
    return abs(c + a - 2.0 * b) / (c - a) < plain - _SKEWED


def _turn(column: Column, known: ColumnSurvey) -> float:
    """The period that the numbers fill, both ends of it too; 0 for none."""
    assert column.low is not None
    assert column.high is not None
    for turn in _TURNS:
        for start in (0.0, -0.5 * turn):
            inside = column.low >= start - 1e-6 * turn and column.high <= start + turn * (1 + 1e-6)
            fills = column.high - column.low >= 0.98 * turn
            if inside and fills:
                edges = _quantiles(known, (0.005, 0.995))
                # an even angle has two rows in a hundred in such a fiftieth
                filled = edges[0] <= start + 0.02 * turn and edges[1] >= start + 0.98 * turn
                return turn if filled else 0.0
    return 0.0


def _quantiles(known: ColumnSurvey, shares: tuple[float, ...]) -> list[float]:
    found = known.quantiles.quantile(torch.tensor(shares, dtype=torch.float64))
    return [float(value) for value in found.reshape(-1)]


def _stepped(column: Column, known: ColumnSurvey) -> Column:
    """With what the numbers are multiples of."""
    if known.decimals is None:
        return column
    steps = known.steps
    step = 10.0**-known.decimals
    return replace(column, step=step, stride=max(steps.stride, 1), phase=steps.phase)


def spacing_of(known: ColumnSurvey) -> int:
    """How far apart whole numbers are that are all multiples of something, but for an offset.

    Few of them are so by chance: the largest factor of 1200 and 340 is 20. Hence they must be many,
    or fill what lies between the least and the largest by half at least.
    """
    spacing, low, high = known.steps.stride, *known.ends
    if spacing < 2 or known.count < _SPACED:
        return 1
    distinct = known.frequent.distinct
    if distinct is None or distinct >= _DISTINCT:
        return spacing
    filled = distinct >= 3 and 2 * distinct >= (high - low) / spacing + 1
    return spacing if filled else 1


def _atoms(column: Column, known: ColumnSurvey) -> tuple[tuple[float, float], ...]:
    """Numbers that many rows share, and ends of an interval that are reached."""
    if column.labels or column.type == "date":
        return ()
    share = _ATOM
    if column.type == "integer":
        unique = 1000 if column.unique is None else column.unique
        share = max(share, _STANDS_OUT / unique)
    found = known.frequent.top(share)
    atoms = [(value, count) for value, count in found if count >= _FEWEST]
    if column.type in ("interval", "positive"):
        ends = [end for end in column.ends if end is not None]
        taken = [value for value, _ in atoms]
        reached = [(v, c) for v, c in known.frequent.top(0.0) if v in ends and v not in taken]
        atoms += reached
    return tuple((value, count / known.count) for value, count in atoms)
