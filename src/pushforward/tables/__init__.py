"""Tables with names and types: the schema, and numbers in and out of frames.

Each name is imported when it is first used, so that importing the room costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushforward.tables.schema.column import Column
    from pushforward.tables.schema.inference import infer_schema
    from pushforward.tables.schema.matching import Match, match
    from pushforward.tables.schema.matrix import load_matrix
    from pushforward.tables.schema.schema import Schema
    from pushforward.tables.table_flow import TableFlow

__all__ = ["Column", "Match", "Schema", "TableFlow", "infer_schema", "load_matrix", "match"]

_HOMES = {
    "Column": "schema.column",
    "Match": "schema.matching",
    "Schema": "schema.schema",
    "TableFlow": "table_flow",
    "infer_schema": "schema.inference",
    "load_matrix": "schema.matrix",
    "match": "schema.matching",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
