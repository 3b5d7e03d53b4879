"""Values of columns as they are shown to people."""

from __future__ import annotations

import math

from pushforward.tables.schema.column import Column
from pushforward.tables.schema.dates import as_text

__all__ = ["outside", "shown"]

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


def outside(column: Column, number: float) -> str:
    """Which bounds of its column a number violates, in words; empty where it does not.

    Example:
        >>> percent = Column("p", "Float64", "interval", ends=(0.0, 100.0))
        >>> outside(percent, 150.0), outside(percent, 0.0), outside(percent, 50.0)
        ('outside 0 to 100', 'at an end of 0 to 100 that no training row reached', '')
    """
    low, high = column.ends
    if math.isnan(number) or number in (value for value, _ in column.atoms):
        return ""
    below, above = low is not None and number < low, high is not None and number > high
    if below or above:
        if low is not None and high is not None:
            return f"outside {low:g} to {high:g}"
        return f"below {low:g}" if below else f"above {high:g}"
    if column.counted and column.spacing > 1 and (number - column.origin) % column.spacing:
        return f"between the steps of {column.steps} that all training rows lie on"
    mixed = bool(column.atoms) or column.gaps > 0.0
    if mixed and not (column.skewed and number == low):  # its density does not end at zero there
        return ""
    if column.counted or number not in column.ends:
        return ""
    if low is None or high is None:
        return f"at the end {number:g} that no training row reached"
    return f"at an end of {low:g} to {high:g} that no training row reached"
