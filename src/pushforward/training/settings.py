"""The numbers of a run: what the caller chose, checked, and what the table's size decides."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

from torch.utils.data import DataLoader

from pushforward.errors import ArgumentError
from pushforward.objectives.likelihood import Batch
from pushforward.training.batches.sources import Given
from pushforward.training.defaults import (
    LEARNING_RATE,
    PATIENCE,
    average_decay,
    default_batch_size,
    default_steps,
)

__all__ = ["Request", "Settings", "settle"]


@dataclass(frozen=True)
class Request:
    """The numbers of ``pf.fit`` as the caller gave them; None where they are to be chosen.

    Raises:
        ArgumentError: a number has no sensible value, or does not go with another.
    """

    epochs: float | None
    steps: int | None
    batch_size: int | None
    lr: float | None
    patience: float | None
    ema: float | None
    own_optimizer: bool

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "batch_size", "lr", "patience"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and value > 0):
                raise ArgumentError(f"fit: {name} is {value!r}, expected a number above 0.")
        for name in ("steps", "batch_size"):
            value = getattr(self, name)
            if value is not None and value != int(value):
                raise ArgumentError(f"fit: {name} is {value!r}, expected a whole number.")
        if self.epochs is not None and self.steps is not None:
            raise ArgumentError("fit: epochs and steps were both given; give one of them.")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ArgumentError(
                f"fit: ema is {self.ema!r}, expected a decay from 0 (no average) to below 1."
            )
        if self.own_optimizer and self.lr is not None:
            raise ArgumentError(
                "fit: lr and optimizer were both given; give the learning rate to the optimizer."
            )


@dataclass(frozen=True)
class Settings:
    """The numbers of a run.

    Args:
        batch_size: rows a step.
        steps: steps in all.
        lr: peak learning rate of the default optimizer.
        patience: evaluations in a row without a better figure before the run stops.
        ema: decay of the average of the weights, 0 for none.
    """

    batch_size: int
    steps: int
    lr: float
    patience: float
    ema: float


def settle(
    request: Request, given: Given, features: int, usual_lr: float | None = None
) -> Settings:
    """Choose what the caller left open.

    Args:
        request: what the caller chose.
        given: the data.
        features: numbers in a row.
        usual_lr: learning rate that suits the flow, where the usual one does not.

    Raises:
        ArgumentError: the length of the run is not given and cannot be known.
    """
    rows = given.rows
    if rows is not None and isinstance(given.validation, float):
        rows = max(rows - round(given.validation * rows), 1)
    batch_size = _batch_size(request, given, rows)
    per_epoch = _steps_per_epoch(given, rows, batch_size)
    if request.steps is not None:
        steps = int(request.steps)
    elif per_epoch is None or rows is None:
        raise ArgumentError(
            "fit: the data do not say how many rows they have; pass steps=, the length of the run."
        )
    elif request.epochs is not None:
        steps = max(1, round(request.epochs * per_epoch))
    else:
        steps = default_steps(rows, features, batch_size)
    if per_epoch is not None and steps < per_epoch:
        warnings.warn(
            f"fit: {steps} steps of {batch_size} rows see {steps * batch_size} of the {rows} "
            f"training rows; pass epochs=1 to see each of them.",
            UserWarning,
            stacklevel=3,
        )
    return Settings(
        batch_size=batch_size,
        steps=steps,
        lr=float(next(lr for lr in (request.lr, usual_lr, LEARNING_RATE) if lr is not None)),
        patience=PATIENCE if request.patience is None else request.patience,
        ema=average_decay(steps) if request.ema is None else float(request.ema),
    )


def _batch_size(request: Request, given: Given, rows: int | None) -> int:
    if isinstance(given.data, DataLoader):
        if request.batch_size is not None:
            raise ArgumentError(
                "fit: batch_size was given beside a DataLoader; give it to the DataLoader."
            )
        return given.data.batch_size or 1
    wanted = None if request.batch_size is None else int(request.batch_size)
    if rows is None:
        return wanted or default_batch_size(100_000)
    return min(wanted or default_batch_size(rows), rows)


def _steps_per_epoch(given: Given, rows: int | None, batch_size: int) -> int | None:
    if isinstance(given.data, Batch) and rows is not None:
        return max(1, rows // batch_size)
    return None if rows is None else max(1, math.floor(rows / batch_size))
