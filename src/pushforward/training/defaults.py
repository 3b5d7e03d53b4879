"""What training chooses where the caller did not: from the number of rows and of features."""

from __future__ import annotations

import math

__all__ = [
    "CLIP",
    "LEARNING_RATE",
    "PATIENCE",
    "WEIGHT_DECAY",
    "average_decay",
    "default_batch_size",
    "default_steps",
    "evaluation_interval",
]

CLIP = 5.0  # largest norm of the whole gradient
WEIGHT_DECAY = 1e-4  # on matrices only: a decayed shift or slope is a prior nobody asked for
LEARNING_RATE = 2e-3  # at its peak
PATIENCE = 25  # evaluations in a row without a better figure


def default_batch_size(rows: int) -> int:
    """Rows a step: a power of two from 32 to 2048 that grows a little slower than sqrt(rows).

    Example:
        >>> [default_batch_size(rows) for rows in (500, 20_000, 1_000_000)]
        [64, 512, 2048]
    """
    power: int = min(max(round(0.45 * math.log2(max(rows, 2)) + 2.3), 5), 11)
    return 1 << power


def default_steps(rows: int, features: int, batch_size: int) -> int:
    """Steps of a run: few passes over a large table, many over a small one.

    The number grows slowly, with the fifth root of the rows, and with the square root of the
    features from 6 to 12, but never falls below one pass over all rows.

    Args:
        rows: training rows.
        features: numbers in a row.
        batch_size: rows a step.

    Example:
        >>> default_steps(20_000, 6, 512)
        2300
        >>> default_steps(10_000_000, 20, 256) * 256 >= 10_000_000
        True
    """
    width = math.sqrt(min(max(features / 6, 1.0), 2.0))
    wanted = round(1100 * math.pow(max(rows, 100) / 500, 0.2) * width)
    return max(wanted, math.ceil(rows / batch_size))


def average_decay(steps: int) -> float:
    """Decay of the parameters' average that looks back over about a fifteenth of the run.

    Example:
        >>> average_decay(3000)
        0.995
    """
    return 1.0 - 1.0 / max(steps / 15, 10)


def evaluation_interval(steps: int, steps_per_epoch: int | None, validation_batches: float) -> int:
    """Number of steps between two looks at the validation rows.

    About a hundred looks a run, never more often than every 20 steps, and so rarely that they
    cost about a tenth of the time at most (looking takes half as long as training). Short epochs
    are gathered to whole ones; a long epoch is cut into equal parts.

    Args:
        steps: steps of the run.
        steps_per_epoch: steps of one pass over the data; None if unknown.
        validation_batches: validation rows over rows a step.

    Example:
        >>> evaluation_interval(3000, 7, 0.8)
        28
        >>> evaluation_interval(5000, 2000, 1.0)
        50
    """
    target = max(steps / 100, 20.0, 5.0 * validation_batches)
    if steps_per_epoch is None:
        interval = round(target)
    elif target >= steps_per_epoch:
        interval = steps_per_epoch * round(target / steps_per_epoch)
    else:
        interval = math.ceil(steps_per_epoch / round(steps_per_epoch / target))
    return max(1, min(interval, steps))
