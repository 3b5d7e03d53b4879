"""Cells of a table as numbers, by what their columns are taken for; and words for the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pushforward.data.table_source import Chunk
from pushforward.errors import DataError
from pushforward.tables.schema.column import Column
from pushforward.tables.schema.dates import UNITS, microseconds, on_existing, zone_of

if TYPE_CHECKING:
    import numpy
    import polars

__all__ = [
    "UNSEEN",
    "is_number",
    "is_text",
    "label_of",
    "numbers",
    "refuse_kinds",
    "same_label",
    "what_it_holds",
]

UNSEEN = -1.0  # the code of a label that no training row had


def is_number(kind: polars.DataType) -> bool:
    """Whether a polars type counts as numbers: numeric, true/false, or nothing but gaps."""
    return kind.is_numeric() or str(kind) in ("Boolean", "Null")


def is_text(kind: polars.DataType) -> bool:
    """Whether a polars type is one of texts."""
    import polars

    return kind in (polars.String, polars.Categorical, polars.Enum)


def is_date(kind: polars.DataType) -> bool:
    """Whether a polars type is one of dates, with or without a time of the day."""
    import polars

    return kind == polars.Date or kind == polars.Datetime


def labels_of(column: polars.Series) -> polars.Series:
    """Every value as the text that labels are kept as: 1.0 is 1, and True is true."""
    import polars

    if column.dtype.is_float():
        whole = column.fill_nan(None)
        as_whole = whole.cast(polars.Int64, strict=False)
        is_whole = as_whole.cast(polars.Float64) == whole
        return polars.select(
            polars.when(is_whole)
            .then(as_whole.cast(polars.String))
            .otherwise(whole.cast(polars.String))
        ).to_series()
    return column.cast(polars.String)


def label_of(number: float) -> str:
    """The text that a number is kept as where it is a label."""
    import polars

    return str(labels_of(polars.Series([number]))[0])


def same_label(text: str) -> str:
    """A label that was typed, as labels are kept: 1.0 is 1."""
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else text


def numbers(frame: polars.DataFrame, columns: Sequence[Column]) -> numpy.ndarray[Any, Any]:
    """The columns in float64, ``(rows, len(columns))``: numbers, codes of labels, units of dates.

    A missing value is NaN. A label that is none of the column's, the constant column's too, is
    ``UNSEEN``. What `refuse_kinds` refuses comes out as NaN: the caller has named it by then.
    """
    import numpy

    result = numpy.full((frame.height, len(columns)), numpy.nan)
    for place, column in enumerate(columns):
        result[:, place] = _numbers(frame[column.name], column)
    return result


def _numbers(cells: polars.Series, column: Column) -> Any:
    import polars

    if column.labels:
        return _codes(labels_of(cells), column.labels)
    if column.type == "date":
        if not (is_date(cells.dtype) or is_text(cells.dtype)):
            return float("nan")
        times = microseconds(cells, column.format, zone_of(column) if column.dtype else None)
        times = on_existing(times, column.unit, zone_of(column))
        return (times / UNITS[column.unit]).cast(polars.Float64).fill_null(float("nan")).to_numpy()
    if not is_number(cells.dtype):
        return float("nan")
    return cells.cast(polars.Float64).fill_null(float("nan")).to_numpy()


def _codes(text: polars.Series, labels: Sequence[str]) -> Any:
    """The place of each text among the labels: ``UNSEEN`` for none of them, NaN for a gap."""
    import numpy
    import polars

    known = text.cast(polars.Enum(labels), strict=False).to_physical().cast(polars.Float64)
    codes = known.fill_null(UNSEEN).to_numpy(writable=True)
    if text.null_count():
        codes[text.is_null().to_numpy()] = numpy.nan
    return codes


def refuse_kinds(chunk: Chunk, columns: Sequence[Column], what: str) -> None:
    """Refuse a chunk whose columns hold another kind of values than the model's.

    Raises:
        DataError: there is one; the message says which, where, and what it holds.
    """
    import polars

    for column in columns:
        cells = chunk.frame[column.name]
        if column.labels or str(cells.dtype) == "Null":
            continue
        if column.type == "date":
            fits = is_date(cells.dtype) or (is_text(cells.dtype) and column.format)
            wrong = polars.Series([True])
            if fits and is_text(cells.dtype):
                wrong = microseconds(cells, column.format).is_null() & cells.is_not_null()
            if fits and not is_date(cells.dtype) and wrong.any():
                row = int(wrong.arg_true()[0])
                raise DataError(
                    f"{what}: column {column.name!r} holds {cells[row]!r} in {chunk.place(row)}, "
                    f"expected dates written as {column.format}; correct it."
                )
            if fits:
                continue
        elif is_number(cells.dtype):
            continue
        expected = "dates" if column.type == "date" else "numbers"
        raise DataError(
            f"{what}: column {column.name!r} {what_it_holds(chunk, column.name)}, expected "
            f"{expected}; convert it."
        )


def what_it_holds(chunk: Chunk, name: str) -> str:
    """What a column holds in place of numbers, and where, as ``holds text ('Oslo' in row 3)``."""
    import polars

    column = chunk.frame[name]
    kind = str(column.dtype)
    if is_date(column.dtype):
        return f"holds dates or times ({kind})"
    if not is_text(column.dtype):
        return f"holds {kind} values"
    text = column.cast(polars.String)
    wrong = (text.cast(polars.Float64, strict=False).is_null() & text.is_not_null()).arg_true()
    if not len(wrong):
        return f"holds numbers written as text (from {chunk.place(0)} on)"
    return f"holds text ({text[wrong[0]]!r} in {chunk.place(wrong[0])})"
