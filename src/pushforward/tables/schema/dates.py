"""Dates and times as whole numbers of a unit since 1970, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars

    from pushforward.tables.schema.column import Column

__all__ = [
    "FORMATS",
    "UNITS",
    "as_dates",
    "as_text",
    "coarsest_unit",
    "duration",
    "fitting",
    "microseconds",
    "on_existing",
    "zone_of",
]

# Days before months where both fit: most of the world writes them so.
FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%dT%H:%M:%S%:z",
    "%Y-%m-%d %H:%M:%S%:z",
    "%Y-%m-%dT%H:%M:%S%.f%:z",
    "%Y-%m-%d %H:%M:%S%.f%:z",
    "%Y-%m-%dT%H:%M%:z",
    "%Y-%m-%d %H:%M%:z",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d/%m/%Y",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %I:%M %p",
    "%d/%m/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%d-%b-%Y",
    "%d-%b-%Y %H:%M",
    "%d-%b-%Y %H:%M:%S",
    "%d %B %Y",
    "%B %d, %Y",
)
_OFFSET = "%:z"  # what was written in any zone is counted, and written again, in UTC
UNITS = {
    "day": 86_400_000_000,
    "hour": 3_600_000_000,
    "minute": 60_000_000,
    "second": 1_000_000,
    "millisecond": 1_000,
    "microsecond": 1,
}


def fitting(texts: polars.Series, formats: Iterable[str]) -> tuple[str, ...]:
    """Those of the formats that every text, other than a gap, is written in."""
    present = texts.drop_nulls()
    return tuple(f for f in formats if not parsed(present, f).null_count())


def parsed(texts: polars.Series, format: str) -> polars.Series:
    """Texts as times, null where they are written in another way."""
    import polars

    kind = polars.Datetime("us") if "%H" in format or "%I" in format else polars.Date
    return texts.str.strptime(kind, format, strict=False, exact=True)


def microseconds(column: polars.Series, format: str = "", zone: str | None = None) -> polars.Series:
    """Dates, times, or texts of a format, as whole microseconds since 1970; null stays null.

    Args:
        column: the times.
        format: of texts.
        zone: whose clock shows them, "" for UTC; by default that of the times themselves. So a
            midnight is one in summer and in winter.
    """
    import polars

    own = getattr(column.dtype, "time_zone", None)
    if own:
        there = column.dt.convert_time_zone(own if zone is None else zone or "UTC")
        column = there.dt.replace_time_zone(None)
    if column.dtype in (polars.String, polars.Categorical, polars.Enum):
        column = parsed(column.cast(polars.String), format)
    return column.cast(polars.Datetime("us")).cast(polars.Int64)


def on_existing(times: polars.Series, unit: str, zone: str) -> polars.Series:
    """Microseconds that are whole units, where the clock of a zone skips the unit they are after.

    A clock that skips midnight once a year goes on at one: that is the midnight of this day.
    """
    import polars

    if not zone or not (beyond := times % UNITS[unit] != 0).any():
        return times
    before = times - times % UNITS[unit]
    there = before.cast(polars.Datetime("us")).dt.replace_time_zone(
        zone, ambiguous="earliest", non_existent="null"
    )
    return before.zip_with(beyond & there.is_null(), times)


def coarsest_unit(times: polars.Series) -> str:
    """The largest unit of which all times are whole multiples."""
    present = times.drop_nulls()
    return next(unit for unit, size in UNITS.items() if not (present % size != 0).any())


def as_dates(column: Column, numbers: polars.Series) -> polars.Series:
    """Whole numbers of the column's unit in the type it came in; null stays null."""
    import polars

    times = (numbers.cast(polars.Int64) * UNITS[column.unit]).cast(polars.Datetime("us"))
    if column.format:
        return _written(times, column.format)
    if column.dtype == "Date":
        return times.cast(polars.Date)
    unit = re.search(r"time_unit='(\w+)'", column.dtype)
    zone = zone_of(column)
    kept: Any = unit.group(1) if unit else "us"
    times = times.cast(polars.Datetime(kept))
    return _on_clock(times, zone) if zone else times


def _on_clock(times: polars.Series, zone: str) -> polars.Series:
    """Times as the clock of a zone shows them; of an hour that it skips, the one after it."""
    from datetime import timedelta

    there, later = (
        one.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        for one in (times, times + timedelta(hours=1))
    )
    return there.zip_with(there.is_not_null(), later)


def zone_of(column: Column) -> str:
    """The time zone that the clock of a column's times is in, or ""."""
    found = re.search(r"time_zone='([^']+)'", column.dtype)
    return found.group(1) if found else ""


def as_text(column: Column, number: float) -> str:
    """One date as it is shown."""
    import polars

    times = polars.Series([round(number) * UNITS[column.unit]]).cast(polars.Datetime("us"))
    shown = column.format or ("%Y-%m-%d" if column.unit == "day" else "%Y-%m-%d %H:%M:%S")
    return str(_written(times, shown)[0])


def duration(number: float, unit: str) -> str:
    """So many units in the largest one that there are two of at least.

    Example:
        >>> duration(31_680.0, "minute"), duration(1.5, "day")
        ('22 days', '1.5 days')
    """
    size = number * UNITS[unit]
    names = [name for name in UNITS if UNITS[name] >= UNITS[unit]]
    best = next((name for name in names if size >= 2.0 * UNITS[name]), unit)
    return f"{size / UNITS[best]:.3g} {best}s"


def _written(times: polars.Series, format: str) -> polars.Series:
    zoned = times.dt.replace_time_zone("UTC") if _OFFSET in format else times
    return zoned.dt.strftime(format)
