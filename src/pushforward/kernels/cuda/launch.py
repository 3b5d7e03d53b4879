"""The calls of ``kernels.elementwise`` on CUDA tensors: which kernel, with which strides."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
from torch import Tensor

from pushforward.kernels.cuda.affine import affine_backward, affine_move
from pushforward.kernels.cuda.mixture import mixture_backward, mixture_move
from pushforward.kernels.cuda.spline import spline_move
from pushforward.kernels.cuda.spline_backward import spline_backward
from pushforward.kernels.formula import Formula

__all__ = ["backward", "forward"]

_TILE = 4096  # bytes of numbers times bins that a program holds at a time: more leaves registers
_NUMBERS = 128  # of an affine map, which has no bins
_BUILD = {"enable_fp_fusion": True}  # the default, which versions of Triton warn that they change


def forward(
    formula: Formula,
    low: Tensor | None,
    high: Tensor | None,
    inverse: bool,
    x: Tensor,
    raw: Tensor,
    shape: torch.Size,
) -> tuple[Tensor, Tensor]:
    """Value and log-derivative, of a shape, of numbers ``(rows, features)``."""
    z, log_derivative = x.new_empty(shape), x.new_empty(shape)
    numbers = (x, *x.stride(), raw, *raw.stride(), z, log_derivative, x.numel(), x.shape[1])
    kernel, constants, options = _prepared(formula, low, high, inverse, x, 0)
    with _on(x):
        kernel[_grid(x, options)](*numbers, *constants, **options, **_BUILD)
    return z, log_derivative


def backward(
    formula: Formula,
    low: Tensor | None,
    high: Tensor | None,
    inverse: bool,
    data: Tensor,
    given: Tensor,
    raw: Tensor,
    grads: tuple[Tensor, Tensor],
    results: tuple[Tensor, Tensor],
) -> None:
    """Write the gradients of what went in, and of its parameters, into ``results``.

    ``data`` is the number on the side of the data, ``given`` what the direction was applied to;
    all are ``(rows, features)``, ``given`` and the results contiguous.
    """
    kernel, constants, options = _prepared(formula, low, high, inverse, data, 1)
    numbers: list[Any] = [data, *data.stride()]
    if formula.kind == "rational quadratic":
        numbers.append(given)
        constants = (*constants, formula.width)
        options["SLOPES_PADDED"] = triton.next_power_of_2(formula.terms + 1)
    numbers += [raw, *raw.stride()]
    for grad in grads:
        numbers += [grad, *grad.stride()]
    with _on(data):
        kernel[_grid(data, options)](
            *numbers, *results, data.numel(), data.shape[1], *constants, **options, **_BUILD
        )


def _prepared(
    formula: Formula,
    low: Tensor | None,
    high: Tensor | None,
    inverse: bool,
    x: Tensor,
    which: int,
) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """A kernel (0 forward, 1 backward), what it takes besides numbers, and what it is built for."""
    kind = formula.kind
    if kind == "affine":
        options: dict[str, Any] = {"BOUND": formula.bound, "INVERSE": inverse, "BLOCK": _NUMBERS}
        return (affine_move, affine_backward)[which], (), options
    padded = triton.next_power_of_2(formula.terms)
    block = max(_TILE // (padded * x.element_size()), 16)
    options = {"TERMS": formula.terms, "PADDED": padded, "BLOCK": block}
    if kind == "logistic mixture":
        options["SHARE"] = formula.min_slope
        return (mixture_move, mixture_backward)[which], (low, high), options
    options |= {
        "TAILS": formula.tails,
        "MIN_WIDTH": formula.min_width,
        "MIN_HEIGHT": formula.min_height,
        "MIN_SLOPE": formula.min_slope,
        "OFFSET": formula.offset,
        "INVERSE": inverse,
    }
    assert low is not None
    return (spline_move, spline_backward)[which], (low, high, min(low.ndim, 1)), options


def _grid(x: Tensor, options: dict[str, Any]) -> tuple[int]:
    return (triton.cdiv(x.numel(), options["BLOCK"]),)


def _on(x: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device, which need not be that of the numbers."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
