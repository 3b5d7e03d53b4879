"""The black squares of a board."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from pushforward.data.toys.base import Toy, uniform

__all__ = ["Checkerboard"]

_STEPS = 1 << 22


class Checkerboard(Toy):
    """Uniform on 8 of the 16 unit cells of [−2, 2)²: those where ⌊x₀⌋ + ⌊x₁⌋ is even.

    The density is 1/8 there and 0 elsewhere, where ``log_prob`` is -inf.

    Example:
        >>> Checkerboard().log_prob(torch.tensor([[0.5, 0.5], [0.5, 1.5]])).exp()
        tensor([0.1250, 0.0000], dtype=torch.float64)
    """

    name = "checkerboard"

    def _draw(self, n: int, generator: Generator) -> Tensor:
        column = torch.randint(-2, 2, (n,), generator=generator)
        row = 2 * torch.randint(-1, 1, (n,), generator=generator) + column % 2
        corner = torch.stack([column, row], -1)
        # Middles of 2²² steps are exact in float32, so that no point rounds into the next cell.
        within = [(uniform(n, generator) * _STEPS).floor() + 0.5 for _ in range(2)]
        return corner + torch.stack(within, -1) / _STEPS

    def _log_prob(self, x: Tensor) -> Tensor:
        cell = x.detach().floor()
        inside = ((cell >= -2) & (cell < 2)).all(-1) & (cell.sum(-1) % 2 == 0)
        flat = x.clamp(-2, 2).sum(-1) * 0.0  # constant, and differentiable as the others are
        return torch.where(inside, flat - math.log(8), -torch.inf)
