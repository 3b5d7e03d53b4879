"""The monotone rational-quadratic spline, forward and inverse.

``maps/splines/rational_quadratic.py`` defines it, and ``csrc/rational_quadratic.h`` is the same in
C. A program takes a block of numbers; their bins are the second dimension of its tiles.
"""

from __future__ import annotations

import triton
import triton.language as tl

from pushforward.kernels.cuda.functions import clamped, exp, log, rounding, softplus, tanh

__all__ = ["find", "position", "rise", "spline_move"]


@triton.jit
def _shares(first, step, there, j, TERMS: tl.constexpr):
    """Shares of the box from their logits: a softmax."""
    live = there[:, None] & (j < TERMS)
    logits = tl.load(first[:, None] + j * step, live, other=0.0)
    logits = tl.where(j < TERMS, logits, -float("inf"))
    e = exp(logits - tl.max(logits, 1)[:, None])
    return e / tl.sum(e, 1)[:, None]


@triton.jit
def _knots(share, LEAST: tl.constexpr, TERMS: tl.constexpr):
    """The right end of each bin but the last, whose end is exactly 1."""
    least = tl.full((), LEAST, share.dtype)
    rest = tl.full((), 1.0 - TERMS * LEAST, share.dtype)
    return tl.cumsum(share * rest + least, 1)


@triton.jit
def _ends(knot, index, j, TERMS: tl.constexpr):
    """Both ends of the bin; taken by its place, so that a nan gets through."""
    left = tl.sum(tl.where(j == (index - 1)[:, None], knot, 0.0), 1)
    right = tl.sum(tl.where(j == index[:, None], knot, 0.0), 1)
    return left, tl.where(index == TERMS - 1, 1.0, right)


@triton.jit
def _slope(first, step, there, knot, TERMS: tl.constexpr, TAILS: tl.constexpr):
    """What softplus sees of the parameter of a slope, and its derivative by the parameter."""
    if TAILS == "identity":
        there = there & (knot > 0) & (knot < TERMS)
        free = tl.load(first + (2 * TERMS + knot - 1) * step, there, other=0.0)
    elif TAILS == "circular":
        free = tl.load(first + (2 * TERMS + knot % TERMS) * step, there, other=0.0)
    else:
        free = tl.load(first + (2 * TERMS + knot) * step, there, other=0.0)
    bend = tl.full(free.shape, 1.0, free.dtype)
    if TAILS == "linear":  # its slope is bounded
        t = tanh(0.5 * free)
        end = (knot == 0) | (knot == TERMS)
        free = tl.where(end, 2.0 * t, free)
        bend = tl.where(end, 1.0 - t * t, bend)
    return free, bend


@triton.jit
def find(
    x, first, step, there, low, high,
    TERMS: tl.constexpr, TAILS: tl.constexpr, MIN_WIDTH: tl.constexpr, MIN_HEIGHT: tl.constexpr,
    MIN_SLOPE: tl.constexpr, OFFSET: tl.constexpr, UPWARD: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    """Where numbers stand in their box, their bins, and the bins' ends and slopes."""
    j = tl.arange(0, PADDED)[None, :]
    size = high - low
    if TAILS == "circular":
        u = (x - low) / size
        u = clamped(u - tl.floor(u), 0.0, 1.0)
        over = 0.0 * size
    else:
        at = clamped(x, low, high)
        over = tl.where(x == at, 0.0, x - at)
        u = (at - low) / size
    wide = _shares(first, step, there, j, TERMS)
    tall = _shares(first + TERMS * step, step, there, j, TERMS)
    across, up = _knots(wide, MIN_WIDTH, TERMS), _knots(tall, MIN_HEIGHT, TERMS)
    along = up if UPWARD else across
    index = tl.sum(((u[:, None] >= along) & (j < TERMS - 1)).to(tl.int32), 1)
    x0, x1 = _ends(across, index, j, TERMS)
    y0, y1 = _ends(up, index, j, TERMS)
    seen0, bend0 = _slope(first, step, there, index, TERMS, TAILS)
    seen1, bend1 = _slope(first, step, there, index + 1, TERMS, TAILS)
    offset, least = tl.full((), OFFSET, x.dtype), tl.full((), MIN_SLOPE, x.dtype)
    seen0 += offset
    seen1 += offset
    d0, d1 = softplus(seen0) + least, softplus(seen1) + least
    return u, over, index, x0, x1, y0, y1, d0, d1, seen0, seen1, bend0, bend1, wide, tall


@triton.jit
def rise(xi, s, d0, d1):
    """Numerator and denominator of the spline, and what its slope is made of besides."""
    q, rest = xi * (1.0 - xi), 1.0 - xi
    below = s + (d1 + d0 - 2.0 * s) * q
    above = d1 * xi * xi + 2.0 * s * q + d0 * rest * rest
    return s * xi * xi + d0 * q, below, above


@triton.jit
def _root(a, b, c):
    """Root in [0, 1] of a xi^2 + b xi + c, on the branch that does not cancel."""
    eps, tiny = rounding(b)
    small = eps * b
    disc = b * b - 4.0 * a * c
    least = small * small + tiny
    disc = tl.where(disc < least, least, disc)
    far = tl.abs(b) + tl.sqrt(disc)
    above = tl.where(b >= 0, -2.0 * c, far)
    below = tl.where(b >= 0, far, 2.0 * a)
    safe = tl.abs(below) > tiny
    root = above / tl.where(safe, below, 1.0)
    return clamped(tl.where(safe, root, 0.0), 0.0, 1.0)


@triton.jit
def position(risen, h, s, d0, d1):
    """Where in its bin the spline has risen so far: by the formula and one Newton step."""
    eps, _ = rounding(s)
    excess = d1 + d0 - 2.0 * s
    bend = risen * excess
    xi = _root(h * (s - d0) + bend, h * d0 - bend, -s * risen)
    q, turn = xi * (1.0 - xi), 1.0 - 2.0 * xi
    gap = h * (s * xi * xi + d0 * q) - risen * (s + excess * q)
    steep = h * (2.0 * s * xi + d0 * turn) - risen * excess * turn
    least = eps * h * (s + d0 + d1)
    return clamped(xi - gap / tl.where(steep < least, least, steep), 0.0, 1.0)


@triton.jit
def spline_move(
    x, x_row, x_feature, raw, raw_row, raw_feature, raw_step, z, log_derivative, count, features,
    low, high, box_step,
    TERMS: tl.constexpr, TAILS: tl.constexpr, MIN_WIDTH: tl.constexpr, MIN_HEIGHT: tl.constexpr,
    MIN_SLOPE: tl.constexpr, OFFSET: tl.constexpr, INVERSE: tl.constexpr, PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """A block of numbers in either direction."""
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = n < count
    row, feature = n // features, n % features
    number = tl.load(x + row * x_row + feature * x_feature, there, other=0.0)
    first = raw + row * raw_row + feature * raw_feature
    start = tl.load(low + feature * box_step, there, other=0.0)
    end = tl.load(high + feature * box_step, there, other=1.0)
    u, over, _, x0, x1, y0, y1, d0, d1, _, _, _, _, _, _ = find(
        number, first, raw_step, there, start, end,
        TERMS, TAILS, MIN_WIDTH, MIN_HEIGHT, MIN_SLOPE, OFFSET, INVERSE, PADDED,
    )  # fmt: skip
    w, h = x1 - x0, y1 - y0
    s, inside = h / w, over == 0
    if TAILS == "linear":
        tail = tl.where(over > 0, d1, d0)
    elif TAILS == "identity":
        tail = tl.full(d0.shape, 1.0, d0.dtype)
    else:  # nothing is there, and the logarithm of 0 says so
        tail = tl.full(d0.shape, 0.0, d0.dtype)
    if INVERSE:
        xi = position(u - y0, h, s, d0, d1)
        _, below, above = rise(xi, s, d0, d1)
        flat = tl.where(tail == 0, 1.0, tail)
        value = start + (end - start) * (x0 + xi * w) + tl.where(tail == 0, 0.0, over / flat)
        ratio = s / below
        slope = -log(tl.where(inside, ratio * ratio * above, flat))
        slope = tl.where((over != 0) & (tail == 0), -float("inf"), slope)
    else:
        xi = clamped((u - x0) / w, 0.0, 1.0)
        above_line, below, above = rise(xi, s, d0, d1)
        value = start + (end - start) * (y0 + h * above_line / below) + over * tail
        ratio = s / below
        slope = log(tl.where(inside, ratio * ratio * above, tail))
    tl.store(z + n, value, there)
    tl.store(log_derivative + n, slope, there)
