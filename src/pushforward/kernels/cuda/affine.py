"""``z = exp(s) x + t`` with ``s = bound tanh(raw / bound)``; ``maps/affine.py`` defines it."""

from __future__ import annotations

import triton
import triton.language as tl

from pushforward.kernels.cuda.functions import exp, tanh

__all__ = ["affine_backward", "affine_move"]


@triton.jit
def _log_scale(raw, bound: tl.constexpr):
    wide = tl.full((), bound, raw.dtype)
    t = tanh(raw / wide)
    return wide * t, 1.0 - t * t


@triton.jit
def affine_move(
    x, x_row, x_feature, raw, raw_row, raw_feature, raw_step, z, log_derivative, count, features,
    BOUND: tl.constexpr, INVERSE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A block of numbers in either direction."""
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = n < count
    row, feature = n // features, n % features
    number = tl.load(x + row * x_row + feature * x_feature, there, other=0.0)
    first = raw + row * raw_row + feature * raw_feature
    s, _ = _log_scale(tl.load(first, there, other=0.0), BOUND)
    shift = tl.load(first + raw_step, there, other=0.0)
    if INVERSE:
        tl.store(z + n, (number - shift) * exp(-s), there)
        tl.store(log_derivative + n, -s, there)
    else:
        tl.store(z + n, number * exp(s) + shift, there)
        tl.store(log_derivative + n, s, there)


@triton.jit
def affine_backward(
    data, data_row, data_feature, raw, raw_row, raw_feature, raw_step,
    grad_z, grad_z_row, grad_z_feature, grad_log, grad_log_row, grad_log_feature,
    grad_x, grad_raw, count, features,
    BOUND: tl.constexpr, INVERSE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients, at the number on the side of the data."""
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = n < count
    row, feature = n // features, n % features
    number = tl.load(data + row * data_row + feature * data_feature, there, other=0.0)
    up = tl.load(grad_z + row * grad_z_row + feature * grad_z_feature, there, other=0.0)
    gl = tl.load(grad_log + row * grad_log_row + feature * grad_log_feature, there, other=0.0)
    first = raw + row * raw_row + feature * raw_feature
    s, bend = _log_scale(tl.load(first, there, other=0.0), BOUND)
    scale = exp(s)
    if INVERSE:
        back = up * exp(-s)
        up = -back
        gl = -gl
    else:
        back = up * scale
    tl.store(grad_x + n, back, there)
    tl.store(grad_raw + n * 2, (up * number * scale + gl) * bend, there)
    tl.store(grad_raw + n * 2 + 1, up, there)
