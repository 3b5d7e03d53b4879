"""How fast the flows of this package are on this machine: what is measured, and the clock."""

from pushforward.training.speed.clock import Timing, interleave
from pushforward.training.speed.jobs import Absent, Subject, training_step
from pushforward.training.speed.rows import ROWS, Job, Row, find_row

__all__ = [
    "ROWS",
    "Absent",
    "Job",
    "Row",
    "Subject",
    "Timing",
    "find_row",
    "interleave",
    "training_step",
]
