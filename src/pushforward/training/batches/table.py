"""Batches of a table in memory, gathered by row number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from pushforward.objectives.likelihood import Batch
from pushforward.training.batches.base import Key

__all__ = ["TableBatches", "TableRows", "split_rows"]


class _Table:
    """Rows of a table, brought to the device a batch at a time.

    A table that lies on another device than training (it did not fit) is gathered into pinned
    memory, so that the copy to the device runs beside the computation.
    """

    def __init__(self, table: Batch, device: torch.device):
        self.table = table
        self.device = device
        self._pinned = device.type == "cuda" and table.x.device.type == "cpu"

    def gather(self, key: Key) -> Batch:
        """Return the rows with these numbers, on the device of training."""
        assert isinstance(key, Tensor)
        return self.table.each(lambda values: self._take(values, key))

    def _take(self, values: Tensor, index: Tensor) -> Tensor:
        if not self._pinned:
            return values.index_select(0, index).to(self.device)
        shape = (len(index), *values.shape[1:])
        staged = torch.empty(shape, dtype=values.dtype, pin_memory=True)
        torch.index_select(values, 0, index, out=staged)
        return staged.to(self.device, non_blocking=True)


class TableBatches(_Table):
    """Training batches of a table in memory: one permutation a pass, on the table's device.

    The rows are never moved: neither the split into training and validation rows nor the order
    of a pass copies the table. A short last batch is left out where there are others.

    Args:
        table: all rows.
        index: numbers of the training rows, int64.
        batch_size: rows a step.
        device: where batches go.
        seed: of the orders.

    Example:
        >>> table = Batch(torch.arange(5.0)[:, None])
        >>> batches = TableBatches(table, torch.tensor([0, 1, 2, 3]), 2, torch.device("cpu"), 0)
        >>> seen = [batches.gather(batches.next()).x for _ in range(batches.steps_per_epoch)]
        >>> sorted(torch.cat(seen).flatten().tolist())
        [0.0, 1.0, 2.0, 3.0]
    """

    def __init__(
        self, table: Batch, index: Tensor, batch_size: int, device: torch.device, seed: int
    ):
        super().__init__(table, device)
        self.index = index.to(table.x.device)
        self.batch_size = min(batch_size, len(index))
        self.steps_per_epoch: int | None = max(1, len(index) // self.batch_size)
        self.epoch = 0
        self.position = 0
        self._generator = torch.Generator(table.x.device).manual_seed(seed)
        self._begin()

    def _begin(self) -> None:
        self._state = self._generator.get_state()
        order = torch.randperm(len(self.index), generator=self._generator, device=self.index.device)
        self._order = self.index.index_select(0, order)

    def next(self) -> Tensor:
        """Row numbers of the next batch."""
        if self.position == self.steps_per_epoch:
            self.epoch, self.position = self.epoch + 1, 0
            self._begin()
        start = self.position * self.batch_size
        self.position += 1
        return self._order[start : start + self.batch_size]

    def state(self) -> dict[str, Tensor]:
        """State of the generator before this pass's order was drawn."""
        return {"order": self._state}

    def restore(self, state: Mapping[str, Tensor], epoch: int, position: int) -> None:
        """Draw the order of the pass that began with ``state`` again, and go to ``position``."""
        self._generator.set_state(state["order"])
        self._begin()
        self.epoch, self.position = epoch, position


class TableRows(_Table):
    """Validation rows of a table in memory.

    Args:
        table: all rows.
        index: numbers of the validation rows, int64.
        batch_size: rows looked at in one go.
        device: where they go.
    """

    def __init__(self, table: Batch, index: Tensor, batch_size: int, device: torch.device):
        super().__init__(table, device)
        self._parts = torch.split(index.to(table.x.device), batch_size)

    def batches(self) -> Iterator[Batch]:
        """All rows once."""
        return map(self.gather, self._parts)


def split_rows(rows: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Choose validation rows at random: numbers of training and of validation rows, ascending.

    Example:
        >>> training, validation = split_rows(10, 0.2, seed=0)
        >>> len(training), len(validation)
        (8, 2)
    """
    generator = torch.Generator().manual_seed(seed)
    count = min(max(1, round(share * rows)), rows - 1) if share > 0 else 0
    held = torch.zeros(rows, dtype=torch.bool)
    held[torch.randperm(rows, generator=generator)[:count]] = True
    return torch.nonzero(~held)[:, 0], torch.nonzero(held)[:, 0]
