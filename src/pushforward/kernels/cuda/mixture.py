"""The logit of a mixture of logistic distribution functions, scaled and shifted.

``maps/sigmoidal/logistic_mixture.py`` defines it, and ``csrc/logistic_mixture.h`` is the same in C,
where the formulas are explained. Its inverse is numeric, and calls this.
"""

from __future__ import annotations

import triton
import triton.language as tl

from pushforward.kernels.cuda.functions import exp, log, log1p, tanh

__all__ = ["mixture_backward", "mixture_move"]


@triton.jit
def _bounded_log(raw):
    """3 tanh(raw / 3), and its derivative."""
    t = tanh(raw / 3.0)
    return 3.0 * t, 1.0 - t * t


@triton.jit
def _read(number, first, step, there, places, steep, TERMS: tl.constexpr, PADDED: tl.constexpr):
    """The components at the numbers, their weights in both tails, and the logit."""
    j = tl.arange(0, PADDED)[None, :]
    real = j < TERMS
    live, to = there[:, None] & real, first[:, None]
    logits = tl.load(to + j * step, live, other=0.0)
    mean = tl.load(to + (TERMS + j) * step, live, other=0.0)
    log_scale = tl.load(to + (2 * TERMS + j) * step, live, other=0.0)
    mean += tl.load(places + j, real, other=0.0)
    bounded, bend = _bounded_log(-log_scale)
    slope = tl.load(steep + j, real, other=1.0) * exp(bounded)
    kept = tl.where(real, logits, -float("inf"))
    most = tl.max(kept, 1)[:, None]
    weight = exp(kept - most)
    total = tl.sum(weight, 1)[:, None]
    log_weight = logits - (most + log(total))
    u = (number[:, None] - mean) * slope
    e = exp(-tl.abs(u))
    log_up = -(tl.where(u < 0, -u, 0.0) + log1p(e))
    near = 1.0 / (1.0 + e)
    far = e * near
    gate, shut = tl.where(u < 0, far, near), tl.where(u < 0, near, far)
    up = tl.where(real, log_weight + log_up, -float("inf"))
    down = tl.where(real, log_weight + (log_up - u), -float("inf"))
    top, bottom = tl.max(up, 1), tl.max(down, 1)
    up, down = exp(up - top[:, None]), exp(down - bottom[:, None])
    up_sum, down_sum = tl.sum(up, 1), tl.sum(down, 1)
    logit = (top - bottom) + log(up_sum / down_sum)
    up, down = up / up_sum[:, None], down / down_sum[:, None]
    return weight / total, up, down, slope, bend, u, gate, shut, logit


@triton.jit
def _rise(number, up, down, slope, gate, shut, logit, SHARE: tl.constexpr):
    """Value and slope with the line mixed in, and the slope's two parts."""
    share = tl.full((), SHARE, number.dtype)
    rise_up, rise_down = tl.sum(up * (slope * shut), 1), tl.sum(down * (slope * gate), 1)
    whole = rise_up + rise_down
    whole = whole + share * (1.0 - whole)
    return logit + share * (number - logit), whole, rise_up, rise_down, share


@triton.jit
def mixture_move(
    x, x_row, x_feature, raw, raw_row, raw_feature, raw_step, z, log_derivative, count, features,
    places, steep, TERMS: tl.constexpr, SHARE: tl.constexpr, PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """A block of numbers, forward."""
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = n < count
    row, feature = n // features, n % features
    number = tl.load(x + row * x_row + feature * x_feature, there, other=0.0)
    first = raw + row * raw_row + feature * raw_feature
    _, up, down, slope, _, _, gate, shut, logit = _read(
        number, first, raw_step, there, places, steep, TERMS, PADDED
    )
    value, whole, _, _, _ = _rise(number, up, down, slope, gate, shut, logit, SHARE)
    scale, _ = _bounded_log(tl.load(first + 3 * TERMS * raw_step, there, other=0.0))
    shift = tl.load(first + (3 * TERMS + 1) * raw_step, there, other=0.0)
    tl.store(z + n, value * exp(scale) + shift, there)
    tl.store(log_derivative + n, log(whole) + scale, there)


@triton.jit
def mixture_backward(
    x, x_row, x_feature, raw, raw_row, raw_feature, raw_step,
    grad_z, grad_z_row, grad_z_feature, grad_log, grad_log_row, grad_log_feature,
    grad_x, grad_raw, count, features, places, steep,
    TERMS: tl.constexpr, SHARE: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of the forward direction."""
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = n < count
    row, feature = n // features, n % features
    number = tl.load(x + row * x_row + feature * x_feature, there, other=0.0)
    gz = tl.load(grad_z + row * grad_z_row + feature * grad_z_feature, there, other=0.0)
    gl = tl.load(grad_log + row * grad_log_row + feature * grad_log_feature, there, other=0.0)
    first = raw + row * raw_row + feature * raw_feature
    weight, up, down, slope, bend, u, gate, shut, logit = _read(
        number, first, raw_step, there, places, steep, TERMS, PADDED
    )
    value, whole, rise_up, rise_down, share = _rise(
        number, up, down, slope, gate, shut, logit, SHARE
    )
    log_scale, bend_of_scale = _bounded_log(tl.load(first + 3 * TERMS * raw_step, there, other=0.0))
    scale, keep = exp(log_scale), 1.0 - share
    width: tl.constexpr = 3 * TERMS + 2
    to = grad_raw + n * width
    tl.store(to + 3 * TERMS, (gz * value * scale + gl) * bend_of_scale, there)
    tl.store(to + 3 * TERMS + 1, gz, there)
    gy, gr = (gz * scale * keep)[:, None], (gl * keep / whole)[:, None]
    p, q = slope * shut, slope * gate
    ga = up * (gy + gr * (p - rise_up[:, None]))
    gb = down * (gr * (q - rise_down[:, None]) - gy)
    gp, gq = gr * up, gr * down
    gu = ga * shut - gb * gate + (gq - gp) * slope * gate * shut
    gs = gp * shut + gq * gate + gu * u / slope
    tl.store(grad_x + n, gz * scale * share + tl.sum(gu * slope, 1), there)
    j = tl.arange(0, PADDED)[None, :]
    live, to = there[:, None] & (j < TERMS), to[:, None] + j
    both = ga + gb
    tl.store(to, both - weight * tl.sum(both, 1)[:, None], live)
    tl.store(to + TERMS, -gu * slope, live)
    tl.store(to + 2 * TERMS, -gs * slope * bend, live)
