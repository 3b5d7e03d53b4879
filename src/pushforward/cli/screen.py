"""What the commands print with: a Rich console for words and tables, plain text for data."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["console", "count", "duration", "figures", "print_json", "size_of", "table"]


def console(*, words_aside: bool = False) -> Console:
    """A console on standard output; on standard error where data or JSON go to the former."""
    from rich.console import Console

    return Console(stderr=words_aside, highlight=False, soft_wrap=False)


_LETTERS = 12  # of a text in a cell


def table(
    columns: Iterable[tuple[str, str]],
    rows: Iterable[Sequence[str]],
    whole: Collection[str] = (),
) -> Table:
    """A table without vertical lines.

    Args:
        columns: each heading, with ``left`` or ``right`` for how its cells stand.
        rows: the cells.
        whole: headings of columns whose cells are not broken into lines.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for heading, side in columns:
        made.add_column(
            Text(heading),
            justify="right" if side == "right" else "left",
            overflow="fold",
            no_wrap=heading in whole,
        )
    for row in rows:
        # Text, so that a column called [red] is shown and not obeyed.
        made.add_row(*(Text(cell) for cell in row))
    return made


def print_json(value: Any) -> None:
    """One JSON object on standard output; figures that are not finite become null."""
    json.dump(_finite(value), sys.stdout, indent=2, allow_nan=False, default=str)
    sys.stdout.write("\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def count(number: int, word: str, words: str | None = None) -> str:
    """A number with commas between thousands, and its word.

    Example:
        >>> count(1, "row"), count(10583, "row")
        ('1 row', '10,583 rows')
    """
    return f"{number:,} {word if number == 1 else words or word + 's'}"


def figures(value: Any) -> str:
    """A cell of a table: a number in at most five significant figures, a text's beginning.

    Example:
        >>> figures(20.000001), figures(-1234567.0), figures(3), figures(None)
        ('20', '-1.2346e+06', '3', '–')
    """
    if value is None:
        return "–"
    if not isinstance(value, int | float) or isinstance(value, bool):
        text = str(value)
        return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"
    return str(value) if isinstance(value, int) and abs(value) < 10**9 else f"{value:.5g}"


def size_of(path: Path) -> str:
    """The size of a file in words."""
    size = float(path.stat().st_size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"


def duration(seconds: float) -> str:
    """A time in words.

    Example:
        >>> duration(4.26), duration(83), duration(7260)
        ('4.3 s', '1 min 23 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
