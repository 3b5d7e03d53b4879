"""Columns of numbers as classes and clusters are told by them: blurred within their steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy

from pushforward.data.readers import open_table

__all__ = ["Blurred", "blurred", "rounded", "with_columns"]

_LEAST = 2e-3  # of a column's spread: what any column is blurred by
_ROUNDING = 1e-9  # of the range; distances below it are errors of rounding, not steps
_MANY = 5_000  # rows from which a value that many of them hold has a probability
_ATOM = 0.2  # share of the rows that hold it


class Blurred(NamedTuple):
    """A frame with columns blurred.

    Attributes:
        frame: the frame.
        names: its columns.
        numbers: the columns that are blurred.
        constant: columns of numbers that hold one value, and it.
        steps: what they were rounded to, where values repeat.
        dtypes: the types of those that came as whole numbers.
    """

    frame: Any
    names: list[str]
    numbers: list[str]
    constant: dict[str, float]
    steps: dict[str, float]
    dtypes: dict[str, str]


def blurred(
    frame: Any, state: numpy.random.RandomState, left: Mapping[str, Any], atoms: bool = True
) -> Blurred:
    """Blur columns of numbers by noise within the step that they are rounded to.

    Rounded numbers, and columns that are sums of others, have no density. Noise of one step, or a
    five-hundredth of the spread where that is more, gives them one. It is the same in all classes
    and clusters, so that it decides between none of them. Among many rows a value that many hold
    has a probability of its own: such a column is left to the table.

    Args:
        frame: a frame, or a mapping of columns.
        state: where the noise comes from.
        left: columns that are left as they are.
        atoms: whether those are, too, where one value is frequent among many rows.
    """
    chunks = [chunk.frame for chunk in open_table(frame).chunks()]
    made: dict[str, Any] = {}
    constant: dict[str, float] = {}
    steps: dict[str, float] = {}
    dtypes: dict[str, str] = {}
    for name, dtype in chunks[0].schema.items():
        if name in left or not dtype.is_numeric():
            continue
        parts = [chunk[name].cast(float).to_numpy() for chunk in chunks]
        column = numpy.concatenate(parts)
        known, counts = numpy.unique(column[numpy.isfinite(column)], return_counts=True)
        frequent = len(column) >= _MANY and counts.max() > _ATOM * len(column)
        if dtype.is_integer():
            dtypes[name] = str(dtype)
        if len(known) == 1:
            constant[name] = float(known[0])
        if len(known) < 2 or (atoms and frequent):
            continue
        width = _LEAST * float(numpy.nanstd(column))
        if counts.max() > 1:
            between = numpy.diff(known)
            between = between[between > _ROUNDING * (known[-1] - known[0])]
            steps[name] = float(between.min())
            width = max(width, steps[name])
        made[name] = column + width * (state.random_sample(len(column)) - 0.5)
    names = list(chunks[0].columns)
    return Blurred(with_columns(frame, made), names, list(made), constant, steps, dtypes)


def with_columns(frame: Any, columns: Mapping[str, Any]) -> Any:
    """A frame, or a mapping of columns, with columns added or replaced."""
    if isinstance(frame, Mapping):
        return {**frame, **columns}
    import narwhals

    native = narwhals.from_native(frame, eager_only=True)
    series = [
        narwhals.new_series(name, values, backend=native.implementation)
        for name, values in columns.items()
    ]
    return native.with_columns(*series).to_native() if series else frame


def rounded(blur: Blurred, drawn: Any) -> Any:
    """New rows of all columns that came in, their numbers rounded as those were.

    Args:
        blur: what the rows were drawn to be like.
        drawn: a frame.
    """
    import narwhals

    constant = {name: [value] * len(drawn) for name, value in blur.constant.items()}
    native = narwhals.from_native(with_columns(drawn, constant), eager_only=True)
    made = []
    for name in blur.names:
        series = native[name]
        if name in blur.steps:
            series = (series / blur.steps[name]).round() * blur.steps[name]
        if name in blur.dtypes:
            series = series.round().cast(getattr(narwhals, blur.dtypes[name]))
        made.append(series.alias(name))
    return native.select(*made).to_native()
