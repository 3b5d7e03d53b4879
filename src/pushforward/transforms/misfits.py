"""Where steps in a row lead, and steps of which one takes less than another gives."""

from __future__ import annotations

from collections.abc import Sequence

from pushforward.errors import ArgumentError
from pushforward.transforms.base import Transform
from pushforward.transforms.domains import Domain, PartOf

__all__ = ["back_through", "refuse_misfits", "through"]


def through(steps: Sequence[Transform], given: Domain) -> Domain:
    """Where steps end that begin in a domain."""
    for step in steps:
        given = step.image(given)
    return given


def back_through(steps: Sequence[Transform], taken: Domain) -> Domain:
    """Where steps must begin to end in a domain."""
    for step in reversed(steps):
        taken = step.preimage(taken)
    return taken


def refuse_misfits(steps: Sequence[Transform]) -> None:
    """Refuse a step that takes some only of what the steps before it can give."""
    taken = steps[-1].domain
    for i in range(len(steps) - 2, -1, -1):
        before = steps[i].preimage(taken)
        known = not isinstance(steps[i].domain, PartOf)  # what is not, is checked by where it ends
        if isinstance(before, PartOf) if known else not steps[i].codomain.within(taken):
            raise ArgumentError(_misfit(steps[i], steps[i + 1 :], taken))
        taken = before


def _misfit(before: Transform, behind: Sequence[Transform], taken: Domain) -> str:
    """Say which step is asked for less than it gives, by which one, and what to do."""
    given = before.codomain
    # what asks may stand behind steps, such as a permutation, that only pass it on
    place = next((i for i, step in enumerate(behind) if not given.within(step.domain)), 0)
    first, second = type(before).__name__, type(behind[place]).__name__
    between = taken.way_in(behind[0].event_shape[0], given)
    which, where = ("the next", "between them") if place == 0 else ("a later", f"behind {first}")
    other = f", or {between} {where}" if between else ""
    return (
        f"Compose: {first} gives {given}, {which} step, {second}, takes {taken}; put {second} "
        f"before {first}{other}."
    )
