"""Layers as the library takes them: packed, with the addresses of what they read and write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from pushforward.kernels import library
from pushforward.kernels.library import LAYER_CALL, MOST_LAYERS
from pushforward.kernels.plan import Plan

__all__ = [
    "NO_RESULTS",
    "Asked",
    "Kept",
    "LayerCall",
    "address",
    "addresses",
    "call_library",
    "padded",
    "rows_of",
]

_BLOCK = 32  # rows that a kernel works on at a time
_NONE = (0,) * MOST_LAYERS
NO_RESULTS = (*_NONE, *_NONE)  # where nobody asks for gradients of parameters

Plain = Callable[[Tensor, "Tensor | None", Sequence[Tensor]], "tuple[Tensor, Tensor]"]


class LayerCall(NamedTuple):
    """A layer as it is applied, with all that is no differentiable tensor.

    Attributes:
        plan: the layer.
        plain: the same in plain PyTorch, a function of x, context and weights; it is what a second
            derivative is taken of.
        low: first constants of the map.
        high: second constants.
        inverse: whether it is the inverse. That of an autoregression has no gradient here.
    """

    plan: Plan
    plain: Plain
    low: Tensor | None
    high: Tensor | None
    inverse: bool


class Kept(NamedTuple):
    """What backward needs of a way forward."""

    states: Tensor | None  # where each layer but the first began, (layers - 1, rows, features)
    saved: Tensor  # hidden layers and parameters of all layers


def rows_of(x: Tensor) -> Tensor:
    """(*batch, width) as contiguous rows."""
    return x.reshape(-1, x.shape[-1]).contiguous() if x.ndim != 2 else x.contiguous()


def _of_context(context: Tensor | None) -> tuple[Tensor | None, int, int]:
    """A context whose columns lie side by side, its address, and how far apart its rows are."""
    if context is None:
        return None, 0, 0
    flat = context.reshape(-1, context.shape[-1])
    if flat.stride(-1) != 1 and flat.shape[-1] > 1:
        flat = flat.contiguous()
    return flat, flat.data_ptr(), flat.stride(0)


def address(tensor: Tensor | None) -> int:
    """Where its numbers begin; 0 for none."""
    return 0 if tensor is None else tensor.data_ptr()


def _of_layer(tensors: Sequence[Tensor]) -> list[int]:
    """Addresses of weights, and of biases, as many as there may be."""
    found = [tensor.data_ptr() for tensor in tensors]
    factors, added = found[::2], found[1::2]
    return [*factors, *_NONE[len(factors) :], *added, *_NONE[len(added) :]]


def addresses(calls: Sequence[LayerCall], tensors: Sequence[Tensor]) -> list[list[int]]:
    """Of weights and biases, for each layer."""
    ends = accumulate((call.plan.tensors for call in calls), initial=0)
    return [_of_layer(tensors[begin:end]) for begin, end in pairwise(ends)]


class Asked(NamedTuple):
    """What is asked of a layer: addresses of what is written, and read for it, besides its numbers.

    Attributes:
        logdet: written by forward.
        grads: of z and logdet, read by backward, and of x and context, written by it.
        adds: whether logdet, or the gradient of the context, is added to what is there.
        results: gradients of the parameters.
    """

    logdet: int
    grads: tuple[int, int, int, int]
    adds: bool
    results: Sequence[int]


def _places(
    first: Tensor, last: Tensor, states: Tensor | None, count: int, turned: bool
) -> list[int]:
    """Where the states before and behind layers lie; behind each in the last if none is kept."""
    if states is None:
        return [first.data_ptr(), *[last.data_ptr()] * count]
    begin, step = states.data_ptr(), first.numel() * first.element_size()
    between = [begin + i * step for i in range(count - 1)]
    return [first.data_ptr(), *(between[::-1] if turned else between), last.data_ptr()]


def _saved_places(
    calls: Sequence[LayerCall], saved: Tensor | None, rows: int, turned: bool
) -> list[int]:
    """Where what each layer saves begins; 0 if nothing is kept."""
    if saved is None:
        return [0] * len(calls)
    sizes = [padded(rows) * saved.element_size() * call.plan.saved for call in calls]
    if turned:
        return _saved_from(saved, sizes[::-1])[::-1]
    return _saved_from(saved, sizes)


def _saved_from(saved: Tensor, sizes: Sequence[int]) -> list[int]:
    return list(accumulate(sizes[:-1], initial=saved.data_ptr()))


def padded(rows: int) -> int:
    """So many rows in whole blocks."""
    return -(-rows // _BLOCK) * _BLOCK


def call_library(
    name: str,
    calls: Sequence[LayerCall],
    ends: tuple[Tensor, Tensor],
    kept: Kept | None,
    context: Tensor | None,
    weights: Sequence[Tensor],
    asked: Iterable[Asked],
    turned: bool = False,
) -> None:
    """Call the library for layers between two ends, whose rows are contiguous.

    What is kept lies in the order of the layers, or, ``turned``, in that of the way back.
    """
    rows, threads = ends[0].shape[0], library.threads()
    states, saved = kept or (None, None)
    places = _places(*ends, states, len(calls), turned)
    held, *of_context = _of_context(context)
    saved_at = _saved_places(calls, saved, rows, turned)
    each = zip(calls, saved_at, addresses(calls, weights), asked, strict=True)
    packed = []
    for i, (call, keep, parameters, wanted) in enumerate(each):
        packed.append(
            LAYER_CALL.pack(
                rows,
                places[i],
                places[i + 1],
                wanted.logdet,
                *of_context,
                address(call.low),
                address(call.high),
                keep,
                *wanted.grads,
                call.inverse,
                wanted.adds,
                threads,
                *parameters,
                *wanted.results,
            )
        )
        packed.append(call.plan.tail)
    double = ends[0].dtype is torch.float64
    _check(getattr(library.LIBRARY, name)(b"".join(packed), len(calls), double))
    del held


def _check(status: int) -> None:
    if status:
        raise MemoryError("pushforward's kernels found no memory for their intermediate results.")
