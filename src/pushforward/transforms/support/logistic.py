"""The line and an interval: the logistic function, its inverse, and the hyperbolic tangent."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.transforms.domains.box import Box, box_ends
from pushforward.transforms.support.base import Pointwise, Turned

__all__ = ["Logit", "Sigmoid", "Tanh"]


class Sigmoid(Pointwise):
    """Line to interval, ``z = low + (high - low) / (1 + exp(-x))``.

    Args:
        features: width of x.
        low: lower ends of the interval, a number or ``(features,)``.
        high: upper ends, a number or ``(features,)``.

    Shapes:
        x: ``(*batch, features)``, anywhere; z: the same, in (low, high); logdet: ``(*batch,)``

    Raises:
        ArgumentError: an upper end that is not above its lower end.

    Cost: a few elementwise operations in either direction; exact. Beside an end that is not zero
        numbers are as far apart as its digits permit, so that x of about 16 in float32, or 36 in
        float64, is the farthest that comes back from (0, 1) on the side of one; beside zero 87, or
        708. The logdet keeps all its digits.

    Source: none

    Example:
        >>> Sigmoid(2, -1.0, 1.0)(torch.tensor([0.0, 100.0]))[0]
        tensor([0.0000, 1.0000])
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, features: int, low: float | Tensor = 0.0, high: float | Tensor = 1.0
    ) -> None:
        super().__init__(features)
        ends = box_ends("Sigmoid", low, high, features)
        for name, end in zip(("low", "high"), ends, strict=True):
            self.register_buffer(name, end)

    @property
    def codomain(self) -> Box:
        """The interval, without its ends."""
        return Box(self.low, self.high)

    def _there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        width = self.high - self.low
        # measured from the nearer end, beside which the digits are needed
        z = torch.where(
            x < 0, self.low + width * torch.sigmoid(x), self.high - width * torch.sigmoid(-x)
        )
        return z, functional.logsigmoid(x) + functional.logsigmoid(-x) + width.log()

    def _back(self, z: Tensor) -> tuple[Tensor, Tensor]:
        above, below = (z - self.low).log(), (self.high - z).log()
        return above - below, (self.high - self.low).log() - above - below


class Logit(Turned):
    """Interval to line, ``z = log((x - low) / (high - x))``: the ``Inverse`` of ``Sigmoid``.

    For data between two bounds: ``start=T.Logit(2, low, high)``. Outside, ends included, the
    density is zero.

    Args:
        features: width of x.
        low: lower ends of the interval, a number or ``(features,)``.
        high: upper ends, a number or ``(features,)``.

    Shapes:
        x: ``(*batch, features)``, in (low, high); z: the same, anywhere; logdet: ``(*batch,)``

    Raises:
        ArgumentError: an upper end that is not above its lower end.

    Cost: a few elementwise operations in either direction; exact, as far as ``Sigmoid`` says.

    Source: none

    Example:
        >>> z, logdet = Logit(1)(torch.tensor([[0.5], [1.5]]))
        >>> logdet
        tensor([1.3863,   -inf])
    """

    def __init__(
        self, features: int, low: float | Tensor = 0.0, high: float | Tensor = 1.0
    ) -> None:
        super().__init__(Sigmoid(features, low, high))


class Tanh(Pointwise):
    """Line to (-1, 1), ``z = tanh(x)``. ``Inverse(Tanh(2))`` takes data from there to the line.

    Args:
        features: width of x.

    Shapes:
        x: ``(*batch, features)``, anywhere; z: the same, in (-1, 1); logdet: ``(*batch,)``

    Cost: a few elementwise operations in either direction; exact. Beside the ends numbers are 6e-8
        apart in float32, so that x of about 8.7 (18.7 in float64) is the farthest that comes back.

    Source: none

    Example:
        >>> Tanh(1)(torch.tensor([0.5]))[0]
        tensor([0.4621])
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)

    @property
    def codomain(self) -> Box:
        """(-1, 1)."""
        return Box(-1.0, 1.0)

    def _there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tails = functional.logsigmoid(2.0 * x) + functional.logsigmoid(-2.0 * x)
        return torch.tanh(x), tails + math.log(4.0)

    def _back(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return torch.atanh(z), -torch.log1p(z) - torch.log1p(-z)
