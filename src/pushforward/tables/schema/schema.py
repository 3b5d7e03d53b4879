"""What a model knows of the table it was fitted to: its columns, and what was done to each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from pushforward.data.table_source import Native, did_you_mean
from pushforward.errors import DataError, ModelFileError
from pushforward.tables.schema.column import Column, refuse_unknown
from pushforward.tables.schema.dates import as_text, duration

__all__ = ["Missing", "Schema"]

Missing = Literal["refuse", "drop", "model"]
_SHOWN = 3  # labels that are shown of a column


@dataclass(frozen=True)
class Schema:
    """The columns a model reads, in order, and how the table was read.

    Attributes:
        columns: the features, then the context columns.
        context: the names of the columns that the density is conditioned on.
        weights: the name of the column of row weights, or None.
        signed_weights: whether these may be negative.
        missing: ``"refuse"``; ``"drop"`` where rows with missing or infinite values are left out;
            ``"model"`` where that a value is missing has a probability like any other.
        rows_read: rows of the table.
        rows_dropped: rows left out for missing or infinite values.
        native: the kind of frame that came in: ``"polars"``, ``"pandas"`` or ``"arrow"``.

    Example:
        >>> from pushforward.tables import infer_schema
        >>> schema = infer_schema({"a": [0.5 * i for i in range(30)], "b": ["x", "y"] * 15})
        >>> schema.names, schema.columns[0].high, schema.columns[1].labels
        (('a', 'b'), 14.5, ('x', 'y'))
        >>> Schema.from_json(schema.to_json()) == schema
        True
    """

    columns: tuple[Column, ...]
    context: tuple[str, ...] = ()
    weights: str | None = None
    signed_weights: bool = False
    missing: Missing = "refuse"
    rows_read: int = 0
    rows_dropped: int = 0
    native: Native = "polars"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns: features, then context."""
        return tuple(column.name for column in self.columns)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the columns whose density is modelled."""
        return tuple(name for name in self.names if name not in self.context)

    def column(self, name: str) -> Column:
        """The column of a name.

        Raises:
            DataError: there is none of that name.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise DataError(
            f"Schema.column: there is no column {name!r}.{did_you_mean(name, self.names)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The schema as JSON values."""
        return cast("dict[str, Any]", json.loads(self.to_json()))

    def to_json(self) -> str:
        """The schema as strict JSON."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Schema:
        """The schema that `to_dict` described.

        Raises:
            ModelFileError: a field is missing, unknown or of the wrong kind.
        """
        try:
            refuse_unknown(cls, values)
            columns = tuple(Column.from_dict(column) for column in values["columns"])
            rest = {name: value for name, value in values.items() if name != "columns"}
            return cls(columns, **{**rest, "context": tuple(values.get("context", ()))})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(
                f"Schema.from_dict: this is no schema of a table ({error}); "
                "the file is damaged or from another version."
            ) from error

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """The schema that `to_json` wrote.

        Raises:
            ModelFileError: the text is no JSON, or no schema.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ModelFileError(f"Schema.from_json: the text is no JSON ({error}).") from error
        return cls.from_dict(values)

    def rows(self) -> list[tuple[str, ...]]:
        """One row of text a column, for printing under `HEADER`."""
        return [
            (
                column.name,
                f"{column.type}, context" if column.name in self.context else column.type,
                *_values(column),
                "; ".join(filter(None, (column.reason, _labels(column), column.treatment))),
            )
            for column in self.columns
        ]

    HEADER = ("column", "type", "low", "high", "mean", "std", "note")

    def __str__(self) -> str:
        table = [self.HEADER, *self.rows()]
        widths = [max(len(row[place]) for row in table) for place in range(len(self.HEADER))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        used = self.rows_read - self.rows_dropped
        dropped = f", {self.rows_dropped} dropped" if self.rows_dropped else ""
        return "\n".join([*lines, f"{used} rows used{dropped}"])


def _labels(column: Column) -> str:
    """The most frequent labels, and the only one of a constant column."""
    if column.type == "constant":
        return column.labels[0]
    order = sorted(range(len(column.labels)), key=lambda i: -column.shares[i])
    shown = [f"{column.labels[i]} {column.shares[i]:.0%}" for i in order[:_SHOWN]]
    return ", ".join([*shown, *(["…"] if len(column.labels) > len(shown) else [])])


def _values(column: Column) -> tuple[str, ...]:
    """Low, high, mean and std in words, of what has them."""
    if column.labels:
        return "", "", "", ""
    assert column.low is not None
    assert column.high is not None
    assert column.mean is not None
    std = column.std or 0.0
    if column.type == "date":
        ends = (as_text(column, value) for value in (column.low, column.high, column.mean))
        return (*ends, duration(std, column.unit))
    return (*(_short(v, std) for v in (column.low, column.high, column.mean)), f"{std:.4g}")


def _short(value: float, std: float) -> str:
    """A number with as many digits as tell it from its neighbours a thousandth of a std away."""
    digits = 4
    if value and std > 0:
        digits = max(digits, math.ceil(math.log10(abs(value) / std)) + 3)
    return f"{value:.{min(digits, 17)}g}"
