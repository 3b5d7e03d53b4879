"""One column of a table: what it is taken for, and what is known of it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

from pushforward.errors import ArgumentError

__all__ = ["KINDS", "Column", "Declared", "Kind", "declared"]

Kind = Literal[
    "real",
    "positive",
    "interval",
    "circular",
    "integer",
    "ordinal",
    "categorical",
    "boolean",
    "date",
    "constant",
]
KINDS: dict[str, str] = {
    "real": "any number: a density",
    "positive": "numbers above zero, by their logarithm: a density",
    "interval": "numbers between two ends, interval:0,100: a density",
    "circular": "angles that come round after a period, circular:360: a density",
    "integer": "whole numbers: a probability; integer:0 and integer:0,10 have ends",
    "ordinal": "a few values in an order, ordinal or ordinal:low,middle,high: a probability",
    "categorical": "a few values without an order: a probability",
    "boolean": "two values: a probability",
    "date": "dates and times, in whole days, hours, seconds …: a probability",
    "constant": "one value in all rows, which is kept and not modelled",
}
COUNTED = ("integer", "date")
CODED = ("ordinal", "categorical", "boolean")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: its name.
        dtype: the type it came in, as polars calls it.
        type: what it is taken for, one of ``KINDS``.
        reason: why, in words.
        low, high, mean, std: of the numbers in the rows used, in the column's own unit; dates count
            in theirs from 1970. None for values without a number.
        unique: the number of different values, or None where there are more than a thousand.
        labels: the values of a coded column, as text, in the order of their codes; the value of a
            constant one.
        shares: of the rows, for each label.
        ends: lowest and highest value that there can be, None for none.
        period: of angles, or None.
        unit: of dates: ``day``, ``hour`` …
        format: of dates that are written as text, as ``strftime`` takes it.
        gaps: share of the rows that hold no value.
        atoms: values that many rows of a column of numbers share, each with its share of the rows,
            most frequent first.
        step: the numbers are multiples of it, 0 where no such step is known.
        stride, phase: they are ``phase`` steps above multiples of ``stride`` steps: numbers in
            steps of a quarter from 0.5 on have a step of 0.01, a stride of 25 and a phase of 50 or
            0 of these.
        spacing: whole numbers between neighbours of those that there are, ``phase`` above its
            multiples; others have no probability. 1 where all may be.
        skewed: whether the logarithm of numbers above zero, or of whole ones from a low end up,
            lies more evenly than they do.
        offset: subtracted in float64 before the numbers become float32, which could not hold them
            otherwise; the unit stays, so densities do not change.
        treatment: what was done to it, in words; empty where nothing was.
    """

    name: str
    dtype: str
    type: Kind = "real"
    reason: str = ""
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    std: float | None = None
    unique: int | None = None
    labels: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    ends: tuple[float | None, float | None] = (None, None)
    period: float | None = None
    unit: str = ""
    format: str = ""
    gaps: float = 0.0
    atoms: tuple[tuple[float, float], ...] = ()
    step: float = 0.0
    stride: int = 1
    phase: int = 0
    spacing: int = 1
    skewed: bool = False
    offset: float = 0.0
    treatment: str = ""

    @property
    def coded(self) -> bool:
        """Whether its values are labels."""
        return self.type in CODED

    @property
    def counted(self) -> bool:
        """Whether its values are whole numbers."""
        return self.type in COUNTED

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers that came as numbers."""
        return self.dtype.startswith(("Int", "UInt", "Float", "Decimal"))

    @property
    def usual(self) -> float:
        """A number that it may hold: its mean, or the code of its first label."""
        if self.labels or self.mean is None:
            return 0.0
        return self.near(self.mean) if self.counted else self.mean

    @property
    def origin(self) -> int:
        """The least whole number from 0 up that its spacing lets it hold."""
        return self.phase % self.spacing

    @property
    def steps(self) -> str:
        """Its spacing in words: ``10``, or ``7 days``."""
        return f"{self.spacing} {self.unit}s" if self.unit else f"{self.spacing}"

    def near(self, number: float) -> float:
        """The nearest whole number that its spacing lets it hold.

        Example:
            >>> Column("a", "Int64", "integer", spacing=10, phase=4).near(31.0)
            34.0
        """
        return float(round((number - self.origin) / self.spacing) * self.spacing + self.origin)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Column:
        """The column that ``dataclasses.asdict`` described.

        Raises:
            ValueError, TypeError: a field is missing or unknown.
        """
        refuse_unknown(cls, values)
        changed = dict(values)
        for name in ("labels", "shares", "ends"):
            changed[name] = tuple(values.get(name, getattr(cls, name)))
        changed["atoms"] = tuple((float(v), float(s)) for v, s in values.get("atoms", ()))
        return cls(**changed)


def refuse_unknown(cls: type, values: Mapping[str, Any]) -> None:
    """Refuse fields that a dataclass does not have.

    Raises:
        ValueError: there is one.
    """
    unknown = sorted(set(values) - {field.name for field in fields(cls)})
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}")


@dataclass(frozen=True)
class Declared:
    """What somebody said that a column is.

    Attributes:
        type: one of ``KINDS``.
        ends: of an interval, or of whole numbers.
        period: of angles.
        labels: of an ordinal column, in their order.
    """

    type: Kind
    ends: tuple[float | None, float | None] = (None, None)
    period: float | None = None
    labels: tuple[str, ...] = ()


def declared(name: str, text: str | Declared) -> Declared:
    """What a text such as ``circular:360`` says of a column.

    Raises:
        ArgumentError: it says nothing that is understood.

    Example:
        >>> declared("phi", "circular:360").period
        360.0
    """
    if isinstance(text, Declared):
        return text
    kind, _, rest = text.partition(":")
    if kind not in KINDS or kind == "constant":
        near = difflib.get_close_matches(kind, KINDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        known = ", ".join(k for k in KINDS if k != "constant")
        raise ArgumentError(
            f"the type of column {name!r} is {text!r}, expected one of {known}.{hint}"
        )
    made = Declared(cast("Kind", kind))
    parts = [part.strip() for part in rest.split(",")] if rest else []
    if kind == "ordinal":
        return Declared("ordinal", labels=tuple(parts))
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise _not_understood(name, text, kind) from None
    if kind == "interval" and len(numbers) == 2 and numbers[0] < numbers[1]:
        return Declared("interval", (numbers[0], numbers[1]))
    if kind == "circular" and len(numbers) == 1 and numbers[0] > 0:
        return Declared("circular", period=numbers[0])
    if kind == "integer" and len(numbers) in (1, 2) and sorted(numbers) == numbers:
        return Declared("integer", (numbers[0], numbers[1] if len(numbers) == 2 else None))
    if numbers or kind in ("interval", "circular"):
        raise _not_understood(name, text, kind)
    return made


_WRITE = {
    "interval": "interval:0,100, the lower end first",
    "circular": "circular:360, the period in the column's unit",
    "integer": "integer, integer:0 or integer:0,10",
}


def _not_understood(name: str, text: str, kind: str) -> ArgumentError:
    return ArgumentError(
        f"the type of column {name!r} is {text!r}; write {_WRITE.get(kind, kind)}."
    )
