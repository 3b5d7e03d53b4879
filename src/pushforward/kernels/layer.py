"""Couplings, masked autoregressions and triangles in kernels; many in a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pushforward.kernels import library
from pushforward.kernels.dispatch import followed
from pushforward.kernels.elementwise import differentiable_gradients
from pushforward.kernels.keeping import in_memory, refuse, refuse_exchanged, same_memory, sizes
from pushforward.kernels.library import LAYER_CALL, MOST_LAYERS
from pushforward.kernels.plan import Plan

__all__ = [
    "LayerCall",
    "retrace_layer",
    "run_layers",
]

_BLOCK = 32  # rows that a kernel works on at a time
_NONE = (0,) * MOST_LAYERS

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


class _Kept(NamedTuple):
    """What backward needs of a way forward."""

    states: Tensor | None  # where each layer but the first began, (layers - 1, rows, features)
    saved: Tensor  # hidden layers and parameters of all layers


def run_layers(
    calls: Sequence[LayerCall],
    x: Tensor,
    context: Tensor | None,
    weights: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Layers one after the other: z and the sum of their logdets.

    Args:
        calls: the layers, in the order in which they are applied; at most ``MOST_CHAINED``.
        x: ``(*batch, features)``.
        context: ``(*batch, context)`` or None.
        weights: the parameters of all layers: what multiplies and what is added, in turn.
    """
    context = context if any(call.plan.context for call in calls) else None
    if torch.is_grad_enabled() and (
        x.requires_grad
        or any(weight.requires_grad for weight in weights)
        or (context is not None and context.requires_grad)
    ):
        return _Layers.apply(calls, None, x, context, *weights)  # type: ignore[no-any-return, no-untyped-call]
    z, logdet, _ = _forward(calls, x, context, weights, keep=False)
    return z, logdet


def retrace_layer(
    call: LayerCall, end: Tensor, context: Tensor | None, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Where a layer began, to be differentiated in; and its end and logdet with their history.

    The way back calls the network for what the layer called it for: what it keeps serves the
    gradients of the layer itself, which is not computed again.

    Args:
        call: the layer.
        end: where it ended.
        context: ``(*batch, context)`` or None.
        weights: weight and bias of each linear layer in turn.
    """
    back = call._replace(inverse=not call.inverse)
    start, logdet, kept = _forward([back], end, context, weights, keep=True)
    start.requires_grad_()
    known = (end.detach(), -logdet, kept)
    return start, *_Layers.apply([call], known, start, context, *weights)  # type: ignore[no-untyped-call]


def _rows(x: Tensor) -> Tensor:
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


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _addresses(tensors: Sequence[Tensor]) -> list[int]:
    """Of weights, and of biases, of one layer, as many as there may be."""
    found = [tensor.data_ptr() for tensor in tensors]
    factors, added = found[::2], found[1::2]
    return [*factors, *_NONE[len(factors) :], *added, *_NONE[len(added) :]]


def _each(calls: Sequence[LayerCall], tensors: Sequence[Tensor]) -> list[list[int]]:
    """Addresses of weights and biases for each layer."""
    ends = accumulate((call.plan.tensors for call in calls), initial=0)
    return [_addresses(tensors[begin:end]) for begin, end in pairwise(ends)]


class _Asked(NamedTuple):
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


def _places(first: Tensor, last: Tensor, states: Tensor | None, count: int) -> list[int]:
    """Where the states before and behind layers lie; behind each in the last if none is kept."""
    if states is None:
        return [first.data_ptr(), *[last.data_ptr()] * count]
    begin, step = states.data_ptr(), first.numel() * first.element_size()
    return [first.data_ptr(), *(begin + i * step for i in range(count - 1)), last.data_ptr()]


def _saved_places(calls: Sequence[LayerCall], saved: Tensor | None, rows: int) -> Iterable[int]:
    """Where what each layer saves begins; 0 if nothing is kept."""
    if saved is None:
        return [0] * len(calls)
    size = _padded(rows) * saved.element_size()
    return accumulate((size * call.plan.saved for call in calls[:-1]), initial=saved.data_ptr())


def _padded(rows: int) -> int:
    """So many rows in whole blocks."""
    return -(-rows // _BLOCK) * _BLOCK


def _run(
    name: str,
    calls: Sequence[LayerCall],
    ends: tuple[Tensor, Tensor],
    kept: _Kept | None,
    context: Tensor | None,
    weights: Sequence[Tensor],
    asked: Iterable[_Asked],
) -> None:
    """Call the library for layers between two ends, whose rows are contiguous."""
    rows, threads = ends[0].shape[0], library.threads()
    states, saved = kept or (None, None)
    places = _places(*ends, states, len(calls))
    held, *of_context = _of_context(context)
    each = zip(calls, _saved_places(calls, saved, rows), _each(calls, weights), asked, strict=True)
    packed = []
    for i, (call, saved_at, addresses, wanted) in enumerate(each):
        packed.append(
            LAYER_CALL.pack(
                rows,
                places[i],
                places[i + 1],
                wanted.logdet,
                *of_context,
                _address(call.low),
                _address(call.high),
                saved_at,
                *wanted.grads,
                call.inverse,
                wanted.adds,
                threads,
                *addresses,
                *wanted.results,
            )
        )
        packed.append(call.plan.tail)
    double = ends[0].dtype is torch.float64
    _check(getattr(library.LIBRARY, name)(b"".join(packed), len(calls), double))
    del held


def _forward(
    calls: Sequence[LayerCall],
    x: Tensor,
    context: Tensor | None,
    weights: Sequence[Tensor],
    keep: bool,
) -> tuple[Tensor, Tensor, _Kept | None]:
    flat, count, kept = _rows(x), len(calls), None
    z, logdet = flat.new_empty(x.shape), flat.new_empty(x.shape[:-1])
    if keep:
        states = flat.new_empty((count - 1, *flat.shape)) if count > 1 else None
        numbers = _padded(flat.shape[0]) * sum(call.plan.saved for call in calls)
        kept = _Kept(states, flat.new_empty(numbers))
    end, none = logdet.data_ptr(), (*_NONE, *_NONE)
    asked = [_Asked(end, (0, 0, 0, 0), i > 0, none) for i in range(count)]
    _run("pushforward_layers", calls, (flat, z), kept, context, weights, asked)
    return z, logdet, kept


def _backward(
    calls: Sequence[LayerCall],
    x: Tensor,
    context: Tensor | None,
    weights: Sequence[Tensor],
    z: Tensor,
    kept: _Kept,
    grad_z: Tensor,
    grad_logdet: Tensor,
    wants: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of x, context and weights, those that are wanted."""
    flat, out, count = _rows(x), _rows(z), len(calls)
    grad_z, grad_logdet = _rows(in_memory(grad_z)), in_memory(grad_logdet).contiguous()
    grad_x = flat.new_empty(x.shape) if wants[0] else None
    grad_context = flat.new_empty(context.shape) if context is not None and wants[1] else None
    grads = [torch.empty_like(w) for w in weights]
    # Gradients of the states between layers are written and read in two places in turn.
    between = flat.new_empty((2, *flat.shape)) if count > 1 else None
    step = flat.numel() * flat.element_size()
    turns = [_address(between) + i % 2 * step for i in range(count - 1)]
    places = [_address(grad_x), *turns, grad_z.data_ptr()]
    # that of the context is written by the last layer that has one, and then added to
    writes = max((i for i, call in enumerate(calls) if call.plan.context), default=0)
    above, into = grad_logdet.data_ptr(), _address(grad_context)
    asked = [
        _Asked(
            0,
            (places[i + 1], above, places[i], into if call.plan.context else 0),
            i < writes,
            results,
        )
        for i, (call, results) in enumerate(zip(calls, _each(calls, grads), strict=True))
    ]
    _run("pushforward_layers_backward", calls, (flat, out), kept, context, weights, asked)
    return [grad_x, grad_context, *grads]


def _check(status: int) -> None:
    if status:
        raise MemoryError("pushforward's kernels found no memory for their intermediate results.")


class _Layers(torch.autograd.Function):
    """Layers whose gradients a kernel finds, and whose second derivatives definitions give."""

    @staticmethod
    def forward(
        ctx: Any,
        calls: Sequence[LayerCall],
        known: Any,
        x: Tensor,
        context: Tensor | None,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        z, logdet, kept = known or _forward(calls, x, context, weights, keep=True)
        assert kept is not None
        ctx.calls, ctx.given = calls, (x, context, *weights)
        # the constants, too, so that whoever changes them before backward is told
        constants = [one for call in calls for one in (call.low, call.high)]
        last = z if calls[-1].inverse else None
        ctx.constants_at = list(map(_address, constants))
        keep = (last, *kept, *same_memory(ctx.given))
        ctx.sizes = sizes(keep)
        ctx.save_for_backward(*keep, *constants)
        return z, logdet

    @staticmethod
    def backward(ctx: Any, grad_z: Tensor, grad_logdet: Tensor) -> Any:
        calls, wants = ctx.calls, ctx.needs_input_grad[2:]
        keep = ctx.saved_tensors[: -2 * len(calls)]
        if torch.is_grad_enabled() or not followed(grad_z, grad_logdet):
            refuse_exchanged(ctx.given, keep[3:])
            return None, None, *_by_definition(calls, ctx.given, wants, grad_z, grad_logdet)
        constants = [one for call in calls for one in (call.low, call.high)]
        if sizes(keep) != ctx.sizes or list(map(_address, constants)) != ctx.constants_at:
            refuse()
        z, states, saved, x, context, *weights = keep
        z = x if z is None else z
        kept = _Kept(None if states is None else states.contiguous(), saved.contiguous())
        weights = [weight.contiguous() for weight in weights]  # a hook may have laid them out anew
        grads = _backward(calls, x, context, weights, z, kept, grad_z, grad_logdet, wants)
        return None, None, *(g if want else None for g, want in zip(grads, wants, strict=True))


def _by_definition(
    calls: Sequence[LayerCall],
    inputs: Sequence[Any],
    wants: Sequence[bool],
    grad_z: Tensor,
    grad_logdet: Tensor,
) -> list[Tensor | None]:
    """Gradients that can be differentiated again."""

    def in_turn(x: Tensor, context: Tensor | None, *weights: Tensor) -> tuple[Tensor, Tensor]:
        total, rest = None, list(weights)
        for call in calls:
            own, rest = rest[: call.plan.tensors], rest[call.plan.tensors :]
            x, logdet = call.plain(x, context if call.plan.context else None, own)
            total = logdet if total is None else total + logdet
        assert total is not None
        return x, total

    found = iter(differentiable_gradients(in_turn, inputs, wants, (grad_z, grad_logdet)))
    return [next(found) if want else None for want in wants]
