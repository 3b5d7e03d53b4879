"""The learning rate as a function of the step."""

from __future__ import annotations

import math

__all__ = ["schedule", "warm_up_steps"]


def warm_up_steps(steps: int) -> int:
    """Length of the linear rise: a twentieth of the run, at most 500 steps.

    Example:
        >>> warm_up_steps(2000)
        100
    """
    return min(steps // 20, 500)


def schedule(step: int, steps: int, warm_up: int | None = None) -> float:
    """Factor of the learning rate: a linear rise, then half a cosine down to zero.

    A function of the step alone, so that a resumed run needs nothing but its step.

    Args:
        step: the step about to be taken, from 0.
        steps: steps of the whole run; at ``step == steps`` the factor is 0.
        warm_up: steps of the rise; by default ``warm_up_steps(steps)``.

    Returns:
        a number from 0 to 1.

    Example:
        >>> [round(schedule(step, 10, warm_up=2), 3) for step in (0, 1, 2, 6, 10)]
        [0.333, 0.667, 1.0, 0.5, 0.0]
    """
    if warm_up is None:
        warm_up = warm_up_steps(steps)
    if step < warm_up:
        return (step + 1) / (warm_up + 1)  # never zero: the first step is not wasted
    share = min((step - warm_up) / max(steps - warm_up, 1), 1.0)
    return 0.5 * (1.0 + math.cos(math.pi * share))
