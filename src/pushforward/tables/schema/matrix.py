"""From a table to tensors: chunk by chunk into place, so that there is never a second copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy
import torch
from torch import Tensor

from pushforward.advice import option
from pushforward.data.readers import open_table
from pushforward.data.table_source import Chunk, TableSource
from pushforward.errors import DataError
from pushforward.flows import Flow
from pushforward.tables.layout import Layout
from pushforward.tables.schema.cells import UNSEEN, labels_of, numbers, refuse_kinds
from pushforward.tables.schema.column import Column
from pushforward.tables.schema.matching import match
from pushforward.tables.schema.schema import Schema
from pushforward.tables.schema.words import outside, shown
from pushforward.transforms.domains import Everywhere

__all__ = ["chunk_rows", "layouts", "load_matrix", "refuse_outside", "refuse_values"]

_SHOWN = 6  # columns of a row that a message shows


def layouts(schema: Schema) -> tuple[Layout, Layout | None]:
    """How features, and context columns, lie in the rows that a flow sees."""
    gaps = schema.missing == "model"
    features = Layout([schema.column(name) for name in schema.features], gaps)
    if not schema.context:
        return features, None
    return features, Layout([schema.column(n) for n in schema.context], gaps, context=True)


def load_matrix(
    source: object,
    schema: Schema,
    *,
    dtype: torch.dtype = torch.float32,
    weights: bool = True,
    what: str = "DATA",
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Read the columns of a schema into the rows that a flow sees.

    Args:
        source: anything `pushforward.data.open_table` takes; columns are matched by name.
        schema: which columns, and what is done to them.
        dtype: of the tensors; offsets are subtracted in float64 before.
        weights: whether to read the schema's column of weights, if it has one.
        what: what messages call the table.

    Returns:
        ``(x, context, weights)``.

    Shapes:
        x: ``(rows, width)`` as the layout of the features has it
        context: ``(rows, width)`` as that of the context columns has it, or None
        weights: ``(rows,)``, or None

    Raises:
        DataError: a column is missing or holds another kind of values; or a value is missing or
            infinite and the schema does not provide for it. The message names file, row and column.

    Example:
        >>> from pushforward.tables import infer_schema
        >>> table = {"t": [1.7e9 + i + 0.25 * (i % 3) for i in range(30)]}
        >>> schema = infer_schema(table)
        >>> x, _, _ = load_matrix(table, schema)
        >>> schema.columns[0].offset, x[1, 0] - x[0, 0]
        (1700000010.0, tensor(1.2500))
    """
    table = open_table(source, what=what)
    what = table.title if table.kind == "file" else what
    weighted = weights and schema.weights is not None
    names = match(table.names, schema, weights=weighted, what=what).columns
    features, given = layouts(schema)
    total, width = len(schema.names), len(schema.features)
    x = torch.empty(table.rows, features.width, dtype=dtype)
    context = None if given is None else torch.empty(table.rows, given.width, dtype=dtype)
    weight = torch.empty(table.rows, dtype=dtype) if weighted else None
    start = 0
    for chunk, values, complete in chunk_rows(table, names, names, schema, what, "learn"):
        used = complete if weight is None else complete & (values[:, total] != 0.0)
        _refuse_impossible(chunk, schema, values, used, what)
        rows = torch.from_numpy(values if complete.all() else values[complete])
        end = start + len(rows)
        x[start:end] = features.rows(rows[:, :width])
        for slot in features.log_slots:  # what the type of x would take for zero
            x[start:end, slot].clamp_(min=torch.finfo(dtype).tiny)
        if context is not None and given is not None:
            context[start:end] = given.rows(rows[:, width:total])
        if weight is not None:
            weight[start:end] = rows[:, total]
        start = end
    return (
        x[:start],
        None if context is None else context[:start],
        None if weight is None else weight[:start],
    )


def refuse_outside(table: TableSource, schema: Schema, flow: Flow) -> None:
    """Refuse a table with a row outside the support of a flow; a row without weight may be.

    Only a flow with a bounded support makes this read the table.

    Raises:
        DataError: there is such a row; the message names file, row and columns.
    """
    domain = flow.transform.domain
    if isinstance(domain, Everywhere):
        return
    weighted = schema.weights is not None
    names = match(table.names, schema, weights=weighted, what=table.title).columns
    features, total = layouts(schema)[0], len(schema.names)
    width = len(schema.features)
    for chunk, values, complete in chunk_rows(table, names, names, schema, table.title):
        x = features.rows(torch.from_numpy(values[:, :width])).to(flow.device, flow.dtype)
        outside = domain.outside(x).cpu().numpy() & complete
        if weighted:
            outside &= values[:, total] != 0.0
        if outside.any():
            row = int(outside.argmax())
            pairs = zip(schema.features[:_SHOWN], values[row], strict=False)
            shown = ", ".join(f"{name} = {value:g}" for name, value in pairs)
            raise DataError(
                f"{table.title}: {chunk.place(row)} has no density, {shown}"
                f"{', …' if width > _SHOWN else ''}; the flow takes {domain}. Leave such rows "
                f"out, or begin the flow with a transform that takes them."
            )


def chunk_rows(
    table: TableSource,
    read: Sequence[str],
    names: Sequence[str],
    schema: Schema,
    what: str,
    unseen: str = "error",
) -> Iterator[tuple[Chunk, numpy.ndarray[Any, Any], numpy.ndarray[Any, Any]]]:
    """Chunks of a table, their columns as numbers, and which rows are complete.

    Args:
        table: the table.
        read: the columns each chunk holds.
        names: the columns that become numbers, those of the schema in its order, or with its
            weights behind them; an array's go by other names.
        schema: what the columns are, and whether rows with gaps are dropped or refused.
        what: what messages call the table.
        unseen: ``error`` refuses labels that no training row had; with ``lowest`` they come out
            as ``UNSEEN``.

    Raises:
        DataError: a column holds another kind of values, a gap that the schema refuses, a fraction
            where it has whole numbers, or a label that was never seen.
    """
    columns = [*schema.columns]
    if len(names) > len(columns):
        columns.append(Column(schema.weights or "", ""))
    renamed = dict(zip(names, (column.name for column in columns), strict=True))
    for whole in table.chunks(list(read)):
        chunk = Chunk(whole.frame.rename(renamed), whole.file, whole.first_row, whole.alone)
        refuse_kinds(chunk, columns, what)
        rows = numbers(chunk.frame, columns)
        missing = numpy.isnan(rows)
        complete = numpy.isfinite(rows)
        if schema.missing == "model":  # of the columns that had none, a gap is still refused
            complete |= missing & numpy.array([column.gaps > 0.0 for column in columns])
        if schema.missing != "drop" and not complete.all():
            raise _gap(chunk, columns, rows, complete, schema, what)
        seen = rows
        if len(columns) > len(schema.columns):  # what a row without weight holds is nothing
            seen = numpy.where(rows[:, -1:] == 0.0, numpy.nan, rows)
        refuse_values(chunk, columns, seen, what, unseen)
        yield whole, rows, complete.all(1)


def refuse_values(
    chunk: Chunk,
    columns: Sequence[Column],
    rows: numpy.ndarray[Any, Any],
    what: str,
    unseen: str,
) -> None:
    """Refuse fractions where a column has whole numbers, and labels that no training row had.

    Raises:
        DataError: there is one; the message says which, and where.
    """
    for place, column in enumerate(columns):
        values = rows[:, place]
        if column.counted and (bad := (values % 1.0 > 0.0).nonzero()[0]).size:
            unit = f"whole {column.unit}s" if column.unit else "whole numbers"
            raise DataError(
                f"{what}: column {column.name!r} holds {unit} in the model and "
                f"{chunk.frame[column.name][int(bad[0])]} in {chunk.place(int(bad[0]))}; round "
                f"it, or fit the model with {option('types', {column.name: 'real'})}."
            )
        if column.labels and unseen != "lowest" and (bad := (values == UNSEEN).nonzero()[0]).size:
            label = labels_of(chunk.frame[column.name])[int(bad[0])]
            advice = ""
            if unseen == "error":
                advice = (
                    f", or score such rows as the least likely value that is known with "
                    f"{option('unseen', 'lowest')}"
                )
            elif unseen == "learn":
                advice = ", leave such rows out, or fit a new model, which learns it too"
            known = ", ".join(column.labels[:5]) + (", …" if len(column.labels) > 5 else "")
            raise DataError(
                f"{what}: column {column.name!r} holds {label!r} in {chunk.place(int(bad[0]))}, "
                f"which no training row had ({known}); correct it{advice}."
            )


def _refuse_impossible(
    chunk: Chunk,
    schema: Schema,
    rows: numpy.ndarray[Any, Any],
    used: numpy.ndarray[Any, Any],
    what: str,
) -> None:
    """Refuse to learn from rows that have no density in a model that is there already.

    Raises:
        DataError: there is one; the message says which, and where.
    """
    for place, name in enumerate(schema.features):
        column, values = schema.column(name), rows[:, place]
        if column.type == "constant" or column.coded:
            continue
        suspect = used & numpy.isin(values, [end for end in column.ends if end is not None])
        for end, inward in zip(column.ends, (1.0, -1.0), strict=True):
            if end is not None:
                suspect |= used & ((values - end) * inward < 0.0)
        if column.spacing > 1:
            suspect |= used & ((values - column.origin) % column.spacing > 0.0)
        tried, first = numpy.unique(values[suspect], return_index=True)
        for value, index in zip(tried.tolist(), first.tolist(), strict=True):
            if why := outside(column, value):
                row = int(suspect.nonzero()[0][index])
                raise DataError(
                    f"{what}: column {name!r} holds {shown(column, value)} in {chunk.place(row)}, "
                    f"{why}: it has no probability in this model; leave such rows out, or fit a "
                    f"new model."
                )


def _gap(
    chunk: Chunk,
    columns: Sequence[Column],
    rows: numpy.ndarray[Any, Any],
    complete: numpy.ndarray[Any, Any],
    schema: Schema,
    what: str,
) -> DataError:
    row, place = (int(index[0]) for index in numpy.nonzero(~complete))
    missing = numpy.isnan(rows[row, place])
    kind = "a missing value" if missing else "an infinite value"
    advice = "fill it in or take the row out"
    if missing and schema.missing == "model":
        advice = "none was missing there when the model was fitted: fill it in"
    return DataError(
        f"{what}: column {columns[place].name!r} has {kind} in {chunk.place(row)}, expected a "
        f"value; {advice}."
    )
