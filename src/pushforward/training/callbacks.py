"""What a caller may hang on a run: callables that see every evaluation and may end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pushforward.training.history import Evaluation

if TYPE_CHECKING:
    from pushforward.flows.flow import Flow

__all__ = ["Callback", "Event", "StopTraining"]


class StopTraining(Exception):
    """Raised by a callback to end the run; the best weights are kept as at any other end."""


@dataclass(frozen=True)
class Event:
    """What a callback sees at every evaluation.

    Args:
        evaluation: the figures.
        best_loss: lowest validation loss so far, None without validation rows.
        steps: steps of the whole run.
        flow: with the weights that were evaluated (the averaged ones), in ``eval`` mode.
    """

    evaluation: Evaluation
    best_loss: float | None
    steps: int
    flow: Flow


Callback = Callable[[Event], object]
