"""What the cells of a text column are: whole numbers, numbers, true/false or text.

A whole number with zeros in front, such as 01, is text: it is the name of something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars

__all__ = ["MISSING", "Kind", "Kinds", "parse"]

Kind = Literal["integer", "number", "boolean", "text"]

# What programs write for a missing number. In a column of text these stay as they are.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "null", "NULL", "None", "<NA>")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False}
_BOOLEANS["FALSE"] = False


class Kinds:
    """The kinds of columns, narrowed block by block.

    Example:
        >>> import polars
        >>> kinds = Kinds(["a", "b"])
        >>> kinds.update(polars.DataFrame({"a": ["1", "2"], "b": ["3", "Oslo"]}))
        >>> kinds.decide()
        ('integer', 'text')
    """

    def __init__(self, names: Sequence[str]) -> None:
        kinds: tuple[Kind, ...] = ("integer", "number", "boolean")
        self._open: dict[str, list[Kind]] = {name: list(kinds) for name in names}
        self._seen = dict.fromkeys(names, False)

    def update(self, block: polars.DataFrame) -> None:
        """Take a block of text columns into account."""
        for name, kinds in self._open.items():
            cells = block[name]
            nulls = cells.null_count()
            if nulls == cells.len() or not kinds:
                continue
            if kinds[0] == "integer" and _padded(cells):
                kinds[:] = []  # text: as a number it would lose its zeros
                continue
            # Most columns hold numbers without blanks or markers: one cast settles them.
            if _counts(cells, kinds[0]) == nulls:
                self._seen[name] = True
                # What is a whole number is a number too, but not true or false.
                kinds[:] = kinds if kinds[0] == "boolean" else [k for k in kinds if k != "boolean"]
            else:
                self._narrow(name, _clean(cells))

    def decide(self) -> tuple[Kind, ...]:
        """The kind of each column; a column without any cell counts as numbers."""
        return tuple(
            "number" if not self._seen[name] and kinds else (kinds[0] if kinds else "text")
            for name, kinds in self._open.items()
        )

    def _narrow(self, name: str, cells: polars.Series) -> None:
        nulls = cells.null_count()
        if nulls < cells.len():
            self._seen[name] = True
            kinds = self._open[name]
            kinds[:] = [kind for kind in kinds if _counts(cells, kind) == nulls]


def parse(block: polars.DataFrame, kinds: Mapping[str, Kind]) -> polars.DataFrame:
    """Turn the text columns named in ``kinds`` into columns of their kind, in that order."""
    import polars

    columns = []
    for name, kind in kinds.items():
        cells = block[name]
        column = _cast(cells, kind)
        if column.null_count() > cells.null_count():
            column = _cast(_clean(cells), kind)
        columns.append(column)
    return polars.DataFrame(columns)


def _clean(cells: polars.Series) -> polars.Series:
    """Cells without blanks around them, and null where the text says that a value is missing."""
    import polars

    bare = cells.str.strip_chars()
    return polars.select(
        polars.when(bare.is_in(list(MISSING))).then(None).otherwise(bare).alias(cells.name)
    ).to_series()


def _cast(cells: polars.Series, kind: Kind) -> polars.Series:
    import polars

    if kind == "text":
        return cells
    if kind == "boolean":
        return cells.replace_strict(_BOOLEANS, default=None, return_dtype=polars.Boolean)
    return cells.cast(polars.Int64 if kind == "integer" else polars.Float64, strict=False)


def _padded(cells: polars.Series) -> bool:
    """Whether a whole number is written with zeros in front, as postal codes are."""
    return bool(cells.str.contains(r"^\s*0").any() and cells.str.contains(r"^\s*0[0-9]+\s*$").any())


def _counts(cells: polars.Series, kind: Kind) -> int:
    """The number of nulls after a cast: cells that are not of this kind, and missing ones."""
    return _cast(cells, kind).null_count()
