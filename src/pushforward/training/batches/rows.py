"""What comes in as data, and the tensors it becomes: checked once, never copied twice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from pushforward.errors import ContextError, DataError, InputTypeError, ShapeError
from pushforward.objectives.likelihood import Batch

if TYPE_CHECKING:
    from pushforward.training.batches.support import Support

__all__ = ["RowShape", "as_rows", "by_weight", "check_batch", "table"]


class RowShape(NamedTuple):
    """Shape of one row, and where it may lie.

    Args:
        event: shape of its x.
        context: width of its context; 0 for none, None where an embedding takes any.
        support: refuses rows that have no density, None where nobody does.
        signed: whether weights of rows may be negative.
    """

    event: tuple[int, ...]
    context: int | None = 0
    support: Support | None = None
    signed: bool = False


_CHUNK = 2**22  # numbers looked at in one go: a check of finiteness must not double the memory


def table(
    who: str,
    data: object,
    context: object,
    weights: object,
    shape: RowShape,
    dtype: torch.dtype,
) -> Batch:
    """Turn arrays, tensors or frames into one batch that holds the whole table.

    Args:
        who: whose argument it is, for messages, e.g. ``"fit: data"``.
        data: rows ``(n, *event)``.
        context: rows ``(n, context)``, or None.
        weights: ``(n,)``, or None.
        shape: of one row and its context.
        dtype: what the numbers become.

    Returns:
        tensors; they share the caller's memory where kind and layout allow it.

    Raises:
        InputTypeError: something is not an array, a tensor or a frame of numbers.
        ShapeError: a width or a number of rows does not fit.
        ContextError: the context is missing or superfluous.
        DataError: a value is not finite, a row has no density, a weight is negative, or there are
            no rows.
    """
    x = as_rows(who, data, dtype)
    rows = None if context is None else as_rows(f"{who} context", context, dtype)
    _check_shapes(who, x, rows, shape)
    if len(x) == 0:
        raise DataError(f"{who} has no rows.")
    whole = Batch(
        x, rows, None if weights is None else _weights(who, weights, len(x), dtype, shape.signed)
    )
    if shape.support is not None:
        shape.support.refuse(who, whole)
    return whole


def by_weight(rows: Batch) -> Batch:
    """As many rows without weights, each as often as its weight says (systematic resampling).

    What a flow reads off the data, scales and boxes, so belongs to the weighted rows. Where a
    few rows have nearly all the weight and a column does not vary in them, the weights are left
    out: a scale needs rows that differ.

    Example:
        >>> by_weight(Batch(torch.arange(4.0)[:, None], weights=torch.tensor([0, 1, 3, 0]))).x[:, 0]
        tensor([1., 2., 2., 2.])
    """
    if rows.weights is None:
        return rows
    plain = rows._replace(weights=None)
    # negative weights undo others, wherever those are; scales are those of the others
    heights = rows.weights.double().clamp_min(0.0).cumsum(0)
    even = torch.arange(rows.rows, dtype=torch.float64, device=heights.device) + 0.5
    chosen = torch.searchsorted(heights, even * (heights[-1] / rows.rows), right=True)
    drawn = plain.each(lambda values: values[chosen.clamp_max(rows.rows - 1)])
    return plain if bool((_still(drawn.x) & ~_still(plain.x)).any()) else drawn


def _still(x: Tensor) -> Tensor:
    """Which columns are the same in all rows."""
    return x.amin(0) == x.amax(0)


def check_batch(who: str, batch: Batch, shape: RowShape) -> Batch:
    """Check the shapes of a batch that a loader gave; its values are looked at in training.

    Raises:
        ShapeError: a shape does not fit.
        ContextError: the context is missing or superfluous.
    """
    x, context, weights = batch
    _check_shapes(who, x, context, shape)
    if weights is not None and tuple(weights.shape) != (len(x),):
        raise ShapeError(f"{who} weights have shape {tuple(weights.shape)}, expected ({len(x)},).")
    return batch


def _check_shapes(who: str, x: Tensor, context: Tensor | None, shape: RowShape) -> None:
    if x.ndim == 0 or tuple(x.shape[1:]) != shape.event:
        wanted = ", ".join(["n", *map(str, shape.event)])
        raise ShapeError(f"{who} has shape {tuple(x.shape)}, expected ({wanted}).")
    if context is None:
        if shape.context != 0:
            of_shape = "" if shape.context is None else f" of shape ({len(x)}, {shape.context})"
            raise ContextError(f"{who} came without a context, but the flow needs one{of_shape}.")
        return
    if shape.context == 0:
        raise ContextError(
            f"{who} came with a context, but the flow reads none; build it with context=..."
        )
    fits = shape.context is None or tuple(context.shape[1:]) == (shape.context,)
    if len(context) != len(x) or not fits:
        width = "..." if shape.context is None else str(shape.context)
        raise ShapeError(
            f"{who} context has shape {tuple(context.shape)}, expected ({len(x)}, {width})."
        )


def as_rows(who: str, data: object, dtype: torch.dtype) -> Tensor:
    """One tensor of finite numbers from an array, a tensor or a frame.

    Args:
        who: whose argument it is, for messages.
        data: the numbers.
        dtype: what they become.

    Returns:
        a contiguous tensor; it shares the caller's memory where kind and layout allow it.

    Raises:
        InputTypeError: not an array, a tensor or a frame of numbers.
        DataError: a value is not finite; row and column are named.

    Example:
        >>> as_rows("fit: data", torch.tensor([[1, 2]]), torch.float32)
        tensor([[1., 2.]])
    """
    tensor, columns = _tensor(who, data)
    if tensor.is_complex():
        raise InputTypeError(f"{who} is complex, expected real numbers.")
    rows = tensor.detach().to(dtype).contiguous()
    _refuse_non_finite(who, rows, columns, tensor)
    return rows


def _tensor(who: str, data: object) -> tuple[Tensor, list[str] | None]:
    """The data as a tensor of whatever kind of number, and its column names if it has any."""
    if isinstance(data, Tensor):
        return data, None
    if isinstance(data, list | tuple | str | bytes | dict | int | float) or data is None:
        raise InputTypeError(
            f"{who} is a {type(data).__name__}, expected a tensor, a NumPy array, a frame of "
            f"numbers, a Dataset or a DataLoader; write torch.tensor(data) if it holds numbers."
        )
    if type(data).__module__.split(".")[0] == "numpy":
        return _from_numpy(who, data), None
    return _from_frame(who, data)


def _from_numpy(who: str, data: Any) -> Tensor:
    import numpy as np

    array = np.asarray(data)
    if array.dtype.kind not in "fiub":
        raise InputTypeError(
            f"{who} is an array of {array.dtype}, expected numbers; write data.astype('float32')."
        )
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    array = np.ascontiguousarray(array)
    with warnings.catch_warnings():
        # A read-only array is welcome: training never writes to its data.
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(array)


def _from_frame(who: str, data: Any) -> tuple[Tensor, list[str]]:
    import narwhals

    try:
        frame = narwhals.from_native(data, eager_only=True)
    except TypeError:
        raise InputTypeError(
            f"{who} is a {type(data).__name__}, expected a tensor, a NumPy array, a frame of "
            f"numbers, a Dataset or a DataLoader."
        ) from None
    columns = list(frame.columns)
    for name in columns:
        kind = frame[name].dtype
        if not kind.is_numeric() and kind != narwhals.Boolean:
            raise InputTypeError(
                f"{who}: column {name!r} holds {kind}, expected numbers; leave it out or encode it."
            )
        if frame[name].null_count() > 0:
            row = int(frame[name].is_null().arg_true().to_list()[0])
            raise DataError(
                f"{who}: row {row}, column {name!r} is missing; drop or fill such rows."
            )
    return _from_numpy(who, frame.to_numpy()), columns


def _refuse_non_finite(who: str, rows: Tensor, columns: list[str] | None, original: Tensor) -> None:
    for start, part in _chunks(rows):
        if bool(torch.isfinite(part).all()):
            continue
        flat = part.reshape(len(part), -1)
        row, column = (int(i) for i in torch.nonzero(~torch.isfinite(flat))[0])
        was = original[start + row].reshape(-1)[column].item()
        place = f"row {start + row}, column {columns[column]!r}" if columns else ""
        place = place or f"row {start + row}" + (f", column {column}" if rows.ndim > 1 else "")
        if isinstance(was, float) and not math.isfinite(was):
            raise DataError(f"{who}: {place} is {was}; drop or fill such rows before training.")
        raise DataError(
            f"{who}: {place} is {was}, which {rows.dtype} cannot hold; rescale the column or train "
            f"with precision='float64'."
        )


def _chunks(rows: Tensor) -> Iterator[tuple[int, Tensor]]:
    length = max(1, _CHUNK // max(1, math.prod(rows.shape[1:])))
    for start in range(0, len(rows), length):
        yield start, rows[start : start + length]


def _weights(who: str, weights: object, rows: int, dtype: torch.dtype, signed: bool) -> Tensor:
    values = as_rows(f"{who} weights", weights, dtype)
    if values.shape == (rows, 1):
        values = values[:, 0]
    if values.shape != (rows,):
        raise ShapeError(f"{who} weights have shape {tuple(values.shape)}, expected ({rows},).")
    if not signed and bool((values < 0).any()):
        row = int(torch.nonzero(values < 0)[0])
        raise DataError(
            f"{who} weights: row {row} is {values[row].item():g}; a weight must not be negative "
            f"without signed_weights=True."
        )
    if float(values.sum(dtype=torch.float64)) <= 0:
        negative = bool((values < 0).any())
        why = "add up to no more than zero" if negative else "are all zero: no row would count"
        raise DataError(f"{who} weights {why}.")
    return values
