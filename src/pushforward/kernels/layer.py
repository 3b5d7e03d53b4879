"""Couplings, masked autoregressions and triangles in kernels; many in a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pushforward.kernels.chain import (
    NO_RESULTS,
    Asked,
    Kept,
    LayerCall,
    address,
    addresses,
    call_library,
    padded,
    rows_of,
)
from pushforward.kernels.dispatch import followed
from pushforward.kernels.elementwise import differentiable_gradients
from pushforward.kernels.keeping import (
    in_memory,
    refuse,
    refuse_changed,
    refuse_exchanged,
    same_memory,
    sizes,
)

__all__ = ["retrace_layers", "run_layers"]


def run_layers(
    calls: Sequence[LayerCall],
    x: Tensor,
    context: Tensor | None,
    weights: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Layers one after the other: z and the sum of their logdets; no z behind a density.

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


def retrace_layers(
    calls: Sequence[LayerCall],
    end: Tensor,
    context: Tensor | None,
    weights: Sequence[Sequence[Tensor]],
) -> tuple[Tensor, Tensor, Tensor]:
    """Where layers began, to be differentiated in; and their end and logdet with their history.

    The way back calls the networks for what the layers called them for: what it keeps serves the
    gradients of the layers themselves, which are not computed again.

    Args:
        calls: the layers, in the order in which they were applied.
        end: where the last of them ended.
        context: ``(*batch, context)`` or None.
        weights: the parameters of each layer.
    """
    context = context if any(call.plan.context for call in calls) else None
    back = [call._replace(inverse=not call.inverse) for call in reversed(calls)]
    given = [tensor for own in reversed(weights) for tensor in own]
    start, logdet, kept = _forward(back, end, context, given, keep=True, turned=True)
    start.requires_grad_()
    known = (end.detach(), -logdet, kept)
    given = [tensor for own in weights for tensor in own]
    return start, *_Layers.apply(calls, known, start, context, *given)  # type: ignore[no-untyped-call]


def _forward(
    calls: Sequence[LayerCall],
    x: Tensor,
    context: Tensor | None,
    weights: Sequence[Tensor],
    keep: bool,
    turned: bool = False,
) -> tuple[Tensor, Tensor, Kept | None]:
    flat, count, kept = rows_of(x), len(calls), None
    density, logdet = calls[-1].plan.density, flat.new_empty(x.shape[:-1])
    # A density writes no z. Where no states are kept, the steps before it work in the place of one.
    z = flat if density and keep else flat.new_empty(x.shape)
    if keep:
        states = flat.new_empty((count - 1, *flat.shape)) if count > 1 else None
        numbers = padded(flat.shape[0]) * sum(call.plan.saved for call in calls)
        kept = Kept(states, flat.new_empty(numbers))
    end = logdet.data_ptr()
    asked = [Asked(end, (0, 0, 0, 0), i > 0, NO_RESULTS) for i in range(count)]
    call_library("pushforward_layers", calls, (flat, z), kept, context, weights, asked, turned)
    return flat.new_empty(0) if density else z, logdet, kept


def _backward(
    calls: Sequence[LayerCall],
    x: Tensor,
    context: Tensor | None,
    weights: Sequence[Tensor],
    z: Tensor,
    kept: Kept,
    grad_z: Tensor | None,
    grad_logdet: Tensor,
    wants: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of x, context and weights, those that are wanted."""
    flat, out, count = rows_of(x), rows_of(z), len(calls)
    grad_logdet = in_memory(grad_logdet).contiguous()
    grad_z = None if grad_z is None else rows_of(in_memory(grad_z))
    grad_x = flat.new_empty(x.shape) if wants[0] else None
    # the first layer that has something to be trained, if nobody asks for what lies before it
    begins = 0 if wants[0] else next((i for i, call in enumerate(calls) if call.plan.tensors), 0)
    grad_context = flat.new_empty(context.shape) if context is not None and wants[1] else None
    grads = [torch.empty_like(w) for w in weights]
    # Gradients of the states between layers are written and read in two places in turn.
    between = flat.new_empty((2, *flat.shape)) if count > 1 else None
    step = flat.numel() * flat.element_size()
    turns = [address(between) + i % 2 * step if i >= begins else 0 for i in range(count - 1)]
    places = [address(grad_x), *turns, address(grad_z)]
    # that of the context is written by the last layer that has one, and then added to
    writes = max((i for i, call in enumerate(calls) if call.plan.context), default=0)
    above, into = grad_logdet.data_ptr(), address(grad_context)
    asked = [
        Asked(
            0,
            (places[i + 1], above, places[i], into if call.plan.context else 0),
            i < writes,
            results,
        )
        for i, (call, results) in enumerate(zip(calls, addresses(calls, grads), strict=True))
    ]
    call_library("pushforward_layers_backward", calls, (flat, out), kept, context, weights, asked)
    return [grad_x, grad_context, *grads]


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
        ctx.calls, ctx.given, ctx.version = calls, (x, context, *weights), x._version
        # the constants, too, so that whoever changes them before backward is told
        constants = [one for call in calls for one in (call.low, call.high)]
        ctx.constants_at = list(map(address, constants))
        last = z if calls[-1].inverse and calls[-1].plan.reads else None
        # by .data, what backward does not read: whoever made it may go on to write there
        begin, *others = same_memory(ctx.given)
        begin = begin if calls[0].plan.reads else x.data
        keep = (last, *kept, begin, *others)
        ctx.sizes = sizes(keep)
        ctx.save_for_backward(*keep, *constants)
        return z, logdet

    @staticmethod
    def backward(ctx: Any, grad_z: Tensor, grad_logdet: Tensor) -> Any:
        calls, wants = ctx.calls, ctx.needs_input_grad[2:]
        keep = ctx.saved_tensors[: -2 * len(calls)]
        constants = [one for call in calls for one in (call.low, call.high)]
        if list(map(address, constants)) != ctx.constants_at:
            refuse()
        if torch.is_grad_enabled() or not followed(grad_z, grad_logdet):
            refuse_changed(ctx.given[0], ctx.version)
            refuse_exchanged(ctx.given, keep[3:])
            return None, None, *_by_definition(calls, ctx.given, wants, grad_z, grad_logdet)
        if sizes(keep) != ctx.sizes:
            refuse()
        z, states, saved, x, context, *weights = keep
        z = x if z is None else z
        kept = Kept(None if states is None else states.contiguous(), saved.contiguous())
        weights = [weight.contiguous() for weight in weights]  # a hook may have laid them out anew
        of_z = None if calls[-1].plan.density else grad_z
        grads = _backward(calls, x, context, weights, z, kept, of_z, grad_logdet, wants)
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
