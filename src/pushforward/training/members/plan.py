"""How large an ensemble is and how long it learns, from the number of rows alone."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Plan", "plan"]

_SMALL, _LARGE = 200, 3000  # rows


class Plan(NamedTuple):
    """The size of the members, and their training.

    Attributes:
        hidden: widths of the hidden layers.
        batch: rows of a step, for each member.
        steps: number of steps.
        weight_decay: of the networks' weights.
    """

    hidden: tuple[int, ...]
    batch: int
    steps: int
    weight_decay: float


def plan(rows: int) -> Plan:
    """What serves tables of so many rows.

    Found by experiments on tables of 50 to 45 000 rows: small ones need few steps and much decay,
    large ones can use all that they are given.

    Example:
        >>> plan(100)
        Plan(hidden=(64, 64), batch=32, steps=150, weight_decay=0.1)
    """
    if rows >= _LARGE:
        return Plan((128, 128), 256, 3000, 0.01)
    steps = max(150, round(2000 * min(1.0, (rows / 250) ** 3)))
    if rows < _SMALL:
        return Plan((64, 64), 32, steps, 0.1)
    return Plan((128, 128), 64, steps, 0.1)
