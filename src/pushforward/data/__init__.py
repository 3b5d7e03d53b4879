"""Tables from files and frames, packaged data, and toy densities with exact ``log_prob``.

Importing this room imports nothing heavy: polars and its friends load when a table is read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushforward.data.packaged_data import cms_dimuon, packaged_path
    from pushforward.data.readers import open_table
    from pushforward.data.table_source import Chunk, TableSource
    from pushforward.data.toys import TOYS, Households, toy
    from pushforward.data.writers import write_table

__all__ = [
    "TOYS",
    "Chunk",
    "Households",
    "TableSource",
    "cms_dimuon",
    "open_table",
    "packaged_path",
    "toy",
    "write_table",
]

_HOMES = {
    "Households": "toys",
    "TOYS": "toys",
    "Chunk": "table_source",
    "TableSource": "table_source",
    "cms_dimuon": "packaged_data",
    "open_table": "readers",
    "packaged_path": "packaged_data",
    "toy": "toys",
    "write_table": "writers",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
