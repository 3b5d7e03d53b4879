"""The first look at a table: its columns without numbers, and what they are taken for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pushforward.advice import option
from pushforward.data.table_source import Chunk, TableSource
from pushforward.tables.schema.cells import is_date, is_number, is_text, labels_of, what_it_holds
from pushforward.tables.schema.column import CODED, Column, Declared
from pushforward.tables.schema.dates import FORMATS, UNITS, coarsest_unit, fitting, microseconds
from pushforward.tables.schema.texts import Almost, almost

if TYPE_CHECKING:
    import polars

__all__ = ["Look", "look"]

MOST_LABELS = 200  # of a column of text that nobody said is categorical
_MOST_COUNTED = 100_000  # labels that are told apart at all
_FEW = 20  # labels that need not occur twice, and may look like anything
_FEWEST_EACH = 2  # rows a label, on average, below which texts are names of rows


class Look:
    """What is known of one column that does not hold plain numbers after the chunks so far.

    Args:
        name: its name.
        said: what somebody said that it is, or None.
    """

    def __init__(self, name: str, said: Declared | None) -> None:
        self.name, self.said = name, said
        self.dtypes: list[str] = []
        self.labels: Counter[str] = Counter()
        self.formats: tuple[str, ...] = FORMATS
        self.units: list[str] = []
        self.dates, self.texts, self.present, self.rows = False, False, 0, 0
        self.odd = ""  # what it holds that is no text, date or number
        self.first = ""  # the first value, as a label
        self.almost: Almost | None = None  # what most of its texts look like

    def update(self, chunk: Chunk) -> None:
        """Take a chunk into account."""
        cells = chunk.frame[self.name]
        if str(cells.dtype) not in self.dtypes:
            self.dtypes.append(str(cells.dtype))
        self.rows += cells.len()
        present = cells.drop_nulls()
        self.present += present.len()
        if not present.len():
            return
        if is_date(cells.dtype):
            self.dates = True
            self.units.append(coarsest_unit(microseconds(cells)))
        elif is_text(cells.dtype):
            self._texts(present)
        elif not is_number(cells.dtype):
            self.odd = self.odd or what_it_holds(chunk, self.name)
            return
        if not is_date(cells.dtype):
            self._count(present)

    def _texts(self, present: polars.Series) -> None:
        import polars

        self.texts = True
        text = present.cast(polars.String)
        self.formats = fitting(text, self.formats)
        if self.formats:
            self.units.append(coarsest_unit(microseconds(text, self.formats[0])))

    def _count(self, present: polars.Series) -> None:
        self.first = self.first or labels_of(present.head(1))[0]
        if len(self.labels) <= _MOST_COUNTED:
            counts = labels_of(present).value_counts()
            self.labels.update(dict(counts.iter_rows()))

    def column(self, rows: int) -> Column:
        """What it is taken for, without statistics yet."""
        made = Column(self.name, "/".join(self.dtypes))
        wants = None if self.said is None else self.said.type
        reason = "as asked for" if self.said else ""
        if self.dates or (self.texts and self.formats and wants in (None, "date")):
            unit = max(self.units, key=list(UNITS).index)
            format = "" if self.dates else self.formats[0]
            why = reason or (f"texts written as {format}" if format else "dates")
            if format.replace("%d/%m", "%m/%d") in self.formats[1:]:
                why += ", days before months"
            return replace(made, type="date", unit=unit, format=format, reason=why)
        labels = self._labels()
        counts = [self.labels[label] for label in labels]
        made = replace(
            made, labels=labels, shares=tuple(count / max(self.present, 1) for count in counts)
        )
        if len(labels) == 1 and not (self.said and self.said.labels):
            return replace(made, type="constant", reason="the same in all rows")
        if wants in CODED:
            return replace(made, type=wants, reason=reason)
        if made.dtype == "Boolean":
            return replace(made, type="boolean", reason="true and false")
        like = f"; {self.almost}" if self.almost else ""
        return replace(made, type="categorical", reason=f"text of {len(labels)} values{like}")

    def _labels(self) -> tuple[str, ...]:
        if self.said and self.said.labels:
            return self.said.labels
        try:
            return tuple(sorted(self.labels, key=float))
        except ValueError:
            return tuple(sorted(self.labels))

    @property
    def unclear(self) -> bool:
        """Whether it may hold numbers or dates that are not written as such."""
        wants = None if self.said is None else self.said.type
        many = len(self.labels) > _FEW or wants is not None
        return self.texts and not self.dates and not self.formats and many and wants not in CODED

    def problem(self) -> str:
        """Why it cannot be used, or ""."""
        if self.odd:
            return f"{self.odd}, which no model reads"
        wants = None if self.said is None else self.said.type
        date = self.dates or bool(self.texts and self.formats)
        if wants is not None and wants not in CODED:
            return "" if wants == "date" and date else self._not_as_said(wants, date)
        if date and wants is None:
            return ""
        many = self._too_many()
        if wants is None:
            return str(self.almost) if many and self.almost else many
        if many and not self.texts and any("." in label for label in self.labels):
            return f"is said to be {wants} and {many}"
        other = self._others()
        none = "which is none of the values that were given for it"
        return f"holds {other[0]!r}, {none}" if other else ""

    def _not_as_said(self, wants: str, date: bool) -> str:
        if self.almost:
            return f"is said to be {wants} and {self.almost}"
        first = min(self.labels, default="")
        holds = "dates" if date else f"text ({first!r})"
        if not self.dates and not self.texts:
            holds = f"numbers ({self.first}, …)"
        return f"is said to be {wants} and holds {holds}"

    def _too_many(self) -> str:
        kind = "text" if self.texts else "numbers"
        if len(self.labels) > MOST_LABELS:
            return (
                f"holds {kind} of {_many(len(self.labels))} different values, more than "
                f"{MOST_LABELS}: too many for categories"
            )
        if len(self.labels) > _FEW and self.present < _FEWEST_EACH * len(self.labels):
            return (
                f"holds {len(self.labels)} different {'texts' if self.texts else kind} in "
                f"{self.present} rows: names of rows rather than categories"
            )
        return ""

    def _others(self) -> list[str]:
        """Labels that are none of those that were given."""
        given = self.said.labels if self.said else ()
        return [label for label in self.labels if given and label not in given]

    def remedies(self) -> list[str]:
        """What may be done about the problem, besides leaving the column out."""
        if self.almost:
            return [self.almost.remedy]
        if self.said and self._others():
            every = ",".join([*self.said.labels, *self._others()])
            said = option("types", {self.name: f"ordinal:{every}"})
            return [f"add it in its place, as with {said}"]
        return ["leave out the type"] if self.said and not self.odd else []

    def may_insist(self) -> bool:
        """Whether it can be used as labels all the same."""
        return self.said is None and not self.odd


def _many(count: int) -> str:
    return f"over {_MOST_COUNTED:,}" if count > _MOST_COUNTED else f"{count:,}"


def look(table: TableSource, names: Sequence[str], said: Mapping[str, Declared]) -> dict[str, Look]:
    """Look at the columns that do not hold plain numbers, or that are said to be labels.

    Args:
        table: the table.
        names: the columns to be used.
        said: what somebody said that columns are.
    """
    found: dict[str, Look] = {}
    for name in _not_plain(table, names, said):
        found[name] = Look(name, said.get(name))
    if found:
        for chunk in table.chunks(list(found)):
            for one in found.values():
                one.update(chunk)
    for name, one in found.items():
        if one.unclear:
            one.almost = almost(one.labels, table.chunks([name]), name)
    return found


def _not_plain(
    table: TableSource, names: Sequence[str], said: Mapping[str, Declared]
) -> Iterator[str]:
    """Columns that hold anything but numbers, in any part of the table."""
    plain = dict.fromkeys(names, True)
    for part in table.parts:
        first = next(iter(part.read(list(names), 1)), None)
        for name in names if first is not None else ():
            kind = first[name].dtype  # type: ignore[index]
            # true and false are numbers if somebody says that they are
            known = kind.is_numeric() or str(kind) == "Null"
            plain[name] = plain[name] and (known or (str(kind) == "Boolean" and name in said))
    for name in names:
        wants = said[name].type if name in said else None
        if not plain[name] or wants in CODED or wants == "date":
            yield name
