"""Signed numbers over many orders of magnitude."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.transforms.support.base import Pointwise

__all__ = ["Asinh"]


class Asinh(Pointwise):
    """Line to line, ``z = asinh(x / scale)``: x near zero, the logarithm of its size far out.

    For columns of either sign that span many orders of magnitude: ``start=T.Asinh(2)``.

    Args:
        features: width of x.
        scale: size of x at which straight turns into logarithmic.

    Shapes:
        x, z: ``(*batch, features)``; logdet: ``(*batch,)``

    Raises:
        ArgumentError: a scale that is not positive.

    Cost: a few elementwise operations in either direction; exact. Where sinh(z) is no number of
        the precision (z beyond 87 in float32, 708 in float64) x is the farthest one; the logdet is
        that of z.

    Source: none

    Example:
        >>> Asinh(1)(torch.tensor([[1.0], [1e6]]))[0]
        tensor([[ 0.8814],
                [14.5087]])
    """

    def __init__(self, features: int, scale: float = 1.0) -> None:
        super().__init__(features)
        if not 0.0 < scale < math.inf:
            raise ArgumentError(f"Asinh: scale is {scale}, expected a positive number.")
        self.scale = float(scale)

    def _there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u = x / self.scale
        return torch.asinh(u), -torch.hypot(u, torch.ones_like(u)).log() - math.log(self.scale)

    def _back(self, z: Tensor) -> tuple[Tensor, Tensor]:
        farthest = math.floor(-math.log(torch.finfo(z.dtype).tiny))
        x = self.scale * torch.sinh(z.clamp(-farthest, farthest))
        # log cosh z, without the exponential of a large number
        log_cosh = z.abs() + functional.softplus(-2.0 * z.abs()) - math.log(2.0)
        return x, log_cosh + math.log(self.scale)
