"""New rows of a table, in the types its columns came in."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pushforward.data.frames import to_native
from pushforward.errors import ArgumentError, DataError
from pushforward.flows import Flow
from pushforward.tables.schema import Schema

__all__ = ["sample_frame"]

_DRAWN = 65536  # rows drawn at a time


def sample_frame(flow: Flow, schema: Schema, n: int, given: Any, seed: int | None) -> Any:
    """Draw rows, and give them names and types back.

    Args:
        flow: the flow, in float64.
        schema: the columns.
        n: rows, for each given row.
        given: values of the context columns, a mapping or a frame, or None.
        seed: seed of the draws.
    """
    import polars

    generator = None if seed is None else torch.Generator().manual_seed(seed)
    context = _context(schema, given)
    shifted = None if context is None else context - _offsets(schema, schema.context)
    if shifted is None:
        rows = torch.cat([flow.sample(k, generator=generator) for k in _pieces(n, 1)])
    else:
        pieces = _pieces(n, len(shifted))
        drawn = [flow.sample(k, shifted, generator=generator) for k in pieces]
        rows = torch.cat(drawn).transpose(0, 1).flatten(0, 1)
    rows = rows + _offsets(schema, schema.features)
    made = {name: rows[:, i].numpy() for i, name in enumerate(schema.features)}
    if context is not None:
        repeated = context.repeat_interleave(n, 0)
        made |= {name: repeated[:, i].numpy() for i, name in enumerate(schema.context)}
    frame = polars.DataFrame(made)
    return to_native(frame.with_columns(_typed(frame, schema)), schema.native)


def _pieces(n: int, given: int) -> list[int]:
    """Cut n into draws of a size that memory does not notice."""
    most = max(1, _DRAWN // given)
    return [min(most, n - start) for start in range(0, n, most)]


def _offsets(schema: Schema, names: tuple[str, ...]) -> Tensor:
    return torch.tensor([schema.column(name).offset for name in names], dtype=torch.float64)


def _typed(frame: Any, schema: Schema) -> list[Any]:
    """Columns cast to the types they came in; whole numbers are rounded and kept in range."""
    import polars

    result = []
    for name in frame.columns:
        kind = getattr(polars, schema.column(name).dtype, polars.Float64)
        column = polars.col(name)
        if kind == polars.Boolean:
            result.append(column > 0.5)
        elif kind.is_integer():
            low, high = (polars.select(bound).item() for bound in (kind.min(), kind.max()))
            top = float(high)  # of 64 bits it is one more than the type holds
            top = top if int(top) <= high else math.nextafter(top, 0.0)
            result.append(column.round().clip(float(low), top).cast(kind))
        else:
            result.append(column.cast(kind))
    return result


def _context(schema: Schema, given: Any) -> Tensor | None:
    """The given values as ``(rows, context columns)`` in float64."""
    if not schema.context:
        if given is not None:
            raise ArgumentError(
                "TableFlow.sample: given needs context columns, and this model has none; "
                "fit it with context=[…]."
            )
        return None
    if given is None:
        names = ", ".join(schema.context)
        raise ArgumentError(f"TableFlow.sample: this model needs given values of {names}.")
    if isinstance(given, Mapping):
        return _from_mapping(schema, given)
    return _from_frame(schema, given)


def _from_mapping(schema: Schema, given: Mapping[str, Any]) -> Tensor:
    for name in given:
        if name not in schema.context:
            near = difflib.get_close_matches(str(name), schema.context, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ArgumentError(
                f"TableFlow.sample: given names {name!r}, which is no context column; the context "
                f"columns are {', '.join(schema.context)}.{hint}"
            )
    lacking = [name for name in schema.context if name not in given]
    if lacking:
        raise ArgumentError(f"TableFlow.sample: given lacks the context column {lacking[0]!r}.")
    try:
        columns = [torch.as_tensor(given[n], dtype=torch.float64) for n in schema.context]
        rows = max(column.numel() for column in columns)
        table = torch.stack([column.reshape(-1).expand(rows) for column in columns], -1)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"TableFlow.sample: given holds no numbers: {error}.") from None
    return _finite(schema, table)


def _from_frame(schema: Schema, given: Any) -> Tensor:
    import polars

    from pushforward.data.readers import open_table
    from pushforward.tables.cells import is_number, matrix

    table = open_table(given, what="given")
    lacking = [name for name in schema.context if name not in table.names]
    if lacking:
        raise DataError(f"given: the context column {lacking[0]!r} is missing.")
    frame = polars.concat(
        [chunk.frame for chunk in table.chunks(schema.context)], how="vertical_relaxed"
    )
    for name in schema.context:
        if not is_number(frame[name].dtype):
            raise DataError(f"given: column {name!r} holds no numbers.")
    return _finite(schema, torch.from_numpy(matrix(frame, schema.context)))


def _finite(schema: Schema, table: Tensor) -> Tensor:
    if not len(table):
        raise DataError("given: there are no rows, expected values of the context columns.")
    finite = table.isfinite()
    if not bool(finite.all()):
        row, column = (int(i) for i in (~finite).nonzero()[0])
        raise DataError(
            f"given: column {schema.context[column]!r} is missing or infinite in row {row + 1}."
        )
    return table
