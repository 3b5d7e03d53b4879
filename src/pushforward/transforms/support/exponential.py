"""The line and the positive half of it: exponential, logarithm and softplus."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.transforms.domains.box import Box
from pushforward.transforms.support.base import Pointwise, Turned

__all__ = ["Exp", "Log", "Softplus"]


class _ToPositive(Pointwise):
    """Onto the positive numbers."""

    @property
    def codomain(self) -> Box:
        """Above zero."""
        return Box(0.0, math.inf)


class Exp(_ToPositive):
    """Line to positive numbers, ``z = exp(x)``.

    Args:
        features: width of x.

    Shapes:
        x: ``(*batch, features)``, anywhere; z: the same, above zero; logdet: ``(*batch,)``

    Cost: one elementwise operation in either direction; exact. Where exp(x) is no number of the
        precision (x beyond 87 in float32, 708 in float64) z is the farthest one; the logdet is
        that of x.

    Source: none

    Example:
        >>> Exp(2)(torch.tensor([0.0, 1.0]))
        (tensor([1.0000, 2.7183]), tensor(1.))
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)

    def _there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        farthest = math.floor(-math.log(torch.finfo(x.dtype).tiny))
        return torch.exp(x.clamp(-farthest, farthest)), x

    def _back(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = z.log()
        return x, -x


class Log(Turned):
    """Positive numbers to line, ``z = log(x)``: the ``Inverse`` of ``Exp``.

    For positive data: ``start=T.Log(2)``. At zero and below the density is zero.

    Args:
        features: width of x.

    Shapes:
        x: ``(*batch, features)``, above zero; z: the same, anywhere; logdet: ``(*batch,)``

    Cost: one elementwise operation in either direction; exact, as far as ``Exp`` says.

    Source: none

    Example:
        >>> z, logdet = Log(1)(torch.tensor([[0.5], [-0.5]]))
        >>> logdet
        tensor([0.6931,   -inf])
    """

    def __init__(self, features: int) -> None:
        super().__init__(Exp(features))


class Softplus(_ToPositive):
    """Line to positive numbers, ``z = log(1 + exp(x))``, which is close to x where x is large.

    ``Inverse(Softplus(2))`` takes positive data to the line; unlike ``Log`` it leaves large
    numbers as large as they are, and so the tail of the base as heavy as it is.

    Args:
        features: width of x.

    Shapes:
        x: ``(*batch, features)``, anywhere; z: the same, above zero; logdet: ``(*batch,)``

    Cost: a few elementwise operations in either direction; exact. The least x that comes back is
        -87 in float32, -708 in float64.

    Source: none

    Example:
        >>> Softplus(2)(torch.tensor([0.0, 50.0]))[0]
        tensor([ 0.6931, 50.0000])
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)

    def _there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # not functional.softplus, which is off by 2e-9 where it takes x for log(1 + exp(x))
        return -functional.logsigmoid(-x), functional.logsigmoid(x)

    def _back(self, z: Tensor) -> tuple[Tensor, Tensor]:
        missing = torch.log(-torch.expm1(-z))  # x - z = log(1 - exp(-z))
        return z + missing, -missing
