"""One training loop, and what attaches to it."""

from pushforward.training.callbacks import Event, StopTraining
from pushforward.training.checkpoint import Checkpoints
from pushforward.training.fit import fit
from pushforward.training.history import Evaluation, History, SkippedStep

__all__ = [
    "Checkpoints",
    "Evaluation",
    "Event",
    "History",
    "SkippedStep",
    "StopTraining",
    "fit",
]
