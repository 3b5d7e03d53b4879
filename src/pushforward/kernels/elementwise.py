"""A map applied by a kernel: differentiable, in every way that its definition is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from pushforward.kernels import library
from pushforward.kernels.dispatch import eager, followed, readable, way
from pushforward.kernels.formula import Formula
from pushforward.kernels.keeping import in_memory, refuse, refuse_exchanged, refuse_others
from pushforward.kernels.library import ELEMENTWISE_CALL

__all__ = ["Definition", "differentiable_gradients", "fitting", "move"]

Definition = Callable[[Tensor, Tensor], "tuple[Tensor, Tensor]"]


class _Call(NamedTuple):
    """All of a call that is no differentiable tensor."""

    definition: Definition
    formula: Formula
    low: Tensor | None
    high: Tensor | None
    inverse: bool


def move(
    definition: Definition,
    formula: Formula | None,
    x: Tensor,
    raw: Tensor,
    low: Tensor | None = None,
    high: Tensor | None = None,
    *,
    inverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """What ``definition(x, raw)`` gives, by a kernel where there is one.

    Args:
        definition: the map in plain PyTorch, in the same direction.
        formula: the map as the kernels know it; None where they do not.
        x: numbers ``(*batch, features)``.
        raw: their parameters ``(*batch, features, width)``.
        low: first constants of the map: lower ends of its boxes, ``()`` or ``(features,)``; or
            places of components.
        high: second constants: upper ends, or slopes.
        inverse: whether it is the inverse.
    """
    shape = x.shape
    if (
        formula is not None
        and formula.fits
        and raw.shape == (*shape, formula.width)
        and shape
        and x.numel()
        and fitting(formula, shape[-1], low, high)
    ):
        tensors = (x, raw) if low is None or high is None else (x, raw, low, high)
        # the usual case first: small batches feel each question
        kind = "kernel" if eager() and readable(tensors) else way(*tensors)
        if kind == "kernel":
            return _apply(_Call(definition, formula, low, high, inverse), x, raw)
        if kind == "operator":
            from pushforward.kernels.operators import move_operator

            return move_operator(formula, x, raw, low, high, inverse)
    return definition(x, raw)


def _apply(call: _Call, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    """By the kernel, differentiably where somebody may differentiate."""
    if not followed():
        return _Move.apply(x, raw, call)  # type: ignore[no-any-return, no-untyped-call]
    if torch.is_grad_enabled() and (x.requires_grad or raw.requires_grad):
        return _Eager.apply(x, raw, call)  # type: ignore[no-any-return, no-untyped-call]
    return _forward(call, x, raw)


def fitting(formula: Formula, boxes: int, low: Tensor | None, high: Tensor | None) -> bool:
    """Whether constants lie in memory as kernels read them, and nobody asks for their gradients.

    Args:
        formula: the map.
        boxes: how many features there are.
        low: first constants.
        high: second constants.
    """
    if low is None or high is None:
        return True
    if low.requires_grad or high.requires_grad or low.shape != high.shape:
        return False
    if low.ndim == 0 and formula.kind == "rational quadratic":
        return not _mapped_over(low, high)
    count = formula.terms if formula.kind == "logistic mixture" else boxes
    if low.shape != (count,) or _mapped_over(low, high):
        return False
    return low.is_contiguous() and high.is_contiguous()


def _has_tangent(one: Tensor) -> bool:
    return forward_ad.unpack_dual(one).tangent is not None  # type: ignore[no-untyped-call]


def _mapped_over(*constants: Tensor) -> bool:
    """Whether each of those that are mapped over has its own, or tangents come with them."""
    if torch.compiler.is_compiling() or followed():
        return False
    return any(
        torch._C._functorch.is_functorch_wrapped_tensor(one)
        or (forward_ad._current_level >= 0 and _has_tangent(one))
        for one in constants
    )


def flat(x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and features of numbers and parameters, as views where that can be."""
    if x.ndim == 2:
        return x, raw
    return x.reshape(-1, x.shape[-1]), raw.reshape(-1, *raw.shape[-2:])


def _constants(call: _Call) -> tuple[int, int, int]:
    """Addresses of the map's constants, and how far apart those of neighbouring features are."""
    low, high = call.low, call.high
    return (
        0 if low is None else low.data_ptr(),
        0 if high is None else high.data_ptr(),
        0 if low is None or low.ndim == 0 else 1,
    )


def _empty(like: Tensor) -> Tensor:
    """Memory for as many numbers, contiguous; naming the format costs as much as the memory."""
    if like.is_contiguous():
        return torch.empty_like(like)
    return torch.empty_like(like, memory_format=torch.contiguous_format)


def _forward(call: _Call, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    if not x.is_cpu:
        from pushforward.kernels.cuda.launch import forward

        return forward(call.formula, call.low, call.high, call.inverse, *flat(x, raw), x.shape)
    z, log_derivative = _empty(x), _empty(x)
    x, raw = flat(x, raw)
    packed = ELEMENTWISE_CALL.pack(
        *_constants(call),
        *x.shape,
        x.data_ptr(),
        *x.stride(),
        raw.data_ptr(),
        *raw.stride(),
        z.data_ptr(),
        log_derivative.data_ptr(),
        *(0, 0, 0, 0, 0, 0, 0, 0),
        call.inverse,
        library.threads(),
    )
    assert library.LIBRARY is not None
    library.LIBRARY.pushforward_elementwise(call.formula.head + packed, x.dtype is torch.float64)
    return z, log_derivative


def _backward(
    call: _Call, x: Tensor, raw: Tensor, z: Tensor, grad_z: Tensor, grad_log: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the number that went in and of its parameters."""
    data = z if call.inverse else x
    grad_x, grad_raw = _empty(x), _empty(raw)
    if x.ndim != 2:
        features = x.shape[-1]
        x, grad_z, grad_log = (t.reshape(-1, features) for t in (x, grad_z, grad_log))
    data, raw = flat(data, raw)
    x, grad_z, grad_log = x.contiguous(), in_memory(grad_z), in_memory(grad_log)
    if not x.is_cpu:
        from pushforward.kernels.cuda.launch import backward

        facts = (call.formula, call.low, call.high, call.inverse)
        backward(*facts, data, x, raw, (grad_z, grad_log), (grad_x, grad_raw))
        return grad_x, grad_raw
    packed = ELEMENTWISE_CALL.pack(
        *_constants(call),
        *x.shape,
        data.data_ptr(),
        *data.stride(),
        raw.data_ptr(),
        *raw.stride(),
        x.data_ptr(),
        0,
        grad_z.data_ptr(),
        grad_log.data_ptr(),
        *grad_z.stride(),
        *grad_log.stride(),
        grad_x.data_ptr(),
        grad_raw.data_ptr(),
        call.inverse,
        library.threads(),
    )
    assert library.LIBRARY is not None
    library.LIBRARY.pushforward_elementwise_backward(
        call.formula.head + packed, x.dtype is torch.float64
    )
    return grad_x, grad_raw


class _Eager(torch.autograd.Function):
    """``_Move`` for plain eager computation: without ``setup_context``, half the time to start."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, raw: Tensor, call: _Call) -> tuple[Tensor, Tensor]:
        z, log_derivative = _forward(call, x, raw)
        ctx.call, ctx.given, ctx.constants_at = call, (x, raw), _constants(call)
        x, raw = x.detach(), raw.detach()  # whoever gives them other memory leaves this alone
        # the constants, too, so that whoever changes them before backward is told
        ctx.save_for_backward(x, raw, z if call.inverse else x, call.low, call.high)
        return z, log_derivative

    @staticmethod
    def backward(ctx: Any, grad_z: Tensor, grad_log: Tensor) -> Any:
        x, raw, z, _, _ = ctx.saved_tensors
        call: _Call = ctx.call
        if torch.is_grad_enabled() or not followed(grad_z, grad_log):
            refuse_exchanged(ctx.given, (x, raw))
            x, raw = ctx.given
            return *_by_definition(call, x, raw, grad_z, grad_log), None
        if _constants(call) != ctx.constants_at or not _belong(call, x, raw, z, grad_z):
            refuse()
        return *_backward(call, x, raw, z, grad_z, grad_log), None


class _Move(torch.autograd.Function):
    """The map of a call. What its kernels do not differentiate, its definition does."""

    @staticmethod
    def forward(x: Tensor, raw: Tensor, call: _Call) -> tuple[Tensor, Tensor]:
        return _forward(call, x, raw)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, raw, ctx.call = inputs
        kept = (x, raw, output[0] if ctx.call.inverse else x)
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)

    @staticmethod
    def backward(ctx: Any, grad_z: Tensor, grad_log: Tensor) -> Any:
        x, raw, z = ctx.saved_tensors
        if torch.is_grad_enabled() or not followed(grad_z, grad_log):
            return *_by_definition(ctx.call, x, raw, grad_z, grad_log), None
        return *_backward(ctx.call, x, raw, z, grad_z, grad_log), None

    @staticmethod
    def jvp(ctx: Any, by_x: Tensor | None, by_raw: Tensor | None, _: Any) -> Any:
        """Each result has its gradient; the tangent is their product with those of the inputs."""
        x, raw, z = ctx.saved_tensors
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        tangents = []
        for pair in ((one, zero), (zero, one)):
            grad_x, grad_raw = _backward(ctx.call, x, raw, z, *pair)
            tangent = torch.zeros_like(x)
            if by_x is not None:
                tangent = tangent + grad_x * by_x
            if by_raw is not None:
                tangent = tangent + (grad_raw * by_raw).sum(-1)
            tangents.append(tangent)
        return tuple(tangents)

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, raw: Tensor, call: _Call) -> Any:
        """What is mapped over is one more dimension of the batch."""
        of_x, of_raw, _ = in_dims
        size = info.batch_size
        x = x.expand(size, *x.shape) if of_x is None else x.movedim(of_x, 0)
        raw = raw.expand(size, *raw.shape) if of_raw is None else raw.movedim(of_raw, 0)
        return _Move.apply(x, raw, call), (0, 0)  # type: ignore[no-untyped-call]


def _belong(call: _Call, x: Tensor, raw: Tensor, z: Tensor, grad_z: Tensor) -> bool:
    """Whether what was kept has the sizes and the type of what comes to backward."""
    count, dtype = grad_z.numel(), grad_z.dtype
    return (
        x.numel() == count == z.numel()
        and raw.numel() == count * call.formula.width
        and x.dtype is dtype
        and raw.dtype is dtype
        and z.dtype is dtype
    )


def _by_definition(
    call: _Call, x: Tensor, raw: Tensor, grad_z: Tensor, grad_log: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients that can be differentiated again."""
    refuse_others(getattr(call.definition, "__self__", None), call.low, call.high)
    wants = [x.requires_grad, raw.requires_grad]
    found = iter(differentiable_gradients(call.definition, (x, raw), wants, (grad_z, grad_log)))
    return next(found) if wants[0] else None, next(found) if wants[1] else None


def differentiable_gradients(
    function: Callable[..., Sequence[Tensor]],
    inputs: Sequence[Tensor | None],
    wants: Sequence[bool],
    grads: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Gradients of a function by the inputs that want one, with a graph of their own.

    One input may depend on another, as parameters do on the numbers that a network saw: views cut
    what leads from one to the other.
    """
    with torch.enable_grad():
        views = [None if one is None else one.view_as(one) for one in inputs]
        results = function(*views)
    # a result that depends on none of them has no gradient
    pairs = [(r, g) for r, g in zip(results, grads, strict=True) if r.requires_grad]
    return torch.autograd.grad(
        [result for result, _ in pairs],
        [view for view, want in zip(views, wants, strict=True) if view is not None and want],
        [grad for _, grad in pairs],
        create_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
