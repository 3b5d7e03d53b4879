"""The constraint that keeps ``a + m tanh(a + b)`` increasing: m stays above -1."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["above_minus_one", "shrink"]

_LARGEST = 1.0 - 1e-3  # of -m: slopes stay above 1/1000, where single precision still inverts


def above_minus_one(a: Tensor) -> Tensor:
    """``m(a) = l expm1(asinh(a / l))``: smooth, increasing, onto ``(-l, inf)``; l = 0.999.

    It leaves small numbers as they are, ``m(a) = a + a^2 / (2 l) + ...``, so that what is bent by
    it, a vector along another one, has no jump where that other one vanishes. And it comes close
    to -l so slowly that nothing underflows.

    Example:
        >>> above_minus_one(torch.tensor([0.0, -1e4]))
        tensor([ 0.0000, -0.9990])
    """
    return a * shrink(a)


def shrink(a: Tensor) -> Tensor:
    """``m(a) / a``: 1 at zero, less below it. Nothing cancels in this form.

    Example:
        >>> shrink(torch.tensor([0.0]))
        tensor([1.])
    """
    t = a / _LARGEST
    return (1.0 + torch.exp(torch.asinh(t))) / (1.0 + torch.hypot(t, torch.ones_like(t)))
