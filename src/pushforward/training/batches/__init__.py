"""From what the caller gives to the batches a step looks at."""

from pushforward.training.batches.base import Batches, Key, Rows
from pushforward.training.batches.sources import Sources, prepare

__all__ = ["Batches", "Key", "Rows", "Sources", "prepare"]
