"""What numbers were rounded to."""

from __future__ import annotations

from typing import Any

import numpy

__all__ = ["rounding_step"]

_PLACES = 6  # behind the point that are looked for
_LEVELS = 1e5  # steps from end to end beyond which their size does not matter
_CLOSE = 1e-9  # to a whole number of steps, as a share of it


def rounding_step(values: numpy.ndarray[Any, Any]) -> float:
    """The step that all numbers are multiples of: 1, 0.1 and so on, or 0 where there is none.

    Nor is there one where it is too fine to matter, nor where all numbers are the same.

    Example:
        >>> rounding_step(numpy.array([3.25, 1.5, 2.75]))
        0.01
        >>> rounding_step(numpy.array([3e-9, 1e-9, 2e-9])), rounding_step(numpy.array([0.0, 1e9]))
        (0.0, 0.0)
    """
    span = float(values.max() - values.min())
    for places in range(_PLACES + 1):
        step = 10.0**-places
        if span > _LEVELS * step:
            return 0.0
        scaled = values * 10.0**places
        near = numpy.abs(scaled - numpy.round(scaled)) <= _CLOSE * (1.0 + numpy.abs(scaled))
        # numbers far below a step are close to none of them, too
        if near.all() and span > 0.5 * step:
            return step
    return 0.0
