"""Breaks of what transforms in a row say of their structure."""

from __future__ import annotations

from collections.abc import Iterator

from tests.breaking import Break

from pushforward import transforms as T
from pushforward.numerics import dependence
from pushforward.transforms import compose

PLACE = (("tests/transforms/test_influence.py",), "inverse|compose|columns")


def breaks() -> Iterator[Break]:
    """What gets through, said wrongly."""
    named = {
        ("Inverse", "reaches no further than forward"): _one_step,
        ("Inverse", "pairs each feature with itself"): _unpaired,
        ("Inverse", "of several steps in their order"): _in_their_order,
        ("Compose", "only its last step"): _last,
    }
    for (family, name), apply in named.items():
        yield Break(family, name, apply, *PLACE)


def _one_step() -> None:
    compose.turned = lambda pattern: pattern.mT


def _unpaired() -> None:
    old = dependence.turned

    def turned(pattern):
        return old(pattern) if bool(pattern.diagonal().all()) else pattern.mT

    compose.turned = turned


def _in_their_order() -> None:
    old = compose.in_a_row
    compose.in_a_row = lambda step: old(step)[::-1] if isinstance(step, T.Inverse) else old(step)


def _last() -> None:
    T.Compose.influence = lambda self: self._all()[-1].influence()
