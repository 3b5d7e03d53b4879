"""One pass over the chunks of a table: statistics of its columns, and where they have gaps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy
import torch
from numpy.typing import NDArray

from pushforward.advice import option
from pushforward.data.table_source import Chunk
from pushforward.numerics.sketches import Frequent, Moments, Quantiles, Scatter
from pushforward.tables.schema.cells import numbers, refuse_kinds
from pushforward.tables.schema.column import Column
from pushforward.tables.schema.schema import Missing

__all__ = ["WHOLE", "ColumnSurvey", "Survey"]

WHOLE = 2.0**53  # from here on float64 takes neighbouring whole numbers for one another
_ALL_WHOLE = {"Float64": 2.0**52, "Float32": 2.0**23, "Float16": 2.0**10}  # fractions end there
_DECIMALS = 6  # steps down to 1e-6 are looked for
_TELLING = 1e14  # steps beyond which rounding hides whether a number is a multiple of the step


@dataclass
class _Flaw:
    """Where a kind of unusable value first stands, and in how many rows."""

    first: str
    count: int

    @property
    def rows(self) -> str:
        """In how many rows, and the first if there are several."""
        if self.count == 1:
            return self.first
        return f"{self.count} rows, the first is {self.first}"


class ColumnSurvey:
    """What is known of the numbers of one column, of the rows that hold one."""

    def __init__(self) -> None:
        self.moments = Moments(1)
        self.frequent = Frequent()
        self.quantiles = Quantiles(1)
        self.decimals: int | None = 0  # places behind the point that all numbers make do with
        self.steps = Steps()
        self._seen = hashlib.blake2b(digest_size=16)

    def update(self, values: NDArray[numpy.float64], all_whole: float = WHOLE) -> None:
        """Take numbers into account, which are whole anyway from ``all_whole`` on."""
        if len(values):
            self.moments.update(values[:, None])
            self.frequent.update(values)
            self.quantiles.update(torch.from_numpy(values[:, None]))
            self.decimals = _decimals(values, self.decimals, all_whole)
            self.steps.update(values, self.decimals)

    def compare(self, values: NDArray[numpy.float64]) -> None:
        """Take the same numbers with their gaps into account, for `fingerprint`."""
        if self.decimals == 0 or self.frequent.distinct is not None:  # else it has a density
            self._seen.update(values.tobytes())

    @property
    def fingerprint(self) -> bytes:
        """The same for columns whose numbers, or codes, are the same in every row."""
        return self._seen.digest()

    @property
    def count(self) -> int:
        """How many rows hold a number."""
        return self.moments.count

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest number."""
        return float(self.moments.low[0]), float(self.moments.high[0])

    @property
    def mean(self) -> float:
        """The mean of the numbers."""
        return float(self.moments.mean[0])

    @property
    def std(self) -> float:
        """Their standard deviation."""
        return float(self.moments.variance[0].clamp_min(0.0).sqrt())


class Steps:
    """The largest steps that lead from one number of a column to all others, in its last place.

    Attributes:
        stride: units of the last decimal place between neighbouring numbers, at least; 0 for none.
        phase: how many such units the numbers lie above a multiple of the stride.
    """

    def __init__(self) -> None:
        self.stride, self._places = 0, 0
        self._first: int | None = None

    def update(self, values: NDArray[numpy.float64], places: int | None) -> None:
        """Take numbers into account that have so many decimal places, None for too many."""
        if places is None:
            self.stride, self._first = 1, 0
        if places is None or (self.stride == 1 and places == self._places):
            return
        finer = 10 ** (places - self._places)
        units = numpy.round(values * 10.0**places).astype(numpy.int64)
        first = int(units[0]) if self._first is None else self._first * finer
        self.stride = int(numpy.gcd.reduce(units - first, initial=self.stride * finer))
        self._first, self._places = first, places

    @property
    def phase(self) -> int:
        """How many units the numbers lie above a multiple of the stride."""
        return self._first % self.stride if self._first is not None and self.stride else 0


def _decimals(values: NDArray[numpy.float64], known: int | None, all_whole: float) -> int | None:
    """How many decimal places numbers have that need at least so many; None for more than six.

    None also for numbers so large that their type has no fractions there: all of them look whole.
    """
    if known is None or not values.any():
        return known
    for places in range(known, _DECIMALS + 1):
        scaled = numpy.abs(values) * 10.0**places
        most = scaled.max()
        if not most >= 0.5:  # all would be zero, whatever they are
            continue
        if most >= (all_whole if places == 0 else _TELLING):
            return None
        if bool((numpy.abs(scaled - numpy.round(scaled)) <= 1e-15 * scaled + 1e-9).all()):
            return places
    return None


class Survey:
    """What is known of the columns after the chunks seen so far.

    Args:
        columns: the columns to be modelled, as far as a first look told.
        weights: the column of row weights, or None.
        missing: what is done about gaps.
        signed: whether weights may be negative.
    """

    def __init__(
        self, columns: Sequence[Column], weights: str | None, missing: Missing, signed: bool = False
    ) -> None:
        self.columns = list(columns)
        self.weights, self.missing, self.signed = weights, missing, signed
        self.dtypes: list[list[str]] = [[] for _ in columns]
        self.each = [ColumnSurvey() for _ in columns]
        self.scatter = Scatter(len(columns))
        self.log_scatter = Scatter(len(columns))  # of logarithms; 0 for a column that has none
        self.rows_read = self.rows_used = self.rows_with_gaps = 0
        self._missing: dict[str, _Flaw] = {}
        self._infinite: dict[str, _Flaw] = {}
        self._negative: dict[str, _Flaw] = {}
        self._beyond: dict[str, _Flaw] = {}
        self._weight, self._weighted = 0.0, 0  # of all rows, and of how many it is above zero

    @property
    def names(self) -> list[str]:
        """The columns to be read."""
        own = [column.name for column in self.columns]
        return own if self.weights is None else [*own, self.weights]

    def update(self, chunk: Chunk, what: str) -> None:
        """Take the rows of a chunk into account.

        Raises:
            DataError: a column holds what the first look did not find.
        """
        for place, column in enumerate(self.columns):
            kind = str(chunk.frame[column.name].dtype)
            if kind not in self.dtypes[place]:
                self.dtypes[place].append(kind)
            if not column.labels:
                self._look_beyond(chunk, column.name)
        columns = list(self.columns)
        if self.weights is not None:
            columns.append(Column(self.weights, ""))
        refuse_kinds(chunk, columns, what)
        rows = numbers(chunk.frame, columns)
        self.rows_read += len(rows)
        missing, infinite = numpy.isnan(rows), numpy.isinf(rows)
        if infinite.any() or missing.any():
            self._note(chunk, self._missing, missing)
            self._note(chunk, self._infinite, infinite)
        spoiled = infinite | missing
        self.rows_with_gaps += int(spoiled.any(1).sum())
        if self.missing == "model":
            spoiled = infinite  # a gap of the weights is none that can be modelled
            if self.weights is not None:
                spoiled[:, -1] |= missing[:, -1]
        complete = ~spoiled.any(1)
        self.rows_used += int(complete.sum())
        self._measure(rows if complete.all() else rows[complete], chunk)

    def _look_beyond(self, chunk: Chunk, name: str) -> None:
        """Note whole numbers that float64 cannot tell apart, before they become float64."""
        cells = chunk.frame[name]
        if not cells.dtype.is_integer():
            return
        low, high = cells.min() or 0, cells.max() or 0
        if low <= -WHOLE or high >= WHOLE:  # type: ignore[operator]
            beyond = (cells >= WHOLE) | (cells <= -WHOLE)
            first = chunk.place(int(beyond.arg_true()[0]))
            self._beyond.setdefault(name, _Flaw(first, 0)).count += int(beyond.sum())

    def _measure(self, rows: NDArray[numpy.float64], chunk: Chunk) -> None:
        if self.weights is not None:
            weights = rows[:, -1]
            if not self.signed and (weights < 0).any():
                negative = numpy.zeros((len(rows), len(self.names)), dtype=bool)
                negative[:, -1] = weights < 0
                self._note(chunk, self._negative, negative)
            self._weight += float(numpy.abs(weights).sum())
            rows = rows[weights != 0.0]  # others say nothing of what a column holds
            self._weighted += len(rows)
        if not len(rows):
            return
        values = rows[:, : len(self.columns)]
        there = ~numpy.isnan(values)
        for place, one in enumerate(self.each):
            column = values[:, place]
            kind = str(chunk.frame[self.columns[place].name].dtype)
            present = column if there[:, place].all() else column[there[:, place]]
            one.update(present, _ALL_WHOLE.get(kind, WHOLE))
            one.compare(column)
        whole = there.all(1)
        values = values if whole.all() else values[whole]
        self.scatter.update(values)
        above = [place for place, one in enumerate(self.each) if one.ends[0] > 0.0]
        logs = numpy.zeros_like(values)
        logs[:, above] = numpy.log(values[:, above])
        self.log_scatter.update(logs)

    def problems(self) -> Iterator[str]:
        """A sentence for each column with values that cannot be used, and for the weights."""
        empty = [c.name for c, one in zip(self.columns, self.each, strict=True) if not one.count]
        for name in empty if self.rows_read else []:
            if name in self._missing and self._missing[name].count == self.rows_read:
                yield f"column {name!r} has no value in any row; leave it out."
            elif self.weights is not None and self._weighted:
                yield f"column {name!r} has no value in any row that has a weight; leave it out."
        kinds = [("infinite", self._infinite)] if self.missing != "drop" else []
        if self.missing == "refuse":
            kinds.insert(0, ("missing", self._missing))
        for kind, flaws in kinds:
            for name, flaw in flaws.items():
                if name in empty and flaw.count == self.rows_read:
                    continue
                values = "value" if flaw.count == 1 else "values"
                model = ""
                if kind == "missing":
                    model = f", or model the gaps with {option('missing', 'model')}"
                yield (
                    f"column {name!r} has {flaw.count} {kind} {values}, the first in "
                    f"{flaw.first}; fill them in, or drop such rows with "
                    f"{option('missing', 'drop')}{model}."
                )
        if self.missing == "model" and self.weights in self._missing:
            flaw = self._missing[self.weights]
            yield (
                f"the weights in column {self.weights!r} are missing in {flaw.rows}; fill them in."
            )
        for name, flaw in self._negative.items():
            yield (
                f"the weights in column {name!r} are negative in {flaw.rows}; "
                f"weights must be zero or more, or be allowed to be negative with "
                f"{option('signed_weights', True)}."
            )
        if self.weights is not None and self.rows_used and not self._weight:
            yield (
                f"the weights in column {self.weights!r} are all zero; "
                f"some must be positive, or leave {option('weights')} out."
            )
        elif self.weights is not None and self.rows_used > 1 and self._weighted < 2:
            yield "only 1 row has a weight, expected at least 2."

    def beyond(self, name: str) -> str:
        """Where a column of a whole-number type first holds a number beyond 2^53, or ''."""
        return self._beyond[name].first if name in self._beyond else ""

    def gaps(self, name: str) -> float:
        """Share of the rows in which a column holds no value."""
        flaw = self._missing.get(name)
        return 0.0 if flaw is None or not self.rows_read else flaw.count / self.rows_read

    def _note(self, chunk: Chunk, flaws: dict[str, _Flaw], where: NDArray[numpy.bool_]) -> None:
        counts = where.sum(0)
        for place in numpy.flatnonzero(counts):
            name = self.names[place]
            first = chunk.place(int(where[:, place].argmax()))
            flaws.setdefault(name, _Flaw(first, 0)).count += int(counts[place])
