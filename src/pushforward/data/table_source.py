"""A table as the rest of the library sees it: names, a number of rows, and chunks in order."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pushforward.errors import DataError

if TYPE_CHECKING:
    import polars

__all__ = ["Chunk", "Native", "Part", "TableSource", "did_you_mean"]

Native = Literal["polars", "pandas", "arrow"]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A sentence naming the nearest of ``names``, or all of them, or nothing to add.

    Example:
        >>> did_you_mean("pt_1", ["pt1", "eta1"])
        " Did you mean 'pt1'?"
        >>> did_you_mean("mass", ["pt1", "eta1"])
        ' There are: pt1, eta1.'
    """
    known = list(names)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f" Did you mean {near[0]!r}?"
    if not known:
        return ""
    shown = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    return f" There are: {shown}."


@dataclass(frozen=True)
class Chunk:
    """Some consecutive rows of a table.

    Attributes:
        frame: the rows, a polars frame.
        file: the file they come from, or None for a table in memory.
        first_row: the number of the first of them in its file; the first row of data is row 1,
            a header is not counted.
        alone: whether that file is the whole table, so that messages begin with its name anyway.
    """

    frame: polars.DataFrame
    file: str | None
    first_row: int
    alone: bool = False

    def place(self, index: int) -> str:
        """Where row ``index`` of this chunk stands, in words for a message."""
        row = f"row {self.first_row + index}"
        return row if self.file is None or self.alone else f"{row} of {self.file}"


class Part(Protocol):
    """One file, or one frame in memory: what a `TableSource` strings together."""

    @property
    def file(self) -> str | None:
        """The file's path as messages name it, None in memory."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns, in the file's order."""

    @property
    def rows(self) -> int:
        """The number of rows of data."""

    def read(self, columns: Sequence[str], size: int) -> Iterator[polars.DataFrame]:
        """The rows in order, ``columns`` only and in that order, at most ``size`` at a time."""


@dataclass(frozen=True)
class TableSource:
    """A table that can be read several times, chunk by chunk, wherever it lives.

    Attributes:
        names: the names of the columns.
        kind: ``"file"``, ``"frame"``, ``"array"`` (its names x0, x1, … are made up) or
            ``"columns"`` (a dict).
        native: the kind of frame to give back: ``"pandas"``, ``"arrow"`` or ``"polars"``.
        rows: the number of rows.
        parts: the files or frames, in order.
        title: what messages begin with: the path that was given, or ``DATA`` for a table in memory.
    """

    names: tuple[str, ...]
    kind: Literal["file", "frame", "array", "columns"]
    native: Native
    rows: int
    parts: tuple[Part, ...]
    title: str = "DATA"

    def chunks(self, columns: Sequence[str] | None = None, size: int = 65536) -> Iterator[Chunk]:
        """The rows in order, at most ``size`` at a time.

        Args:
            columns: the columns to read, in the order wanted; all of them without it. Where the
                format allows, the others are not touched.
            size: the largest number of rows of a chunk.

        Raises:
            DataError: a column is not in the table, or a file cannot be read.

        Example:
            >>> from pushforward.data.readers import open_table
            >>> [chunk.first_row for chunk in open_table({"a": [1, 2, 3]}).chunks(size=2)]
            [1, 3]
        """
        wanted = list(self.names if columns is None else columns)
        for name in wanted:
            if name not in self.names:
                raise DataError(
                    f"TableSource.chunks: the table has no column {name!r}."
                    f"{did_you_mean(name, self.names)}"
                )
        for part in self.parts:
            first = 1
            for frame in part.read(wanted, size):
                yield Chunk(frame, part.file, first, part.file == self.title)
                first += frame.height
