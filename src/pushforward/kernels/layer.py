"""Couplings and masked autoregressions in one kernel each: gather, network, map, scatter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pushforward.kernels import library
from pushforward.kernels.dispatch import followed
from pushforward.kernels.elementwise import differentiable_gradients
from pushforward.kernels.formula import Formula
from pushforward.kernels.library import LAYER_CALL, MOST_LAYERS, Layer

__all__ = [
    "ACTIVATIONS",
    "MOST_LAYERS",
    "Plan",
    "Staircase",
    "chained_widths",
    "retrace_layer",
    "run_layer",
]

ACTIVATIONS = ("relu", "tanh", "elu", "silu")
_BLOCK = 32  # rows that a kernel works on at a time
_NONE = (0,) * MOST_LAYERS


@dataclass(frozen=True)
class Staircase:
    """A masked weight: in these orders of rows and columns, row o sees the first ``limit[o]``."""

    limit: Tensor
    rows: Tensor
    columns: Tensor


class Plan:
    """What does not change about a layer from call to call.

    Args:
        formula: its map.
        features: width of x.
        seen: features that its network reads.
        moved: features that its map moves, in the order of the network's outputs.
        kept: those that stay.
        context: width of its context.
        context_first: whether the network reads the context before the features.
        box_by_feature: whether the map's boxes are those of the features, in their order, or of
            the moved ones.
        activation: one of ``ACTIVATIONS``.
        residual: whether each hidden layer but the first adds to what the one before it summed up.
        widths: of the network: its inputs, hidden layers and outputs.
        stairs: for each linear layer how it is masked; empty where none is.
    """

    def __init__(
        self,
        formula: Formula,
        features: int,
        *,
        seen: Tensor,
        moved: Tensor,
        kept: Tensor,
        context: int,
        context_first: bool,
        box_by_feature: bool,
        activation: str,
        residual: bool,
        widths: Sequence[int],
        stairs: Sequence[Staircase] = (),
    ) -> None:
        self.formula, self.features, self.context = formula, features, context
        self.layers = len(widths) - 1
        self.saved = sum(widths[1:])  # numbers of a row that backward needs
        self.widths = tuple(widths)
        # copies, since the kernels read their memory at every call, whoever changes it
        seen, moved, kept = (index.detach().clone().contiguous() for index in (seen, moved, kept))
        self._alive = (seen, moved, kept, stairs)
        self.boxes = features if box_by_feature else len(moved)
        self.consistent = (
            widths[0] == len(seen) + context
            and widths[-1] == len(moved) * formula.width
            and torch.equal(torch.cat((moved, kept)).sort().values, torch.arange(features))
            and bool((seen >= 0).all() and (seen < features).all())
        )
        fields = Layer(map=formula.fields(None, None))
        fields.map.box_step = 1
        fields.features, fields.context = features, context
        fields.seen, fields.seen_features = len(seen), seen.data_ptr()
        fields.moved, fields.moved_features = len(moved), moved.data_ptr()
        fields.kept, fields.kept_features = len(kept), kept.data_ptr()
        fields.context_first, fields.box_by_feature = context_first, box_by_feature
        fields.activation, fields.residual = ACTIVATIONS.index(activation), residual
        fields.layers = self.layers
        for i in range(self.layers):
            linear = fields.linear[i]
            linear.inputs, linear.outputs = widths[i], widths[i + 1]
            if stairs:
                linear.limit = stairs[i].limit.data_ptr()
                linear.rows = stairs[i].rows.data_ptr()
                linear.columns = stairs[i].columns.data_ptr()
        self._template = bytes(fields)

    def fields(self) -> Layer:
        """The structure that the kernels read, for one call."""
        return Layer.from_buffer_copy(self._template)


def chained_widths(weights: Sequence[Tensor]) -> list[int] | None:
    """Widths of a network from its weights and biases; None if they do not fit each other."""
    widths = [weights[0].shape[-1]]
    for weight, bias in zip(weights[::2], weights[1::2], strict=True):
        if weight.ndim != 2 or weight.shape[1] != widths[-1] or bias.shape != weight.shape[:1]:
            return None
        widths.append(weight.shape[0])
    return widths


Plain = Callable[[Tensor, "Tensor | None", Sequence[Tensor]], "tuple[Tensor, Tensor]"]


@dataclass(frozen=True, slots=True)
class _Call:
    """All of a call that is no differentiable tensor."""

    plan: Plan
    plain: Plain
    low: Tensor | None
    high: Tensor | None
    inverse: bool


def run_layer(
    plan: Plan,
    plain: Plain,
    x: Tensor,
    context: Tensor | None,
    weights: Sequence[Tensor],
    low: Tensor | None,
    high: Tensor | None,
    *,
    inverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """A whole layer: z and logdet.

    Args:
        plan: the layer.
        plain: the same in plain PyTorch, a function of x, context and weights; it is what a second
            derivative is taken of.
        x: ``(*batch, features)``.
        context: ``(*batch, context)`` or None.
        weights: weight and bias of each linear layer in turn.
        low: first constants of the map.
        high: second constants.
        inverse: whether it is the inverse. That of an autoregression has no gradient here.
    """
    call = _Call(plan, plain, low, high, inverse)
    if torch.is_grad_enabled() and (
        x.requires_grad
        or any(weight.requires_grad for weight in weights)
        or (context is not None and context.requires_grad)
    ):
        return _Layer.apply(call, None, x, context, *weights)  # type: ignore[no-any-return, no-untyped-call]
    z, logdet, _ = _forward(call, x, context, weights, keep=False)
    return z, logdet


def retrace_layer(
    plan: Plan,
    plain: Plain,
    end: Tensor,
    context: Tensor | None,
    weights: Sequence[Tensor],
    low: Tensor | None,
    high: Tensor | None,
    *,
    inverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Where a layer began, to be differentiated in; and its end and logdet with their history.

    The way back calls the network for what the layer called it for: what it keeps serves the
    gradients of the layer itself, which is not computed again.

    Args:
        plan: the layer.
        plain: the same in plain PyTorch.
        end: where it ended.
        context: ``(*batch, context)`` or None.
        weights: weight and bias of each linear layer in turn.
        low: first constants of the map.
        high: second constants.
        inverse: which direction it was.
    """
    back = _Call(plan, plain, low, high, not inverse)
    start, logdet, saved = _forward(back, end, context, weights, keep=True)
    start.requires_grad_()
    known = (end.detach(), -logdet, saved)
    call = _Call(plan, plain, low, high, inverse)
    return start, *_Layer.apply(call, known, start, context, *weights)  # type: ignore[no-untyped-call]


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


def _padded(addresses: list[int]) -> list[int]:
    return addresses + [0] * (MOST_LAYERS - len(addresses))


def _forward(
    call: _Call, x: Tensor, context: Tensor | None, weights: Sequence[Tensor], keep: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    plan, flat = call.plan, _rows(x)
    rows = flat.shape[0]
    z, logdet = flat.new_empty(x.shape), flat.new_empty(x.shape[:-1])
    blocks = -(-rows // _BLOCK)
    saved = flat.new_empty(blocks * _BLOCK * plan.saved) if keep else None
    held, address, step = _of_context(context)
    fields = plan.fields()
    LAYER_CALL.pack_into(
        fields,
        0,
        rows,
        flat.data_ptr(),
        z.data_ptr(),
        logdet.data_ptr(),
        address,
        step,
        _address(call.low),
        _address(call.high),
        _address(saved),
        *(0, 0, 0, 0),
        call.inverse,
        library.threads(),
        *_padded([w.data_ptr() for w in weights[::2]]),
        *_padded([w.data_ptr() for w in weights[1::2]]),
        *_NONE,
        *_NONE,
    )
    _check(library.LIBRARY.pushforward_layer(fields, x.dtype is torch.float64))  # type: ignore[union-attr]
    del held
    return z, logdet, saved


def _backward(
    call: _Call,
    x: Tensor,
    context: Tensor | None,
    weights: Sequence[Tensor],
    z: Tensor,
    saved: Tensor,
    grad_z: Tensor,
    grad_logdet: Tensor,
    wants: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of x, context and weights, those that are wanted."""
    flat, out = _rows(x), _rows(z)
    grad_z, grad_logdet = _rows(grad_z.resolve_neg()), grad_logdet.resolve_neg().contiguous()
    held, address, step = _of_context(context)
    grad_x = flat.new_empty(x.shape) if wants[0] else None
    grad_context = flat.new_empty(context.shape) if context is not None and wants[1] else None
    grads = [torch.empty_like(w) for w in weights]
    fields = call.plan.fields()
    LAYER_CALL.pack_into(
        fields,
        0,
        flat.shape[0],
        flat.data_ptr(),
        out.data_ptr(),
        0,
        address,
        step,
        _address(call.low),
        _address(call.high),
        saved.data_ptr(),
        grad_z.data_ptr(),
        grad_logdet.data_ptr(),
        _address(grad_x),
        _address(grad_context),
        call.inverse,
        library.threads(),
        *_padded([w.data_ptr() for w in weights[::2]]),
        *_padded([w.data_ptr() for w in weights[1::2]]),
        *_padded([g.data_ptr() for g in grads[::2]]),
        *_padded([g.data_ptr() for g in grads[1::2]]),
    )
    _check(library.LIBRARY.pushforward_layer_backward(fields, x.dtype is torch.float64))  # type: ignore[union-attr]
    del held
    return [grad_x, grad_context, *grads]


def _check(status: int) -> None:
    if status:
        raise MemoryError("pushforward's kernels found no memory for their intermediate results.")


class _Layer(torch.autograd.Function):
    """A layer whose gradients a kernel finds, and whose second derivatives its definition gives."""

    @staticmethod
    def forward(
        ctx: Any, call: _Call, known: Any, x: Tensor, context: Tensor | None, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        z, logdet, saved = known or _forward(call, x, context, weights, keep=True)
        ctx.call = call
        # the constants, too, so that whoever changes them before backward is told
        constants = (call.low, call.high)
        ctx.save_for_backward(x, context, saved, z if call.inverse else None, *constants, *weights)
        return z, logdet

    @staticmethod
    def backward(ctx: Any, grad_z: Tensor, grad_logdet: Tensor) -> Any:
        x, context, saved, z, _, _, *weights = ctx.saved_tensors
        wants = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled() or not followed(grad_z, grad_logdet):
            inputs = [x, context, *weights]
            return None, None, *_by_definition(ctx.call, inputs, wants, grad_z, grad_logdet)
        z = x if z is None else z
        grads = _backward(ctx.call, x, context, weights, z, saved, grad_z, grad_logdet, wants)
        return None, None, *(g if want else None for g, want in zip(grads, wants, strict=True))


def _by_definition(
    call: _Call,
    inputs: Sequence[Any],
    wants: Sequence[bool],
    grad_z: Tensor,
    grad_logdet: Tensor,
) -> list[Tensor | None]:
    """Gradients that can be differentiated again."""
    found = iter(
        differentiable_gradients(
            lambda x, context, *weights: call.plain(x, context, weights),
            inputs,
            wants,
            (grad_z, grad_logdet),
        )
    )
    return [next(found) if want else None for want in wants]
