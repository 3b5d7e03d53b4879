"""The quadrature that is exact for polynomials of the highest degree, to all digits."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["floating", "gauss_legendre"]

_ONE = 2.0**53  # as an integer; what float64 tells apart below 1


def gauss_legendre(points: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [0, 1], exact for polynomials of degree ``2 * points - 1``.

    They come as integers, in units of 2 ** -53, and so can be buffers of a module: its floating
    buffers are rounded for good when it visits float32.

    Args:
        points: number of nodes.

    Shapes:
        nodes, weights: ``(points,)``

    Example:
        >>> nodes, weights = (floating(part, torch.float64) for part in gauss_legendre(3))
        >>> round(float((weights * nodes**5).sum()), 12) == round(1 / 6, 12)
        True
    """
    from numpy.polynomial.legendre import leggauss

    nodes, weights = (torch.from_numpy(part) for part in leggauss(points))
    on_unit = (0.5 + 0.5 * nodes, 0.5 * weights)
    nodes, weights = ((part * _ONE).round().long() for part in on_unit)
    return nodes, weights


def floating(integers: Tensor, dtype: torch.dtype) -> Tensor:
    """The numbers that integers in units of 2 ** -53 stand for."""
    return integers.to(dtype) / _ONE
