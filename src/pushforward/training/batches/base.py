"""The contract of what gives a run its batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from torch import Tensor

from pushforward.objectives.likelihood import Batch

__all__ = ["Batches", "Key", "Rows"]

Key = Tensor | Batch
"""What names a batch until nobody asks for it again: its row numbers, or the batch itself."""


class Batches(Protocol):
    """An endless sequence of training batches that can be put back to where it was.

    ``epoch`` counts finished passes, ``position`` the batches taken in this one.
    """

    steps_per_epoch: int | None
    epoch: int
    position: int

    def next(self) -> Key:
        """Key of the next batch; a new pass begins where the last one has ended."""
        ...

    def gather(self, key: Key) -> Batch:
        """Return the batch with this key, on the device of training."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Random state at the beginning of this pass."""
        ...

    def restore(self, state: Mapping[str, Tensor], epoch: int, position: int) -> None:
        """Go to batch ``position`` of the pass that began with ``state``."""
        ...


class Rows(Protocol):
    """Validation rows: the same ones, in the same order, every time."""

    def batches(self) -> Iterator[Batch]:
        """All rows once, on the device of training."""
        ...
