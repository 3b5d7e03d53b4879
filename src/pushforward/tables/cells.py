"""Chunks of a table as numbers, and words for what is no number."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pushforward.data.table_source import Chunk

if TYPE_CHECKING:
    import numpy
    import polars

__all__ = ["columns_option", "is_number", "matrix", "not_numbers"]


def is_number(kind: polars.DataType) -> bool:
    """Whether a polars type counts as numbers: numeric, true/false, or nothing but gaps."""
    return kind.is_numeric() or str(kind) in ("Boolean", "Null")


def matrix(frame: polars.DataFrame, names: Sequence[str]) -> numpy.ndarray[Any, Any]:
    """The columns as a float64 matrix, ``(rows, len(names))``; missing values are NaN.

    A column that `is_number` refuses comes out as NaN: the caller has named it by then.
    """
    import numpy
    import polars

    result = numpy.full((frame.height, len(names)), numpy.nan)
    for place, name in enumerate(names):
        if is_number(frame[name].dtype):
            result[:, place] = frame[name].cast(polars.Float64).fill_null(numpy.nan).to_numpy()
    return result


def not_numbers(chunk: Chunk, name: str) -> str:
    """What a column holds in place of numbers, and where, as ``holds text ('Oslo' in row 3)``."""
    import polars

    column = chunk.frame[name]
    kind = str(column.dtype)
    if column.dtype.is_temporal():
        return f"holds dates or times ({kind})"
    if column.dtype not in (polars.String, polars.Categorical, polars.Enum):
        return f"holds {kind} values"
    text = column.cast(polars.String)
    wrong = (text.cast(polars.Float64, strict=False).is_null() & text.is_not_null()).arg_true()
    if not len(wrong):
        return f"holds numbers written as text (from {chunk.place(0)} on)"
    return f"holds text ({text[wrong[0]]!r} in {chunk.place(wrong[0])})"


def columns_option(names: Iterable[str]) -> str:
    """The ``--columns`` option that names these columns, ready for a shell."""
    return f"--columns {shlex.quote(','.join(names))}"
