"""Values of columns as they are shown to people."""

from __future__ import annotations

import math

from pushforward.tables.schema.column import Column
from pushforward.tables.schema.dates import as_text

__all__ = ["shown"]

_DIGITS = 4


def shown(column: Column, number: float) -> str:
    """One value of a column, from the number that stands for it.

    Example:
        >>> shown(Column("a", "Float64"), 1234.5678)
        '1235'
    """
    if math.isnan(number):
        return "missing"
    if column.labels:
        code = round(number)
        return column.labels[code] if 0 <= code < len(column.labels) else "a value never seen"
    if column.type == "date":
        return as_text(column, number)
    if column.counted:
        return f"{number:.0f}"
    if abs(number) < 1e15 and (number.is_integer() or abs(number) >= 10**_DIGITS):
        return f"{number:.0f}"
    return f"{number:.{_DIGITS}g}"
