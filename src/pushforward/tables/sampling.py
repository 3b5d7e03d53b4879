"""New rows of a table, in the types its columns came in."""

from __future__ import annotations

import ast
import datetime
import math
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pushforward.data.frames import frame_of_columns, to_native
from pushforward.data.table_source import did_you_mean
from pushforward.errors import ArgumentError, DataError
from pushforward.tables.partial.completion import Completion, conditional_draws
from pushforward.tables.schema.cells import numbers, refuse_kinds, same_label
from pushforward.tables.schema.column import Column
from pushforward.tables.schema.dates import as_dates, zone_of
from pushforward.tables.schema.matrix import refuse_values
from pushforward.tables.schema.words import outside, shown
from pushforward.tables.scoring import Scorer

if TYPE_CHECKING:
    import polars

    from pushforward.tables.schema.schema import Schema

__all__ = ["draw", "frame_of", "given_numbers", "sample"]

_DRAWN = 65536  # rows drawn at a time


def sample(
    completion: Completion, n: int, given: Any, generator: torch.Generator | None
) -> tuple[Any, list[str]]:
    """New rows as a frame, and what is to be said of them.

    Args:
        completion: of the model.
        n: rows, for each given row.
        given: a mapping of names to values, a frame of context columns, or None.
        generator: where draws come from.

    Raises:
        ArgumentError: what is given does not fit the model.
        DataError: what is given is too unlikely to be drawn.
    """
    scorer, schema = completion.scorer, completion.scorer.schema
    given = {} if given is None else given
    named = list(given) if isinstance(given, Mapping) else list(schema.context)
    for name in named:
        if name not in schema.names:
            raise ArgumentError(
                f"TableFlow.sample: given names {name!r}, which is no column of the model."
                f"{did_you_mean(str(name), schema.names)}"
            )
    lacking = [name for name in schema.context if name not in named]
    if lacking:
        raise ArgumentError(
            f"TableFlow.sample: this model needs given values of {', '.join(schema.context)}; "
            f"{lacking[0]!r} is lacking."
        )
    if not schema.context and not isinstance(given, Mapping):
        raise ArgumentError(
            "TableFlow.sample: given is a frame, which needs context columns, and this model has "
            "none; fit it with context=[…], or give a mapping of single values."
        )
    known = [name for name in named if name not in schema.context]
    order = [*known, *schema.context]
    values = given_numbers(schema, given, order) if order else None
    context = None if values is None or not schema.context else values[:, len(known) :]
    if not known:
        return frame_of(schema, draw(scorer, n, context, generator)), []
    assert values is not None
    if len(values) > 1:
        raise ArgumentError(
            f"TableFlow.sample: given holds {len(values)} values of {known[0]!r}, expected one: "
            f"it is no context column."
        )
    numbers = torch.zeros(1, len(schema.names), dtype=torch.float64)
    for place, column in enumerate(schema.columns):
        numbers[0, place] = column.usual
        if column.name in order:
            numbers[0, place] = values[0, order.index(column.name)]
    row, seen = scorer.rows(numbers)
    rows, note = conditional_draws(completion, row, known, n, seen, generator)
    made = scorer.features.numbers(rows)
    if context is not None:
        made = torch.cat((made, context.expand(len(made), -1)), -1)
    return frame_of(schema, made), [note] if note else []


def draw(
    scorer: Scorer, n: int, context: Tensor | None, generator: torch.Generator | None
) -> Tensor:
    """Numbers of new rows, features then context columns, ``(n * contexts, columns)``.

    Args:
        scorer: flow and layout.
        n: rows, for each row of the context.
        context: numbers of the context columns, ``(contexts, context columns)``, or None.
        generator: where draws come from.
    """
    flow = scorer.flow
    if context is None or scorer.given is None:
        rows = torch.cat([flow.sample(k, generator=generator) for k in _pieces(n, 1)])
        return scorer.features.numbers(rows)
    seen = scorer.given.rows(context) if flow.context else None
    pieces = _pieces(n, len(context))
    if seen is None:  # all its context columns are constant
        rows = torch.cat([flow.sample((k, len(context)), generator=generator) for k in pieces])
    else:
        rows = torch.cat([flow.sample(k, seen, generator=generator) for k in pieces])
    made = scorer.features.numbers(rows.transpose(0, 1).flatten(0, 1))
    return torch.cat((made, context.repeat_interleave(n, 0)), -1)


def _pieces(n: int, given: int) -> list[int]:
    """Cut n into draws of a size that memory does not notice."""
    most = max(1, _DRAWN // given)
    return [min(most, n - start) for start in range(0, n, most)]


def frame_of(schema: Schema, values: Tensor, names: Sequence[str] | None = None) -> Any:
    """Numbers of the schema's columns as a frame like the one that came in.

    Args:
        schema: the columns.
        values: ``(n, columns)``.
        names: the columns of the frame, by default all.
    """
    import polars

    columns = {
        column.name: _typed(column, values[:, place]) for place, column in enumerate(schema.columns)
    }
    frame = polars.DataFrame(
        [columns[name].alias(name) for name in (schema.names if names is None else names)]
    )
    return to_native(frame, schema.native)


def _typed(column: Column, values: Tensor) -> polars.Series:
    """Numbers as the values they stand for, in the type that they came in."""
    import polars

    numbers = polars.Series(values.double().contiguous().numpy()).fill_nan(None)
    if column.labels:
        labels = {float(code): label for code, label in enumerate(column.labels)}
        if column.type == "constant":
            numbers = polars.Series([0.0] * len(values))
        texts = numbers.replace_strict(labels, default=None, return_dtype=polars.String)
        return _of_texts(column, texts)
    if column.type == "date":
        return as_dates(column, numbers)
    kind = getattr(polars, column.dtype, polars.Float64)
    if kind.is_integer():
        low, high = (polars.select(bound).item() for bound in (kind.min(), kind.max()))
        every, first = column.spacing, column.origin
        least = float(low + (first - low) % every)  # that the type and the steps hold
        most = high - (high - first) % every
        top = float(most)  # of 64 bits it is one more than the type holds
        top = top if int(top) <= most else math.nextafter(top, 0.0)
        return numbers.round().clip(least, top).cast(kind)
    if kind == polars.Boolean:  # taken for numbers by a flow of one's own
        return numbers > 0.5
    if column.step and not column.counted:
        numbers = (numbers / column.step).round() * column.step
        numbers = numbers.round(max(0, round(-math.log10(column.step))))
    if decimal := re.search(r"^Decimal\(precision=(\d+), scale=(\d+)\)$", column.dtype):
        return numbers.cast(polars.Decimal(int(decimal[1]), int(decimal[2])), strict=False)
    return numbers.cast(kind)


def _of_texts(column: Column, texts: polars.Series) -> polars.Series:
    import polars

    kind = getattr(polars, column.dtype, None)
    if kind == polars.Boolean:
        return texts == "true"
    if kind is not None and kind.is_numeric():
        return texts.cast(polars.Float64).cast(kind)
    if column.dtype.startswith("Categorical"):
        return texts.cast(polars.Categorical)
    if column.dtype.startswith("Enum"):
        return texts.cast(polars.Enum(ast.literal_eval(column.dtype.partition("=")[2][:-1])))
    return texts


def given_numbers(schema: Schema, given: Any, names: Sequence[str]) -> Tensor:
    """Values that were given for columns, as numbers, ``(rows, names)``.

    Args:
        schema: the columns.
        given: a mapping of names to values, one or a list for each; or a frame.
        names: the columns it has to give.

    Raises:
        ArgumentError: a mapping names other columns, lacks one, or gives what is no value of it.
        DataError: a frame lacks a column, or has a gap.
    """
    columns = [schema.column(name) for name in names]
    if isinstance(given, Mapping):
        given = _as_lists(schema, given, names)
    from pushforward.data.readers import open_table

    table = open_table(given, what="given")
    lacking = [name for name in names if name not in table.names]
    if lacking:
        raise DataError(
            f"given: the column {lacking[0]!r} is missing.{did_you_mean(lacking[0], table.names)}"
        )
    parts = []
    for chunk in table.chunks(list(names)):
        refuse_kinds(chunk, columns, "given")
        rows = numbers(chunk.frame, columns)
        refuse_values(chunk, columns, rows, "given", "refuse")
        parts.append(torch.from_numpy(rows))
    found = torch.cat(parts)
    gap = torch.tensor([schema.missing == "model" and column.gaps > 0.0 for column in columns])
    fits = found.isfinite() | (found.isnan() & gap)
    if not bool(fits.all()):
        row, place = (int(i) for i in (~fits).nonzero()[0])
        raise DataError(f"given: column {names[place]!r} is missing or infinite in row {row + 1}.")
    for column, values in zip(columns, found.T.tolist(), strict=True):
        for value in values if column.name not in schema.context else ():
            if beyond := outside(column, value):
                raise ArgumentError(
                    f"given: {column.name!r} is {shown(column, value)}, {beyond}: that has no "
                    f"probability in this model."
                )
    return found


def _as_lists(schema: Schema, given: Mapping[str, Any], names: Sequence[str]) -> Any:
    """A mapping of single values or lists as columns of equal length, in the columns' types."""
    for name in given:
        if name not in names:
            raise ArgumentError(
                f"TableFlow.sample: given names {name!r}, which is no column that can be given."
                f"{did_you_mean(str(name), names)}"
            )
    lacking = [name for name in names if name not in given]
    if lacking:
        raise ArgumentError(
            f"given: this model needs values of {', '.join(names)}; {lacking[0]!r} is lacking."
        )
    lists = {name: _as_list(schema.column(name), given[name]) for name in names}
    rows = max(len(values) for values in lists.values())
    return frame_of_columns(
        {name: values * rows if len(values) == 1 else values for name, values in lists.items()},
        "given",
    )


def _as_list(column: Column, value: Any) -> list[Any]:
    """One value, or several, of a column; what was typed as text becomes what it stands for."""
    single = (
        isinstance(value, str) or not hasattr(value, "__len__") or not getattr(value, "shape", 1)
    )
    values = [value] if single else list(value)
    values = [one.item() if hasattr(one, "item") else one for one in values]
    if column.labels:
        return [_label(column, one) for one in values]
    if column.type == "date":
        return [_as_date(column, one) for one in values]
    try:
        return [math.nan if one is None else float(one) for one in values]
    except (TypeError, ValueError):
        raise ArgumentError(
            f"TableFlow.sample: given holds {value!r} for {column.name!r}, expected a number."
        ) from None


def _as_date(column: Column, value: Any) -> Any:
    """A date that was typed, for a column that does not hold texts."""
    if column.format or value is None:
        return value
    try:
        made = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value
        zone = zone_of(column)
        if zone and isinstance(made, datetime.datetime) and made.tzinfo is None:
            return made.replace(tzinfo=zoneinfo.ZoneInfo(zone))  # as the column's clock shows it
        return made
    except ValueError:
        raise ArgumentError(
            f"TableFlow.sample: given holds {value!r} for {column.name!r}, expected a date such as "
            f"2026-01-31."
        ) from None


def _label(column: Column, value: Any) -> str | None:
    """The label that a value stands for: 1 and 1.0 are the same, and so are True and TRUE."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = str(value)
    tries = (text, same_label(text), text.lower())
    return next((one for one in tries if one in column.labels), text)
