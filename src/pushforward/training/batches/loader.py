"""Batches of a loader of the caller's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler, Subset

from pushforward.errors import DataError, InputTypeError
from pushforward.objectives.likelihood import Batch
from pushforward.training.batches.base import Key
from pushforward.training.batches.rows import RowShape, check_batch
from pushforward.training.randomness import random_state, restore_random_state

__all__ = ["LoaderBatches", "LoaderRows", "Reader", "Share", "rows_in", "sample_loader"]

_SCANNED = 4096  # rows read in one go where the number of one is looked for


class Share(Subset[Any]):
    """Rows split off the data set of the caller's, who knows them by their numbers there."""


class LoaderBatches:
    """Training batches of a ``DataLoader``.

    Its order is that of its own generator, or of torch's global one, whose states are kept so
    that a pass can be begun again and its first batches skipped.

    Args:
        reader: of the loader.
        mean_weight: weights are divided by it.
    """

    def __init__(self, reader: Reader, mean_weight: float = 1.0):
        loader = reader.loader
        self.steps_per_epoch = _length(loader)
        self.epoch = 0
        self.position = 0
        self._loader = loader
        self._read_item = reader
        self._mean_weight = mean_weight
        self._generators = _generators(loader)
        self._state: dict[str, Tensor] = {}
        self._iterator: Iterator[Any] | None = None

    def _begin(self) -> None:
        self._state = {f"loader.{n}": g.get_state() for n, g in enumerate(self._generators)}
        self._state |= random_state(self._read_item.device)
        self._iterator = iter(self._loader)

    def next(self) -> Batch:
        """Return the next batch of the loader, on the device."""
        if self._iterator is None:
            self._begin()
        item = next(self._iterator, None)  # type: ignore[arg-type]
        if item is None:
            if self.position == 0:
                raise DataError("fit: the DataLoader gave no batch; it needs at least one.")
            self.epoch, self.position = self.epoch + 1, 0
            self._iterator = None
            return self.next()
        self.position += 1
        return self._read(item)

    def gather(self, key: Key) -> Batch:
        """Return the batch itself: it is its own key."""
        assert isinstance(key, Batch)
        return key

    def _read(self, item: object) -> Batch:
        batch = self._read_item(item, self.position - 1)
        if batch.weights is None or self._mean_weight == 1.0:
            return batch
        return batch._replace(weights=batch.weights / self._mean_weight)

    def state(self) -> dict[str, Tensor]:
        """Random states before this pass began."""
        return self._state

    def restore(self, state: Mapping[str, Tensor], epoch: int, position: int) -> None:
        """Begin the pass with ``state`` again and skip ``position`` batches.

        Torch's global generators are left where that leads; the caller sets them afterwards.
        """
        self.epoch, self.position = epoch, position
        if not state:
            return
        for number, generator in enumerate(self._generators):
            generator.set_state(state[f"loader.{number}"])
        restore_random_state(state, self._read_item.device)
        self._begin()
        for _ in range(position):
            next(self._iterator)  # type: ignore[arg-type]


class LoaderRows:
    """Validation rows of a ``DataLoader``.

    Args:
        reader: of the loader.
    """

    def __init__(self, reader: Reader):
        self._reader = reader

    def batches(self) -> Iterator[Batch]:
        """All rows once."""
        return self._reader.batches()


class Reader:
    """Turns what a loader gives into batches on the device, and refuses what cannot be used.

    Args:
        who: whose argument the loader is, for messages.
        loader: gives ``x``, ``(x,)``, ``(x, context)`` or ``(x, context, weights)``.
        shape: of one row and its context.
        dtype: what the numbers become.
        device: where batches go.
    """

    def __init__(
        self,
        who: str,
        loader: DataLoader[Any],
        shape: RowShape,
        dtype: torch.dtype,
        device: torch.device,
    ):
        self.loader = loader
        self.device = device
        self._who = who
        self._shape = shape
        self._dtype = dtype

    def batches(self) -> Iterator[Batch]:
        """All that the loader gives in a pass."""
        return (self(item, number) for number, item in enumerate(self.loader))

    def __call__(self, item: object, number: int) -> Batch:
        """Turn what the loader gave into a batch on the device.

        Args:
            item: ``x``, ``(x,)``, ``(x, context)`` or ``(x, context, weights)``, all tensors.
            number: how many came before it in this pass.

        Raises:
            InputTypeError: the item is something else.
            ShapeError, ContextError: a shape does not fit.
            DataError: a row has no density.
        """
        batch = check_batch(self._who, self._moved(item), self._shape)
        if self._shape.support is not None:
            self._shape.support.refuse(self._who, batch, partial(self._place, batch, number))
        return batch

    def _moved(self, item: object) -> Batch:
        return _moved(item, self.device, self._dtype)

    def _place(self, batch: Batch, number: int, row: int) -> str:
        """Words for a row: its number in the data set, if it is found there."""
        data = self.loader.dataset
        numbered = isinstance(self.loader.sampler, RandomSampler | SequentialSampler)
        if isinstance(data, IterableDataset) or self.loader.batch_sampler is None or not numbered:
            return f"row {row} of batch {number}"
        start = 0
        for item in DataLoader(data, batch_size=_SCANNED, collate_fn=self.loader.collate_fn):
            rows = self._moved(item).x
            same = (rows == batch.x[row]).flatten(1).all(1)
            if bool(same.any()):
                found = start + int(same.nonzero()[0, 0])
                return f"row {data.indices[found] if isinstance(data, Share) else found}"
            start += len(rows)
        return f"row {row} of batch {number}"  # made anew each time it is asked for


def _moved(item: object, device: torch.device, dtype: torch.dtype) -> Batch:
    """What a loader gave, as a batch on the device."""
    parts = tuple(item) if isinstance(item, list | tuple) else (item,)
    tensors = all(isinstance(one, Tensor) for one in parts)
    if not tensors or not 1 <= len(parts) <= 3:
        kinds = ", ".join(type(one).__name__ for one in parts)
        raise InputTypeError(
            f"fit: the DataLoader gave ({kinds}), expected x, (x,), (x, context) or "
            f"(x, context, weights), all tensors; give it a collate_fn that returns that."
        )
    moved = (one.to(device=device, dtype=dtype, non_blocking=True) for one in parts)
    return Batch(*moved)


def sample_loader(batches: Iterator[Batch], rows: int) -> Batch:
    """Gather the first batches into one, up to about ``rows`` rows: what ``flow.fit`` looks at.

    Raises:
        DataError: there is no batch at all.
    """
    gathered: list[Batch] = []
    count = 0
    for batch in batches:
        gathered.append(batch)
        count += batch.rows
        if count >= rows:
            break
    if not gathered:
        raise DataError("fit: data is a DataLoader that gave no batch; it needs at least one.")

    def join(parts: tuple[Tensor | None, ...]) -> Tensor | None:
        return None if parts[0] is None else torch.cat([one for one in parts if one is not None])

    x, context, weights = (join(parts) for parts in zip(*gathered, strict=True))
    assert x is not None
    return Batch(x, context, weights)


def _length(loader: DataLoader[Any]) -> int | None:
    try:
        return len(loader)
    except TypeError:
        return None  # a stream: its length is known when it ends


def _generators(loader: DataLoader[Any]) -> list[torch.Generator]:
    candidates = (loader.generator, getattr(loader.sampler, "generator", None))
    unique = {id(one): one for one in candidates if isinstance(one, torch.Generator)}
    return list(unique.values())


def rows_in(loader: DataLoader[Any]) -> int | None:
    """Rows of one pass, if they are known."""
    steps, size = _length(loader), loader.batch_size
    if steps is None or size is None:
        return None
    try:
        return min(len(loader.dataset), steps * size)  # type: ignore[arg-type]
    except TypeError:
        return steps * size
