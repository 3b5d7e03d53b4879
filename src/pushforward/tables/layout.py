"""How the columns of a table lie in the rows that a flow sees, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from pushforward.tables.schema.column import Column

__all__ = ["Layout"]

_T = TypeVar("_T", float, Tensor)
_PLAIN = ("real", "positive", "interval")


class Layout:
    """The numbers that stand for columns in a row: first mixed columns, then plain numbers.

    A mixed column takes a number for its code, one for its value, or both: labels are codes; a
    number that is missing or an atom has a code in the place of its value. Plain numbers come
    last, those above zero and those between two ends after the others. A constant column takes
    none.

    Args:
        columns: the columns, in the order of the table.
        gaps: whether missing values have a code.
        context: whether they are conditioned on: every number is then a mixed column, and atoms
            are numbers like others.

    Attributes:
        mixed: descriptions of the mixed columns, as ``bases.MixedColumns`` takes them.
        plain: places of the plain columns among all.
        width: numbers of a row.
    """

    def __init__(
        self, columns: Sequence[Column], gaps: bool = False, context: bool = False
    ) -> None:
        self.columns, self.context = list(columns), context
        self._gaps = [gaps and column.gaps > 0.0 for column in columns]
        varying = [i for i, column in enumerate(columns) if column.type != "constant"]
        self.plain = [i for i in varying if not context and self._is_plain(i)]
        self.plain.sort(key=lambda i: _PLAIN.index(columns[i].type))
        # what has a probability comes first: all that follows may depend on it
        self.places = [i for i in varying if i not in self.plain]
        self.places.sort(key=lambda i: not columns[i].coded)
        self.mixed = [self._described(i) for i in self.places]
        self.head = sum((one["codes"] > 0) + (one["value"] != "") for one in self.mixed)
        self.width = self.head + len(self.plain)

    def _is_plain(self, i: int) -> bool:
        column = self.columns[i]
        return column.type in _PLAIN and not column.atoms and not self._gaps[i]

    def _atoms(self, i: int) -> list[float]:
        return [] if self.context else [value for value, _ in self.columns[i].atoms]

    def _described(self, i: int) -> dict[str, Any]:
        column = self.columns[i]
        if column.coded:
            return {"codes": len(column.labels) + self._gaps[i], "value": ""}
        instead = len(self._atoms(i)) + self._gaps[i]
        made: dict[str, Any] = {"codes": instead + 1 if instead else 0, "value": "number"}
        if column.type == "circular":
            return {**made, "value": "angle", "period": column.period}
        if self.context:
            return made
        if column.counted:
            made |= {"value": "whole", "taken": [self._slot(v, i) for v in self._atoms(i)]}
        low, high = (None if end is None else self._slot(end, i) for end in column.ends)
        if column.counted:  # an end may lie between two numbers that there are
            low = None if low is None else math.ceil(low)
            high = None if high is None else math.floor(high)
        made |= {"low": low, "high": high}
        return {**made, "log": True} if column.skewed else made

    def _spacing(self, i: int) -> int:
        """What numbers are divided by: their neighbours are one apart then."""
        return 1 if self.context else self.columns[i].spacing

    def _offset(self, i: int) -> float:
        column = self.columns[i]
        return column.offset if self._spacing(i) == 1 else column.near(column.offset)

    def _slot(self, numbers: _T, i: int) -> _T:
        """Numbers of a column as the flow sees them."""
        return (numbers - self._offset(i)) / self._spacing(i)

    @property
    def log_slots(self) -> list[int]:
        """Places of a row that hold numbers above zero whose logarithms are modelled."""
        found, place = [], 0
        for one in self.mixed:
            place += (one["codes"] > 0) + (one["value"] != "")
            if one.get("log") and one["value"] == "number":
                found.append(place - 1)
        return found

    @property
    def names(self) -> list[str]:
        """The name of the column that each number of a row belongs to."""
        found = []
        for i, one in zip(self.places, self.mixed, strict=True):
            found += [self.columns[i].name] * ((one["codes"] > 0) + (one["value"] != ""))
        return found + [self.columns[i].name for i in self.plain]

    def rows(self, numbers: Tensor) -> Tensor:
        """Rows of the flow from numbers of the columns, ``(n, columns)`` to ``(n, width)``.

        A missing value, NaN, becomes its code where it has one, and else stays NaN.
        """
        parts = []
        for i, one in zip(self.places, self.mixed, strict=True):
            parts += self._split(numbers[:, i], i, one)
        parts += [numbers[:, i] - self.columns[i].offset for i in self.plain]
        if not parts:
            return numbers.new_zeros(len(numbers), 0)
        return torch.stack(parts, -1)

    def _split(self, numbers: Tensor, i: int, one: dict[str, Any]) -> list[Tensor]:
        column = self.columns[i]
        if column.coded:
            missing = float(len(column.labels)) if self._gaps[i] else math.nan
            return [torch.where(numbers.isnan(), missing, numbers)]
        code = torch.zeros_like(numbers)
        for k, value in enumerate(self._atoms(i), 1):
            code = torch.where(numbers == value, float(k), code)
        if self._gaps[i]:
            code = torch.where(numbers.isnan(), float(one["codes"] - 1), code)
        filled = torch.where(code > 0, self._filling(i), self._slot(numbers, i))
        return [code, filled] if one["codes"] else [filled]

    def _filling(self, i: int) -> float:
        """What stands in the place of a value that is not there; nothing depends on it."""
        column = self.columns[i]
        assert column.mean is not None
        if not column.counted or self.context:
            return column.mean - column.offset
        taken, low, high = self._atoms(i), *column.ends
        near, every = column.usual, column.spacing
        tries = (near + sign * every * k for k in range(len(taken) + 2) for sign in (1, -1))
        free = (
            value
            for value in tries
            if value not in taken
            and (low is None or value >= low)
            and (high is None or value <= high)
        )
        return self._slot(next(free, near), i)

    def numbers(self, rows: Tensor) -> Tensor:
        """Numbers of the columns from rows of the flow, ``(n, width)`` to ``(n, columns)``."""
        made = rows.new_zeros(len(rows), len(self.columns))
        place = 0
        for i, one in zip(self.places, self.mixed, strict=True):
            width = (one["codes"] > 0) + (one["value"] != "")
            made[:, i] = self._joined(rows[:, place : place + width], i, one)
            place += width
        for i in self.plain:
            made[:, i] = self._within(rows[:, place] + self.columns[i].offset, self.columns[i])
            place += 1
        return made

    def _joined(self, slots: Tensor, i: int, one: dict[str, Any]) -> Tensor:
        column = self.columns[i]
        if column.coded:
            code = slots[:, 0].round()
            return torch.where(code >= len(column.labels), math.nan, code)
        value = self._within(slots[:, -1] * self._spacing(i) + self._offset(i), column)
        if not one["codes"]:
            return value
        instead = [*self._atoms(i), *([math.nan] if self._gaps[i] else [])]
        for k, other in enumerate(instead, 1):
            value = torch.where(slots[:, 0].round() == k, other, value)
        return value

    def _within(self, value: Tensor, column: Column) -> Tensor:
        if column.counted:
            return value.round()
        low, high = column.ends
        if column.step:
            value = _on_steps(value, column)
        if column.type == "circular":
            assert column.period is not None
            assert column.low is not None
            start = 0.0 if column.low >= 0.0 else -0.5 * column.period
            return torch.remainder(value - start, column.period) + start
        return value if low is None and high is None else value.clamp(low, high)


def _on_steps(value: Tensor, column: Column) -> Tensor:
    """The nearest numbers in steps that a column has, between its ends where it has some."""
    unit, start = column.step * column.stride, column.step * column.phase
    rounded = ((value.double() - start) / unit).round() * unit + start
    # an end itself has no density: who reached it is an atom, which has a code
    for end, inward in zip(column.ends, (unit, -unit), strict=True):
        if end is not None and column.type in _PLAIN:
            beyond = (rounded - end) * inward <= 0.0
            rounded = torch.where(beyond, rounded + inward, rounded)
    return rounded.to(value)
