"""Texts that are almost numbers or dates: what keeps them from being read as such."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pushforward.data.table_source import Chunk
from pushforward.tables.schema.dates import FORMATS, parsed

if TYPE_CHECKING:
    import polars

__all__ = ["Almost", "almost"]

_MOST = 0.8  # of the texts, to say what they look like
_CURRENCY = r"(?:[$€£¥]|USD|EUR|GBP|CHF)"
# What stands around numbers; all but a sign before it, the first group, is taken away.
_MARKS = (
    ("currency signs", rf"^([-+]?)\s*{_CURRENCY}\s*|\s*{_CURRENCY}$"),
    ("percent signs", r"()\s*%$"),
)
_PLAIN = r"^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$"
_GROUPS = (
    ("thousands separators", r"^[-+]?\d{1,3}(?:[,'\s_]\d{3})+(?:\.\d*)?$"),
    ("decimal commas", r"^[-+]?\d*,\d+$"),
    ("decimal commas and thousands separators", r"^[-+]?\d{1,3}(?:[.'\s]\d{3})+(?:,\d+)?$"),
)


@dataclass
class Almost:
    """What most texts of a column look like, and the first that does not.

    Attributes:
        kind: ``numbers`` or ``dates``.
        form: of dates, the format that most are written in.
        marks: what numbers are written with, each with its first text and where that stands.
        other: the first text that is none, and where; or None.
        others, present: how many texts are none, of how many.
    """

    kind: str
    form: str = ""
    marks: dict[str, tuple[str, str]] | None = None
    other: tuple[str, str] | None = None
    others: int = 0
    present: int = 0

    def __str__(self) -> str:
        said = [f"looks like {self.kind}"]
        if self.form:
            said.append(f" written as {self.form}")
        if self.marks:
            shown = (f"{mark} ({text!r} in {place})" for mark, (text, place) in self.marks.items())
            said.append(f" with {', '.join(shown)}")
        if self.other is None:
            return "".join([*said, "" if self.marks else " written as text"])
        verb = "is not" if self.others == 1 else "are not"
        text, place = self.other
        first = f"{text!r} in {place}"
        said.append(f", but {self.others} of {self.present:,} values {verb}")
        return "".join([*said, f": {first}" if self.others == 1 else f", the first {first}"])

    @property
    def remedy(self) -> str:
        """What may be done."""
        if self.kind == "dates":
            return "write all dates in one way"
        if self.marks:
            return "write plain numbers such as 1234.5"
        if self.other is None:
            return "convert them to numbers"
        return (
            "correct it, or empty the cell"
            if self.others == 1
            else "correct them, or empty their cells"
        )


def almost(labels: Mapping[str, int], chunks: Iterable[Chunk], name: str) -> Almost | None:
    """What most texts of a column look like, or None.

    Args:
        labels: different texts with their counts, many of them where not all.
        chunks: the table, which is read only where most of these look like something.
        name: the column.
    """
    import polars

    texts = polars.Series(list(labels), dtype=polars.String)
    counts = polars.Series(list(labels.values()), dtype=polars.Float64)
    enough = _MOST * float(counts.sum())
    if float(counts.filter(_is_number(texts)).sum()) >= enough:
        return _numbers(chunks, name)
    dated = {form: parsed(texts, form).is_not_null() for form in FORMATS}
    each = {form: float(counts.filter(is_date).sum()) for form, is_date in dated.items()}
    any_date = polars.Series([False] * len(texts))
    for is_date in dated.values():
        any_date = any_date | is_date
    if float(counts.filter(any_date).sum()) >= enough:
        return _dates(chunks, name, max(each, key=each.__getitem__))
    return None


def _bare(texts: polars.Series) -> polars.Series:
    """Texts without what may stand around numbers."""
    bare = texts.str.strip_chars()
    for _, pattern in _MARKS:
        bare = bare.str.replace(pattern, "${1}")
    return bare


def _is_number(texts: polars.Series) -> polars.Series:
    bare = _bare(texts)
    found = bare.str.contains(_PLAIN)
    for _, pattern in _GROUPS:
        found = found | bare.str.contains(pattern)
    return found


def _numbers(chunks: Iterable[Chunk], name: str) -> Almost:
    import polars

    found = Almost("numbers", marks={})
    assert found.marks is not None
    for chunk in chunks:
        texts = chunk.frame[name].cast(polars.String)
        is_number = _is_number(texts).fill_null(True)
        _count(found, chunk, texts, ~is_number)
        stripped, bare = texts.str.strip_chars(), _bare(texts)
        marked = [(mark, stripped.str.contains(pattern)) for mark, pattern in _MARKS]
        rest = ~bare.str.contains(_PLAIN)
        for mark, pattern in _GROUPS:
            this = rest & bare.str.contains(pattern)
            rest = rest & ~this
            marked.append((mark, this))
        for mark, where in marked:
            rows = (where & is_number).arg_true()
            if len(rows) and mark not in found.marks:
                found.marks[mark] = (texts[rows[0]], chunk.place(rows[0]))
    if "decimal commas" in found.marks:  # 1,234 among them is one, too
        found.marks.pop("thousands separators", None)
    return found


def _dates(chunks: Iterable[Chunk], name: str, form: str) -> Almost:
    import polars

    found = Almost("dates", form)
    for chunk in chunks:
        texts = chunk.frame[name].cast(polars.String)
        _count(found, chunk, texts, parsed(texts, form).is_null() & texts.is_not_null())
    return found


def _count(found: Almost, chunk: Chunk, texts: polars.Series, other: polars.Series) -> None:
    found.present += texts.len() - texts.null_count()
    found.others += int(other.sum())
    rows = other.arg_true()
    if len(rows) and found.other is None:
        found.other = (texts[rows[0]], chunk.place(rows[0]))
