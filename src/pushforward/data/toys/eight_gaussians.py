"""Eight Gaussians on a circle."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from pushforward.data.toys.base import Toy, log_normal_density, normal

__all__ = ["EightGaussians"]


class EightGaussians(Toy):
    """Eight equal isotropic Gaussians, sd 0.5, centred at (4 cos kπ/4, 4 sin kπ/4), k = 0 … 7.

    Example:
        >>> density = EightGaussians()
        >>> float(density.log_prob(density.sample(1000)).mean().round(decimals=1))
        -3.5
    """

    name = "eight_gaussians"

    def _draw(self, n: int, generator: Generator) -> Tensor:
        index = torch.randint(8, (n,), generator=generator)
        return _centres()[index] + 0.5 * normal(n, generator)

    def _log_prob(self, x: Tensor) -> Tensor:
        away = x[:, None, :] - _centres().to(x.device)
        return log_normal_density(away, 0.5).sum(-1).logsumexp(-1) - math.log(8)


def _centres() -> Tensor:
    angles = torch.arange(8, dtype=torch.float64) * (math.pi / 4)
    return 4 * torch.stack([angles.cos(), angles.sin()], -1)
