"""What every competitor gets alike: rows, batches, time, schedule, and the best weights kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy
import torch

from pushforward.objectives import Batch
from pushforward.training.batches.table import TableBatches

LEARNING_RATES = (3e-4, 1e-3, 3e-3)
LAYERS, HIDDEN, BINS, BOX = 5, (128, 128), 8, 5.0
CLIP = 5.0  # largest norm of the gradient, as in pushforward
LOOKS = 50  # at the validation rows in a run


@dataclass(frozen=True)
class Race:
    """One table with its split.

    Attributes:
        train, validation, test: rows in float64, in the units they came in.
        seconds: wall time that each run of a flow gets.
        batch_size: rows a step.
        seed: of weights and orders.
        small: a try of the program, in which searches are cut short.
    """

    train: numpy.ndarray
    validation: numpy.ndarray
    test: numpy.ndarray
    seconds: float
    batch_size: int
    seed: int
    small: bool = False

    @cached_property
    def scale(self) -> numpy.ndarray:
        """Standard deviations of the training rows."""
        return self.train.std(0)

    @cached_property
    def logdet(self) -> float:
        """What standardizing adds to a log-density, nats."""
        return -float(numpy.log(self.scale).sum())

    def standardized(self, part: str) -> numpy.ndarray:
        """``train``, ``validation`` or ``test`` with mean 0 and variance 1, in float32."""
        values = (getattr(self, part) - self.train.mean(0)) / self.scale
        return values.astype(numpy.float32)

    def batches(self) -> TableBatches:
        """Row numbers of the training rows in the very order in which pushforward takes them."""
        rows = torch.empty(len(self.train), 1)
        index = torch.arange(len(rows))
        return TableBatches(Batch(rows), index, self.batch_size, torch.device("cpu"), self.seed)


@dataclass(frozen=True)
class Run:
    """One training: the best validation figure, and the weights that had it."""

    validation: float
    weights: Any
    steps: int
    learning_rate: float


def train(
    race: Race,
    learning_rate: float,
    step: Callable[[torch.Tensor, float], None],
    look: Callable[[], float],
    weights: Callable[[], Any],
) -> Run:
    """Train for the race's time with cosine decay over that time; keep the best weights.

    The learning rate follows the clock, not a count of steps, so that every library comes to the
    end of its decay just when its time is over, however fast its steps are.

    Args:
        race: rows and time.
        learning_rate: at the beginning.
        step: takes one step on rows with these numbers, at this learning rate.
        look: mean log-density of the validation rows, nats.
        weights: a copy of the weights.
    """
    batches = race.batches()
    best, kept = look(), weights()
    steps, looks = 0, 1
    began = time.perf_counter()
    while (done := (time.perf_counter() - began) / race.seconds) < 1.0:
        step(batches.next(), learning_rate * 0.5 * (1 + math.cos(math.pi * done)))
        steps += 1
        if done >= looks / LOOKS:
            looks += 1
            if (figure := look()) > best:
                best, kept = figure, weights()
    if (figure := look()) > best:
        best, kept = figure, weights()
    return Run(best, kept, steps, learning_rate)


def best_of(race: Race, run: Callable[[float], Run]) -> tuple[Run, dict[str, Any]]:
    """The run with the best validation figure over the learning rates, and what all gave."""
    runs = [run(rate) for rate in (LEARNING_RATES[1:2] if race.small else LEARNING_RATES)]
    best = max(runs, key=lambda r: r.validation)
    facts = {
        "learning_rate": best.learning_rate,
        "steps": best.steps,
        "tried": [
            {
                "learning_rate": r.learning_rate,
                "validation_nats": r.validation + race.logdet,
                "steps": r.steps,
            }
            for r in runs
        ],
    }
    return best, facts
