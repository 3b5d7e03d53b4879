"""Elementary functions of the Triton kernels, exact to the last digits."""

from __future__ import annotations

import os

import triton
import triton.language as tl
from triton.language.extra import libdevice

__all__ = ["clamped", "exp", "log", "log1p", "rounding", "sigmoid", "softplus", "tanh"]

_INTERPRETED = os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")

if _INTERPRETED:
    # Triton's interpreter has no libdevice; its exp and log are NumPy's.

    @triton.jit
    def exp(x):
        """The exponential function."""
        return tl.exp(x)

    @triton.jit
    def log(x):
        """The natural logarithm."""
        return tl.log(x)

    @triton.jit
    def log1p(e):
        """log(1 + e), to the last digits of small e."""
        w = 1.0 + e
        return tl.log(w) + (e - (w - 1.0)) / w  # and what rounding took

    @triton.jit
    def tanh(x):
        """The hyperbolic tangent."""
        a = tl.abs(x)
        far = 1.0 - 2.0 / (tl.exp(tl.where(a > 50.0, 50.0, a) * 2.0) + 1.0)
        return tl.where(x < 0, -far, far) + 0.0 * x  # nan stays one
else:
    # tl.exp and tl.log are the GPU's fast approximations in single precision.

    @triton.jit
    def exp(x):
        """The exponential function."""
        return libdevice.exp(x)

    @triton.jit
    def log(x):
        """The natural logarithm."""
        return libdevice.log(x)

    @triton.jit
    def log1p(e):
        """log(1 + e), to the last digits of small e."""
        return libdevice.log1p(e)

    @triton.jit
    def tanh(x):
        """The hyperbolic tangent."""
        return libdevice.tanh(x)


@triton.jit
def clamped(x, low, high):
    """The value between two ends; a nan stays one, which tl.clamp does not promise."""
    x = tl.where(x < low, low, x)
    return tl.where(x > high, high, x)


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + exp(-x))


@triton.jit
def softplus(x):
    """log(1 + exp(x)), which does not overflow."""
    return tl.where(x > 0, x, 0.0) + log1p(exp(-tl.abs(x)))


@triton.jit
def rounding(x):
    """The distance of 1 to the next number, and the least normal number."""
    if x.dtype == tl.float64:
        eps = tl.full((), 2.220446049250313e-16, tl.float64)
        tiny = tl.full((), 2.2250738585072014e-308, tl.float64)
    else:
        eps = tl.full((), 1.1920928955078125e-07, tl.float32)
        tiny = tl.full((), 1.1754943508222875e-38, tl.float32)
    return eps, tiny
