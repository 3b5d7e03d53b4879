"""Tables with names and types: the schema, and numbers in and out of frames.

Each name is imported when it is first used, so that importing the room costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushforward.tables.schema import Column, Schema
    from pushforward.tables.schema_inference import infer_schema
    from pushforward.tables.schema_matching import Match, match
    from pushforward.tables.schema_matrix import load_matrix
    from pushforward.tables.table_flow import TableFlow

__all__ = ["Column", "Match", "Schema", "TableFlow", "infer_schema", "load_matrix", "match"]

_HOMES = {
    "Column": "schema",
    "Match": "schema_matching",
    "Schema": "schema",
    "TableFlow": "table_flow",
    "infer_schema": "schema_inference",
    "load_matrix": "schema_matrix",
    "match": "schema_matching",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
