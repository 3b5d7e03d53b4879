"""What an estimator reads off X, rows of numbers, by a schema if need be; and off y: targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy
import torch
from sklearn.utils.validation import check_array
from torch import Tensor

from pushforward.arguments import did_you_mean
from pushforward.errors import DataError
from pushforward.estimators.table import _ASIDE

if TYPE_CHECKING:
    from pushforward.tables.layout import Layout
    from pushforward.tables.schema.schema import Missing, Schema

__all__ = ["Inputs", "refuse_constant", "targets_of"]


class Inputs:
    """Columns of X as rows of numbers, and what these numbers are.

    Numbers are numbers, however few different ones a column has; texts, truth values and dates are
    what the schema of a table takes them for. An array without gaps needs no schema.

    Args:
        who: who asks, for messages.
        schema: of the columns, or None if all of them are numbers.
        width: how many columns there are.
    """

    def __init__(self, who: str, schema: Schema | None, width: int) -> None:
        self.who, self.schema, self.width = who, schema, width

    @classmethod
    def learn(
        cls, who: str, columns: Any, types: Mapping[str, Any] | None, missing: Missing
    ) -> Inputs:
        """What there is in a frame, or in columns of an array, which are numbers.

        Raises:
            DataError: a column cannot be used; the message says why.
        """
        if isinstance(columns, Mapping) and missing != "model" and not types:
            return cls(who, None, len(columns))
        import polars

        from pushforward.data.readers import open_table
        from pushforward.tables.schema.inference import infer_schema

        table = open_table(columns, what=f"{who}: X")
        for name in types or {}:
            if name not in table.names:
                raise DataError(
                    f"{who}: types names {name!r}, which is no column of X."
                    f"{did_you_mean(name, table.names)}"
                )
        frame = polars.concat([chunk.frame for chunk in table.chunks(list(table.names))])
        # X is conditioned on: its columns may depend on each other. What is conditioned is a number
        # that may depend on them exactly, too, so a column of two values takes its place here.
        aside = polars.Series(_ASIDE, numpy.arange(frame.height) % 2 == 0)
        found = infer_schema(
            frame.with_columns(aside),
            columns=[_ASIDE],
            context=list(table.names),
            missing=missing,
            types=types,
            what=f"{who}: X",
        )
        own = [
            replace(
                column,
                type="real",
                labels=(),
                shares=(),
                ends=(None, None),
                period=None,
                offset=0.0,
            )
            if column.numeric and column.type != "constant" and column.name not in (types or {})
            else column
            for column in found.columns
            if column.name != _ASIDE
        ]
        schema = replace(found, columns=tuple(own), context=(), native=table.native)
        made = cls(who, schema, len(own))
        if not made.layout.width:
            raise DataError(
                f"{who}: X has the same value in every row of each column, expected at least one "
                f"column that varies."
            )
        return made

    @property
    def layout(self) -> Layout:
        """How the columns lie in a row."""
        from pushforward.tables.layout import Layout

        assert self.schema is not None
        return Layout(self.schema.columns, self.schema.missing == "model", context=True)

    @property
    def columns(self) -> list[dict[str, Any]]:
        """What the numbers of a row are, as ``networks.Ramps`` takes it."""
        if self.schema is None:
            return [{"value": "number"}] * self.width
        return self.layout.mixed

    def rows(self, columns: Any) -> Tensor:
        """Rows of numbers in float64, ``(n, width)``; NaN in those with gaps that are dropped.

        Raises:
            DataError: the columns do not fit; the message says which, and where.
        """
        if self.schema is None:
            if isinstance(columns, Mapping):
                return torch.from_numpy(numpy.stack(list(columns.values()), 1))
            array = check_array(columns, dtype=numpy.float64, ensure_all_finite="allow-nan")
            return torch.tensor(array)
        from pushforward.data.readers import open_table
        from pushforward.tables.schema.matching import match
        from pushforward.tables.schema.matrix import chunk_rows, refuse_values

        if isinstance(columns, Mapping):  # an array has no names: its columns are taken in order
            columns = dict(zip(self.schema.names, columns.values(), strict=True))
        what, layout = f"{self.who}: X", self.layout
        table = open_table(columns, what=what)
        names = match(table.names, self.schema, what=what).columns
        varying = [i for i, one in enumerate(self.schema.columns) if one.type != "constant"]
        known = [self.schema.columns[i] for i in varying]
        found = []
        # a constant column may hold anything by now, since nothing was learned from it
        for chunk, values, complete in chunk_rows(
            table, names, names, self.schema, what, unseen="lowest"
        ):
            refuse_values(chunk, known, values[:, varying], what, "refuse")
            rows = layout.rows(torch.from_numpy(values))
            rows[torch.from_numpy(~complete)] = torch.nan
            found.append(rows)
        return torch.cat(found)


def targets_of(who: str, y: Any) -> tuple[Tensor, bool]:
    """Targets in float64, ``(n, targets)``, and whether they came in without that axis.

    Raises:
        DataError: they hold what is no number.
    """
    try:
        values = check_array(
            y, ensure_2d=False, dtype=numpy.float64, input_name="y", ensure_all_finite=False
        )
    except ValueError as error:
        if "convert" not in str(error):
            raise
        raise DataError(
            f"{who}: y holds what is no number ({error}); classes are for FlowClassifier."
        ) from error
    flat = values.ndim == 1
    values = values[:, None] if flat else values
    bad = numpy.argwhere(~numpy.isfinite(values))
    if len(bad):
        row, place = bad[0]
        where = f"row {row + 1}" + (f" of target {place + 1}" if values.shape[1] > 1 else "")
        kind = "NaN" if numpy.isnan(values[row, place]) else "infinity"
        raise DataError(
            f"{who}: y contains {kind} in {where}, expected a number; take such rows out."
        )
    return torch.tensor(values), flat  # a copy: what came in may be read-only


def refuse_constant(who: str, targets: Tensor) -> None:
    """Refuse a target without a density.

    Raises:
        DataError: there is one.
    """
    same = targets.amin(0) == targets.amax(0)
    if bool(same.any()):
        place = int(same.nonzero()[0])
        which = "y" if len(same) == 1 else f"target {place + 1} of y"
        raise DataError(
            f"{who}: {which} is {float(targets[0, place]):g} in all {len(targets)} "
            f"rows, so that its density is infinite there; expected a target that varies."
        )
