"""Timing several calls in turn, so that what else the machine does meets them all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Timing", "interleave"]

SLOW = 5.0  # seconds: a call that takes longer is repeated a few times only
FEW = 3
SLOWEST = 30.0  # seconds: beside such a call, warming up is nothing; the first one is the figure
BRIEF = 0.5  # seconds


@dataclass(frozen=True)
class Timing:
    """What a call took, in milliseconds.

    Attributes:
        median, least, most: of the repetitions.
        repeats: how many there were.
    """

    median: float
    least: float
    most: float
    repeats: int


def interleave(calls: Mapping[str, Callable[[], object]], repeats: int = 20) -> dict[str, Timing]:
    """Time calls in turn: a round of all of them, then the next round.

    Each is called twice before anything counts. A brief call is made once more, without the clock,
    before each time that counts: its data and its code were pushed out of the processor's caches
    by the calls of the others, as nothing does in a training loop. A call that takes more than 5 s
    is repeated three times; of one that takes more than 30 s the first call is the figure. Garbage
    is collected between rounds and never during a call.

    Args:
        calls: what is timed, by name.
        repeats: rounds.

    Example:
        >>> took = interleave({"a": lambda: sum(range(1000)), "b": lambda: None}, repeats=3)
        >>> took["a"].median > took["b"].median, took["a"].repeats
        (True, 3)
    """
    took: dict[str, list[float]] = {name: [] for name in calls}
    rounds: dict[str, int] = {}
    brief: dict[str, bool] = {}
    for name, call in calls.items():
        first = _seconds(call)
        if first > SLOWEST:
            took[name].append(first)
            rounds[name] = 0
            continue
        # The first call may build what later ones find: the second tells how slow they are.
        again = _seconds(call)
        rounds[name] = min(FEW, repeats) if again > SLOW else repeats
        brief[name] = again < BRIEF
    for turn in range(repeats):
        gc.collect()
        for name, call in calls.items():
            if turn < rounds[name]:
                if brief[name]:
                    call()
                took[name].append(_seconds(call))
    return {name: _timing(seconds) for name, seconds in took.items()}


def _seconds(call: Callable[[], object]) -> float:
    enabled = gc.isenabled()
    gc.disable()
    try:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began
    finally:
        if enabled:
            gc.enable()


def _timing(seconds: list[float]) -> Timing:
    milliseconds = [1000 * one for one in seconds]
    median = statistics.median(milliseconds)
    return Timing(median, min(milliseconds), max(milliseconds), len(milliseconds))
