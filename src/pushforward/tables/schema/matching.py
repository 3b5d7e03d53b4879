"""Columns of a table and columns of a schema, matched by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pushforward.data.table_source import did_you_mean
from pushforward.errors import DataError
from pushforward.tables.schema.schema import Schema

__all__ = ["SCORES", "Match", "match"]

SCORES = ("log_density", "outlier_score")  # what scoring adds to a table: nothing to remark on


@dataclass(frozen=True)
class Match:
    """The columns to read, in the schema's order, and those that are not read.

    Attributes:
        columns: names to read.
        ignored: names the table has besides.
        note: a sentence naming the ignored columns, or ''.
    """

    columns: tuple[str, ...]
    ignored: tuple[str, ...]
    note: str


def match(
    names: Sequence[str], schema: Schema, *, weights: bool = False, what: str = "DATA"
) -> Match:
    """Find a schema's columns among the names of a table; extra columns are ignored with a note.

    Args:
        names: the names of the table's columns.
        schema: what the model reads.
        weights: whether the schema's column of weights is needed as well.
        what: what messages call the table.

    Raises:
        DataError: a column is missing; the message names each, with the nearest name there is.

    Example:
        >>> from pushforward.tables import infer_schema
        >>> schema = infer_schema({"a": list(range(30))})
        >>> match(["id", "a"], schema).note
        "DATA: the column 'id' is ignored, the model does not read it."
    """
    wanted = schema.names
    if weights and schema.weights is not None:
        wanted = (*wanted, schema.weights)
    lacking = [name for name in wanted if name not in names]
    if lacking:
        raise DataError(
            "\n".join(
                f"{what}: the column {name!r}, which the model reads, is missing."
                f"{did_you_mean(name, [n for n in names if n not in wanted] or names)}"
                for name in lacking
            )
        )
    known = {*wanted, schema.weights, *SCORES}
    ignored = tuple(name for name in names if name not in known)
    note = ""
    if ignored:
        listed = ", ".join(map(repr, ignored))
        note = (
            f"{what}: the column {listed} is ignored, the model does not read it."
            if len(ignored) == 1
            else f"{what}: the columns {listed} are ignored, the model does not read them."
        )
    return Match(wanted, ignored, note)
