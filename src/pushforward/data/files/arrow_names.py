"""The column names as an Arrow file states them, duplicates included.

polars keeps one of two columns that share a name without a word, so the names are read from the
schema itself. It is a flatbuffer: a table starts with the distance to its list of field offsets.
"""

from __future__ import annotations

import struct
from pathlib import Path

__all__ = ["arrow_names"]


def arrow_names(path: Path) -> list[str]:
    """The names of the columns of an Arrow file of the file or the stream kind.

    Raises:
        struct.error, IndexError, UnicodeDecodeError: the file is damaged.
    """
    with path.open("rb") as file:
        if file.read(6) == b"ARROW1":
            file.seek(-10, 2)  # the footer's length and the closing magic
            (length,) = struct.unpack("<i", file.read(4))
            file.seek(-10 - length, 2)
            footer = _Buffer(file.read(length))
            schema = footer.table(footer.root(), 1)
            return _names(footer, schema)
        file.seek(0)
        first, length = struct.unpack("<ii", file.read(8))
        if first != -1:  # before version 0.15 the length came first
            file.seek(4)
            length = first
        message = _Buffer(file.read(length))
        return _names(message, message.table(message.root(), 2))


class _Buffer:
    """The few reading steps of a flatbuffer that names need."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def number(self, code: str, place: int) -> int:
        return int(struct.unpack_from(code, self.data, place)[0])

    def root(self) -> int:
        return self.number("<I", 0)

    def table(self, table: int, field: int) -> int:
        """The place that a field of a table points to; 0 where the field is absent."""
        offsets = table - self.number("<i", table)
        if 4 + 2 * field >= self.number("<H", offsets):
            return 0
        step = self.number("<H", offsets + 4 + 2 * field)
        return table + step + self.number("<I", table + step) if step else 0


def _names(buffer: _Buffer, schema: int) -> list[str]:
    fields = buffer.table(schema, 1)
    names = []
    for index in range(buffer.number("<I", fields) if fields else 0):
        slot = fields + 4 + 4 * index
        text = buffer.table(slot + buffer.number("<I", slot), 0)
        size = buffer.number("<I", text) if text else 0
        names.append(buffer.data[text + 4 : text + 4 + size].decode())
    return names
