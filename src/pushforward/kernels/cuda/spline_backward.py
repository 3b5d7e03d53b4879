"""Gradients of the rational-quadratic spline in either direction."""

from __future__ import annotations

import triton
import triton.language as tl

from pushforward.kernels.cuda.functions import clamped, sigmoid
from pushforward.kernels.cuda.spline import find, position, rise

__all__ = ["spline_backward"]


@triton.jit
def _of_logits(to, share, left, right, index, j, live, LEAST: tl.constexpr, TERMS: tl.constexpr):
    """From the gradients of a bin's ends to those of the logits of all shares."""
    at, before = j == index[:, None], j < index[:, None]
    both = (left + right)[:, None]
    own = tl.where(before, both, 0.0)
    own = tl.where(at, right[:, None], own)
    mean = tl.sum(own * share, 1)
    rest = tl.full((), 1.0 - TERMS * LEAST, share.dtype)
    tl.store(to[:, None] + j, rest * share * (own - mean[:, None]), live & (j < TERMS))


@triton.jit
def _of_slopes(to, g0, g1, index, there, TERMS: tl.constexpr, TAILS: tl.constexpr,
               PADDED: tl.constexpr):  # fmt: skip
    """Each slope gets the gradients of the bin's ends that it is the slope of."""
    slopes: tl.constexpr = TERMS + 1 if TAILS == "linear" or TAILS == "none" else (
        TERMS if TAILS == "circular" else TERMS - 1)  # fmt: skip
    j = tl.arange(0, PADDED)[None, :]
    left, right = index, index + 1
    if TAILS == "identity":
        left -= 1
        right -= 1
    elif TAILS == "circular":
        right = right % TERMS
    grad = tl.where(j == left[:, None], g0[:, None], 0.0)
    grad += tl.where(j == right[:, None], g1[:, None], 0.0)
    tl.store(to[:, None] + j, grad, there[:, None] & (j < slopes))


@triton.jit
def spline_backward(
    data, data_row, data_feature, given, raw, raw_row, raw_feature, raw_step,
    grad_z, grad_z_row, grad_z_feature, grad_log, grad_log_row, grad_log_feature,
    grad_x, grad_raw, count, features, low, high, box_step, width,
    TERMS: tl.constexpr, TAILS: tl.constexpr, MIN_WIDTH: tl.constexpr, MIN_HEIGHT: tl.constexpr,
    MIN_SLOPE: tl.constexpr, OFFSET: tl.constexpr, INVERSE: tl.constexpr, PADDED: tl.constexpr,
    SLOPES_PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients at the number on the side of the data, by the formulas of the C kernel.

    For the inverse, with A = grad_x - grad_log l' where l is the log-slope, those of the function
    theorem: grad_z = A / h', and the parameters get what forward would give them for
    (-A / h', -grad_log). ``given`` is what the direction was applied to.
    """
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = n < count
    row, feature = n // features, n % features
    number = tl.load(data + row * data_row + feature * data_feature, there, other=0.0)
    was = tl.load(given + n, there, other=0.0)
    up = tl.load(grad_z + row * grad_z_row + feature * grad_z_feature, there, other=0.0)
    gl = tl.load(grad_log + row * grad_log_row + feature * grad_log_feature, there, other=0.0)
    first = raw + row * raw_row + feature * raw_feature
    start = tl.load(low + feature * box_step, there, other=0.0)
    end = tl.load(high + feature * box_step, there, other=1.0)
    size = end - start
    u, over, index, x0, x1, y0, y1, d0, d1, seen0, seen1, bend0, bend1, wide, tall = find(
        was, first, raw_step, there, start, end,
        TERMS, TAILS, MIN_WIDTH, MIN_HEIGHT, MIN_SLOPE, OFFSET, INVERSE, PADDED,
    )  # fmt: skip
    w, h = x1 - x0, y1 - y0
    s = h / w
    # The place in the bin is that of what was given, more exact than what x was rounded to, and
    # so is what lay outside.
    if INVERSE:
        xi = position(u - y0, h, s, d0, d1)
        over = number - clamped(number, start, end)
    else:
        xi = clamped((u - x0) / w, 0.0, 1.0)
    if TAILS == "circular":
        under, past = was != was, was != was
        under, past = under & False, past & False
    else:
        under, past = was < start, was > end
    outside = under | past
    edge = tl.where(past, d1, d0)
    if TAILS == "linear":
        tail = edge
    elif TAILS == "identity":
        tail = tl.full(edge.shape, 1.0, edge.dtype)
    else:
        tail = tl.full(edge.shape, 0.0, edge.dtype)
    numerator, below, above = rise(xi, s, d0, d1)
    rest, q, turn = 1.0 - xi, xi * (1.0 - xi), 1.0 - 2.0 * xi
    excess = d1 + d0 - 2.0 * s
    ib, ia = 1.0 / below, 1.0 / above
    ratio = s * ib
    within = ratio * ratio * above
    # of the log-slope by xi
    log_xi = (2.0 * (d1 * xi - d0 * rest + s * turn)) * ia - 2.0 * excess * turn * ib
    if INVERSE:
        slope = tl.where(outside, tail, within)
        along = up - gl * tl.where(outside, 0.0, log_xi / (w * size))
        back = tl.where(slope == 0, 0.0, along / tl.where(slope == 0, 1.0, slope))
        up, gl = -back, -gl
    gv, gi = tl.where(outside, 0.0, up * size), tl.where(outside, 0.0, gl)
    gxi = gv * (w * within) + gi * log_xi
    flat, turned = h * ib * ib, 1.0 - 2.0 * q
    gs = gv * flat * (xi * xi * below - numerator * turned)
    gs += gi * (2.0 / s - 2.0 * turned * ib + 2.0 * q * ia)
    gd0 = gv * flat * q * (below - numerator) + gi * (rest * rest * ia - 2.0 * q * ib)
    gd1 = -gv * flat * q * numerator + gi * (xi * xi * ia - 2.0 * q * ib)
    iw = 1.0 / w
    gw, gh = -gxi * xi * iw - gs * s * iw, gv * numerator * ib + gs * iw
    if not INVERSE:
        back = tl.where(outside, up * tail, gxi * iw / size)
    tl.store(grad_x + n, back, there)
    if TAILS == "linear":  # it goes on with the slope of the outermost knot
        by_tail = up * over + gl / edge
        gd0 += tl.where(under, by_tail, 0.0)
        gd1 += tl.where(past, by_tail, 0.0)
    j = tl.arange(0, PADDED)[None, :]
    live, last = there[:, None] & (j < TERMS), index == TERMS - 1  # whose right knot is pinned
    to = grad_raw + n * width
    left, right = -gxi * iw - gw, tl.where(last, 0.0, gw)
    _of_logits(to, wide, left, right, index, j, live, MIN_WIDTH, TERMS)
    left, right = gv - gh, tl.where(last, 0.0, gh)
    _of_logits(to + TERMS, tall, left, right, index, j, live, MIN_HEIGHT, TERMS)
    g0, g1 = gd0 * bend0 * sigmoid(seen0), gd1 * bend1 * sigmoid(seen1)
    _of_slopes(to + 2 * TERMS, g0, g1, index, there, TERMS, TAILS, SLOPES_PADDED)
