"""From a table to tensors: chunk by chunk into place, so that there is never a second copy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import torch
from torch import Tensor

from pushforward.data.readers import open_table
from pushforward.data.table_source import Chunk, TableSource
from pushforward.errors import DataError
from pushforward.flows import Flow
from pushforward.tables.cells import is_number, matrix, not_numbers
from pushforward.tables.schema import Schema
from pushforward.tables.schema_matching import match
from pushforward.transforms.domains import Everywhere

__all__ = ["chunk_rows", "load_matrix", "refuse_outside"]

_SHOWN = 6  # columns of a row that a message shows


def load_matrix(
    source: object,
    schema: Schema,
    *,
    dtype: torch.dtype = torch.float32,
    weights: bool = True,
    what: str = "DATA",
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Read the columns of a schema into tensors, each column less its offset.

    Args:
        source: anything `pushforward.data.open_table` takes; columns are matched by name.
        schema: which columns, and what is done to them.
        dtype: of the tensors; the offset is subtracted in float64 before.
        weights: whether to read the schema's column of weights, if it has one.
        what: what messages call the table.

    Returns:
        ``(x, context, weights)``.

    Shapes:
        x: ``(rows, features)``
        context: ``(rows, context columns)``, or None
        weights: ``(rows,)``, or None

    Raises:
        DataError: a column is missing or holds no numbers; or a value is missing or infinite and
            the schema does not drop such rows. The message names file, row and column.

    Example:
        >>> from pushforward.tables import infer_schema
        >>> table = {"t": [1.7e9 + i for i in range(30)]}
        >>> schema = infer_schema(table)
        >>> x, _, _ = load_matrix(table, schema)
        >>> schema.columns[0].offset, x[1, 0] - x[0, 0]
        (1700000010.0, tensor(1.))
    """
    table = open_table(source, what=what)
    what = table.title if table.kind == "file" else what
    weighted = weights and schema.weights is not None
    names = match(table.names, schema, weights=weighted, what=what).columns
    width, total = len(schema.features), len(schema.names)
    x = torch.empty(table.rows, width, dtype=dtype)
    context = torch.empty(table.rows, total - width, dtype=dtype) if schema.context else None
    weight = torch.empty(table.rows, dtype=dtype) if weighted else None
    offsets = numpy.array([schema.column(name).offset for name in schema.names])
    start = 0
    for _, values, complete in chunk_rows(table, names, names, schema, what):
        rows = values if complete.all() else values[complete]
        end = start + len(rows)
        numbers = torch.from_numpy(rows[:, :total] - offsets)
        x[start:end] = numbers[:, :width]
        if context is not None:
            context[start:end] = numbers[:, width:]
        if weight is not None:
            weight[start:end] = torch.from_numpy(rows[:, total])
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
    offsets = numpy.array([schema.column(name).offset for name in schema.features])
    width, total = len(schema.features), len(schema.names)
    for chunk, values, complete in chunk_rows(table, names, names, schema, table.title):
        x = torch.from_numpy(values[:, :width] - offsets).to(flow.device, flow.dtype)
        outside = domain.outside(x).cpu().numpy() & complete
        if weighted:
            outside &= values[:, total] > 0.0
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
    read: tuple[str, ...],
    names: tuple[str, ...],
    schema: Schema,
    what: str,
) -> Iterator[tuple[Chunk, numpy.ndarray[Any, Any], numpy.ndarray[Any, Any]]]:
    """Chunks of a table, their columns as numbers, and which rows are complete.

    Args:
        table: the table.
        read: the columns each chunk holds.
        names: the columns that become numbers, ``(rows, len(names))`` in float64.
        schema: whether rows with gaps are dropped or refused.
        what: what messages call the table.

    Raises:
        DataError: a column holds no numbers, or a gap that the schema refuses.
    """
    for chunk in table.chunks(read):
        for name in names:
            if not is_number(chunk.frame[name].dtype):
                raise DataError(
                    f"{what}: column {name!r} {not_numbers(chunk, name)}, expected numbers; "
                    "convert it."
                )
        rows = matrix(chunk.frame, names)
        finite = numpy.isfinite(rows)
        complete = finite.all(1)
        if schema.missing != "drop" and not complete.all():
            raise _gap(chunk, names, rows, finite, what)
        yield chunk, rows, complete


def _gap(
    chunk: Chunk,
    names: tuple[str, ...],
    rows: numpy.ndarray[Any, Any],
    finite: numpy.ndarray[Any, Any],
    what: str,
) -> DataError:
    row, column = (int(place[0]) for place in numpy.nonzero(~finite))
    kind = "a missing value" if numpy.isnan(rows[row, column]) else "an infinite value"
    return DataError(
        f"{what}: column {names[column]!r} has {kind} in {chunk.place(row)}, expected numbers; "
        "fill it in or take the row out."
    )
