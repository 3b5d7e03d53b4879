"""The kernels as operators of PyTorch, which compiled programs call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pushforward.kernels import elementwise
from pushforward.kernels.formula import KINDS, TAILS, Formula

__all__ = ["move_operator"]

_DEVICES = ("cpu", "cuda")


def _written(formula: Formula) -> tuple[list[int], list[float]]:
    """A formula as numbers, which is all that an operator takes."""
    whole = [KINDS.index(formula.kind), formula.width, formula.terms, TAILS.index(formula.tails)]
    return whole, [
        formula.bound,
        formula.min_width,
        formula.min_height,
        formula.min_slope,
        formula.offset,
    ]


def _call(
    whole: list[int], real: list[float], low: Tensor | None, high: Tensor | None, inverse: bool
) -> Any:
    formula = Formula(KINDS[whole[0]], whole[1], whole[2], TAILS[whole[3]], *real)
    return elementwise._Call(_no_definition, formula, low, high, inverse)


def _no_definition(x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    raise AssertionError("an operator is not differentiated twice")


@torch.library.custom_op("pushforward::move", mutates_args=(), device_types=_DEVICES)
def _move(
    x: Tensor,
    raw: Tensor,
    low: Tensor | None,
    high: Tensor | None,
    whole: list[int],
    real: list[float],
    inverse: bool,
) -> tuple[Tensor, Tensor]:
    return elementwise._forward(
        _call(whole, real, low, high, inverse), x.resolve_neg(), raw.resolve_neg()
    )


@_move.register_fake
def _(
    x: Tensor,
    raw: Tensor,
    low: Tensor | None,
    high: Tensor | None,
    whole: list[int],
    real: list[float],
    inverse: bool,
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape)


@torch.library.custom_op("pushforward::move_backward", mutates_args=(), device_types=_DEVICES)
def _move_backward(
    x: Tensor,
    raw: Tensor,
    z: Tensor,
    grad_z: Tensor,
    grad_log: Tensor,
    low: Tensor | None,
    high: Tensor | None,
    whole: list[int],
    real: list[float],
    inverse: bool,
) -> tuple[Tensor, Tensor]:
    call = _call(whole, real, low, high, inverse)
    return elementwise._backward(call, x, raw, z, grad_z, grad_log)


@_move_backward.register_fake
def _(
    x: Tensor,
    raw: Tensor,
    z: Tensor,
    grad_z: Tensor,
    grad_log: Tensor,
    low: Tensor | None,
    high: Tensor | None,
    whole: list[int],
    real: list[float],
    inverse: bool,
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), raw.new_empty(raw.shape)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    x, raw, low, high, ctx.whole, ctx.real, ctx.inverse = inputs
    ctx.save_for_backward(x, raw, output[0], low, high)


def _gradients(ctx: Any, grad_z: Tensor, grad_log: Tensor) -> Any:
    x, raw, z, low, high = ctx.saved_tensors
    facts = (low, high, ctx.whole, ctx.real, ctx.inverse)
    grads = torch.ops.pushforward.move_backward(x, raw, z, grad_z, grad_log, *facts)
    return *grads, None, None, None, None, None


_move.register_autograd(_gradients, setup_context=_setup)


def move_operator(
    formula: Formula,
    x: Tensor,
    raw: Tensor,
    low: Tensor | None,
    high: Tensor | None,
    inverse: bool,
) -> tuple[Tensor, Tensor]:
    """A map as one operator of a compiled program."""
    whole, real = _written(formula)
    moved: tuple[Tensor, Tensor] = torch.ops.pushforward.move(
        x, raw, low, high, whole, real, inverse
    )
    return moved
