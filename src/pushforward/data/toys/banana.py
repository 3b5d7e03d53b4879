"""A bent Gaussian."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from pushforward.data.toys.base import Toy, log_normal_density, normal

__all__ = ["Banana"]


class Banana(Toy):
    """x = (2a, 0.5 b + a² − 1) with independent standard normal a and b.

    The map has Jacobian 2 · 0.5 = 1, so log p(x) = log N(a) + log N(b) with a = x₀ / 2 and
    b = 2 (x₁ − a² + 1).

    Example:
        >>> Banana().log_prob(torch.tensor([[0.0, -1.0]])).exp()  # 1 / 2π
        tensor([0.1592], dtype=torch.float64)
    """

    name = "banana"

    def _draw(self, n: int, generator: Generator) -> Tensor:
        a, b = normal(n, generator).unbind(-1)
        return torch.stack([2 * a, 0.5 * b + a.square() - 1], -1)

    def _log_prob(self, x: Tensor) -> Tensor:
        a = x[:, 0] / 2
        b = 2 * (x[:, 1] - a.square() + 1)
        return log_normal_density(a, 1.0) + log_normal_density(b, 1.0)
