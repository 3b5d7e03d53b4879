"""One pass over the chunks of a table: statistics of its columns, and where they have gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from pushforward.data.table_source import Chunk
from pushforward.numerics.sketches import Frequent, Moments, Scatter
from pushforward.tables.cells import is_number, matrix, not_numbers
from pushforward.tables.schema import Missing

__all__ = ["Survey"]


@dataclass
class _Flaw:
    """Where a kind of unusable value first stands, and in how many rows."""

    first: str
    count: int


class Survey:
    """What is known of the columns after the chunks seen so far.

    Args:
        names: the columns to be modelled.
        weights: the column of row weights, or None.
    """

    def __init__(self, names: Sequence[str], weights: str | None) -> None:
        self.width = len(names)
        self.weights = weights
        self.names = [*names, *([] if weights is None else [weights])]
        self.rows_read = 0
        self.rows_used = 0
        self.rows_with_gaps = 0
        self.dtypes: dict[str, list[str]] = {name: [] for name in self.names}
        self.texts: dict[str, str] = {}
        self.moments = Moments(self.width)
        self.scatter = Scatter(self.width)
        self.frequent = [Frequent() for _ in range(self.width)]
        self._missing: dict[str, _Flaw] = {}
        self._infinite: dict[str, _Flaw] = {}
        self._negative: dict[str, _Flaw] = {}
        self._weight = 0.0

    def update(self, chunk: Chunk) -> None:
        """Take the rows of a chunk into account."""
        for name in self.names:
            kind = chunk.frame[name].dtype
            if str(kind) not in self.dtypes[name]:
                self.dtypes[name].append(str(kind))
            if not is_number(kind):
                self.texts.setdefault(name, not_numbers(chunk, name))
        rows = matrix(chunk.frame, self.names)
        self.rows_read += len(rows)
        finite = numpy.isfinite(rows)
        # A column of text is named as such, and not as full of gaps besides.
        finite[:, [name in self.texts for name in self.names]] = True
        complete = finite.all(1)
        if not complete.all():
            self._note(chunk, self._missing, ~finite & numpy.isnan(rows))
            self._note(chunk, self._infinite, ~finite & numpy.isinf(rows))
        if self.weights is not None:
            negative = numpy.zeros_like(finite)
            negative[:, -1] = rows[:, -1] < 0
            self._note(chunk, self._negative, negative)
        self.rows_with_gaps += int((~complete).sum())
        self.rows_used += int(complete.sum())
        if not self.texts:
            self._measure(rows if complete.all() else rows[complete])

    def problems(self, missing: Missing) -> Iterator[str]:
        """A sentence for each column with values that cannot be used, and for the weights."""
        if missing == "refuse":
            for kind, flaws in (("missing", self._missing), ("infinite", self._infinite)):
                for name, flaw in flaws.items():
                    values = "value" if flaw.count == 1 else "values"
                    yield (
                        f"column {name!r} has {flaw.count} {kind} {values}, the first in "
                        f"{flaw.first}; fill them in, or drop such rows with --missing drop."
                    )
        for name, flaw in self._negative.items():
            yield (
                f"the weights in column {name!r} are negative in {flaw.count} rows, the first is "
                f"{flaw.first}; weights must be zero or more."
            )
        if self.weights is not None and self.rows_used and not self.texts and not self._weight:
            yield (
                f"the weights in column {self.weights!r} are all zero; "
                "some must be positive, or leave --weights out."
            )

    def _measure(self, rows: NDArray[numpy.float64]) -> None:
        values = rows[:, : self.width]
        self.moments.update(values)
        self.scatter.update(values)
        for place, frequent in enumerate(self.frequent):
            frequent.update(values[:, place])
        if self.weights is not None:
            self._weight += float(numpy.abs(rows[:, -1]).sum())

    def _note(self, chunk: Chunk, flaws: dict[str, _Flaw], where: NDArray[numpy.bool_]) -> None:
        counts = where.sum(0)
        for place in numpy.flatnonzero(counts):
            name = self.names[place]
            first = chunk.place(int(where[:, place].argmax()))
            flaws.setdefault(name, _Flaw(first, 0)).count += int(counts[place])
