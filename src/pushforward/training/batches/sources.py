"""Deciding where batches come from, from the kind of data the caller gave."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from pushforward.errors import ArgumentError, DataError, InputTypeError
from pushforward.objectives.likelihood import Batch
from pushforward.training.batches.base import Batches, Rows
from pushforward.training.batches.loader import (
    LoaderBatches,
    LoaderRows,
    Reader,
    Share,
    rows_in,
    sample_loader,
)
from pushforward.training.batches.rows import RowShape, table
from pushforward.training.batches.table import TableBatches, TableRows, split_rows

__all__ = ["Given", "Sources", "look", "prepare"]

_LOADER_SAMPLE = 100_000  # rows of a loader that ``flow.fit`` looks at
_VALIDATION_BATCH = 4096  # rows looked at in one go where no gradient is kept


class Given(NamedTuple):
    """What the caller gave, tables made tensors and data sets told from loaders.

    Args:
        data: a whole table, or a map-style or iterable data set, or a loader.
        validation: a share, or the same kinds.
        rows: rows in ``data``, None if not known.
    """

    data: Batch | Dataset[Any] | DataLoader[Any]
    validation: float | Batch | DataLoader[Any]
    rows: int | None


@dataclass(frozen=True)
class Sources:
    """Where a run takes its rows from.

    Args:
        batches: training batches.
        validation: validation rows, None for none.
        sample: training rows that ``flow.fit`` looks at, on the device of training.
        rows: training rows, None if not known.
        validation_rows: how many rows are looked at in an evaluation, None if not known.
    """

    batches: Batches
    validation: Rows | None
    sample: Batch
    rows: int | None
    validation_rows: int | None


def look(
    data: object,
    context: object,
    weights: object,
    validation: object,
    shape: RowShape,
    dtype: torch.dtype,
) -> Given:
    """Sort out what kind of data came, and check what can be checked before training.

    Raises:
        ArgumentError: an argument does not go with this kind of data.
        InputTypeError, ShapeError, ContextError, DataError: the data cannot be used.
    """
    source: Batch | Dataset[Any] | DataLoader[Any]
    if isinstance(data, DataLoader | Dataset):
        for name, value in (("context", context), ("weights", weights)):
            if value is not None:
                raise ArgumentError(
                    f"fit: {name} was given beside a {type(data).__name__}; let its items be "
                    f"(x, context) or (x, context, weights) instead."
                )
        source = _opened("fit: data", data, shape, dtype)
    else:
        source = _counting(table("fit: data", data, context, weights, shape, dtype))
    held = _validation(validation, shape, dtype)
    if isinstance(source, Batch):
        return Given(source, held, source.rows)
    if isinstance(source, DataLoader):
        if isinstance(held, float) and held > 0:
            raise ArgumentError(
                "fit: a DataLoader cannot be split into training and validation rows; pass "
                "validation=another_loader, or validation=0 to train without."
            )
        return Given(source, held, rows_in(source))
    if isinstance(source, IterableDataset):
        if isinstance(held, float) and held > 0:
            raise ArgumentError(
                "fit: an IterableDataset cannot be split into training and validation rows; pass "
                "validation=a_data_set, or validation=0 to train without."
            )
        return Given(source, held, None)
    return Given(source, held, len(source))  # type: ignore[arg-type]


def _counting(rows: Batch) -> Batch:
    """The rows that have a weight: others must not have a part in the scales a flow reads off."""
    if rows.weights is None or bool((rows.weights != 0).all()):
        return rows
    counts = rows.weights != 0
    return rows.each(lambda values: values[counts])


def _opened(
    who: str, data: Dataset[Any] | DataLoader[Any], shape: RowShape, dtype: torch.dtype
) -> Batch | Dataset[Any] | DataLoader[Any]:
    """Turn a ``TensorDataset`` into the table it is; anything else stays."""
    if not isinstance(data, TensorDataset):
        return data
    if not 1 <= len(data.tensors) <= 3:
        raise InputTypeError(
            f"{who} is a TensorDataset of {len(data.tensors)} tensors, expected (x,), "
            f"(x, context) or (x, context, weights)."
        )
    x, context, weights = (*data.tensors, None, None)[:3]
    return table(who, x, context, weights, shape, dtype)


def _validation(
    validation: object, shape: RowShape, dtype: torch.dtype
) -> float | Batch | DataLoader[Any]:
    who = "fit: validation"
    if isinstance(validation, int | float):
        if isinstance(validation, bool) or not 0 <= validation < 1:
            raise ArgumentError(
                f"{who} is {validation}, expected a share from 0 up to below 1, or a data set."
            )
        return float(validation)
    if isinstance(validation, DataLoader):
        return validation
    if isinstance(validation, Dataset):
        opened = _opened(who, validation, shape, dtype)
        if isinstance(opened, Batch | DataLoader):
            return opened
        return DataLoader(opened, batch_size=_VALIDATION_BATCH)
    if isinstance(validation, tuple):
        if not 1 <= len(validation) <= 3:
            raise InputTypeError(
                f"{who} is a tuple of {len(validation)}, expected (x,), (x, context) or "
                f"(x, context, weights)."
            )
        x, context, weights = (*validation, None, None)[:3]
        return table(who, x, context, weights, shape, dtype)
    return table(who, validation, None, None, shape, dtype)


def prepare(
    given: Given,
    shape: RowShape,
    dtype: torch.dtype,
    device: torch.device,
    batch_size: int,
    seed: int,
) -> Sources:
    """Build the sources of a run: split, place on the device, normalize the weights.

    Args:
        given: what ``look`` returned.
        shape: of one row and its context.
        dtype: what numbers become.
        device: of training.
        batch_size: rows a step.
        seed: of the split and of the orders.

    Raises:
        DataError: one row alone cannot be split, or a loader gives nothing.
    """
    if isinstance(given.data, Batch):
        return _table_sources(given, given.data, shape, dtype, device, batch_size, seed)
    loader, validation = _loaders(given, batch_size, seed)
    reader = Reader("fit: data", loader, shape, dtype, device)
    sample = sample_loader(reader.batches(), _LOADER_SAMPLE)
    mean = 1.0 if sample.weights is None else float(sample.weights.mean())
    batches = LoaderBatches(reader, mean)
    rows, count = _validation_source(validation, shape, dtype, device, batch_size)
    return Sources(batches, rows, sample, rows_in(loader), count)


def _table_sources(
    given: Given,
    whole: Batch,
    shape: RowShape,
    dtype: torch.dtype,
    device: torch.device,
    batch_size: int,
    seed: int,
) -> Sources:
    share = given.validation if isinstance(given.validation, float) else 0.0
    if share > 0 and whole.rows < 2:
        raise DataError(
            "fit: data has one row, which cannot be split into training and validation rows; "
            "pass validation=0."
        )
    training, held = split_rows(whole.rows, share, seed)
    whole = _placed(_normalized(whole, training), device)
    batches = TableBatches(whole, training, batch_size, device, seed)
    if isinstance(given.validation, float):
        size = max(batch_size, _VALIDATION_BATCH)
        rows = TableRows(whole, held, size, device) if len(held) else None
        return Sources(batches, rows, _sample(whole, training, device), len(training), len(held))
    validation, count = _validation_source(given.validation, shape, dtype, device, batch_size)
    return Sources(batches, validation, _sample(whole, training, device), len(training), count)


def _loaders(
    given: Given, batch_size: int, seed: int
) -> tuple[DataLoader[Any], float | Batch | DataLoader[Any]]:
    """Return the loader of training, and the validation rows split off a data set if need be."""
    data, validation = given.data, given.validation
    assert not isinstance(data, Batch)
    if isinstance(data, DataLoader):
        return data, validation
    if isinstance(data, IterableDataset):
        return DataLoader(data, batch_size=batch_size), validation
    assert given.rows is not None
    if isinstance(validation, float):
        training, held = split_rows(given.rows, validation, seed)
        whole, data = data, Share(data, training.tolist())
        if len(held):
            validation = DataLoader(Share(whole, held.tolist()), batch_size=_VALIDATION_BATCH)
    size = min(batch_size, len(data))  # type: ignore[arg-type]
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(data, batch_size=size, shuffle=True, drop_last=True, generator=order)
    return loader, validation


def _validation_source(
    validation: float | Batch | DataLoader[Any],
    shape: RowShape,
    dtype: torch.dtype,
    device: torch.device,
    batch_size: int,
) -> tuple[Rows | None, int | None]:
    if isinstance(validation, float):
        return None, 0
    if isinstance(validation, DataLoader):
        who = "fit: data" if isinstance(validation.dataset, Share) else "fit: validation"
        reader = Reader(who, validation, shape, dtype, device)
        return LoaderRows(reader), rows_in(validation)
    size = max(batch_size, _VALIDATION_BATCH)
    rows = TableRows(_placed(validation, device), torch.arange(validation.rows), size, device)
    return rows, validation.rows


def _normalized(whole: Batch, training: Tensor) -> Batch:
    """Give the weights mean one over the training rows."""
    if whole.weights is None:
        return whole
    mean = whole.weights[training].mean(dtype=torch.float64)
    if mean <= 0:
        raise DataError("fit: the weights of all training rows are zero; none would count.")
    return whole._replace(weights=(whole.weights / mean).to(whole.weights.dtype))


def _placed(whole: Batch, device: torch.device) -> Batch:
    """Move a table to the device if it takes at most a third of what is free there."""
    if whole.x.device == device:
        return whole
    if device.type == "cuda" and whole.x.device.type == "cpu":
        size = sum(one.numel() * one.element_size() for one in whole if one is not None)
        free, _ = torch.cuda.mem_get_info(device)
        if size > free / 3:
            return whole
    return whole.each(lambda values: values.to(device))


def _sample(whole: Batch, training: Tensor, device: torch.device) -> Batch:
    """Training rows for ``flow.fit``: all of them, or a spread if the device cannot hold them."""
    if len(training) == whole.rows and whole.x.device == device:
        return whole
    if whole.x.device != device:
        training = training[:: math.ceil(len(training) / _LOADER_SAMPLE)]
    index = training.to(whole.x.device)
    return whole.each(lambda values: values.index_select(0, index).to(device))
