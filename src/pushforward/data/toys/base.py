"""What the toy densities share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor

from pushforward.errors import ArgumentError, ShapeError

__all__ = ["Toy"]


class Toy(ABC):
    """A density in the plane that can be sampled, and evaluated exactly.

    Attributes:
        name: its name in ``TOYS``.
        features: 2.
    """

    name: str
    features = 2
    _rows = 1 << 15  # evaluated at a time, which bounds memory

    def sample(self, n: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
        """Draw points; the same seed gives the same points, and no global state is touched.

        Args:
            n: how many.
            seed: of the generator.
            dtype: float32 or float64; the points are drawn in float64.

        Shapes:
            result: ``(n, 2)``
        """
        if dtype not in (torch.float32, torch.float64):
            raise ArgumentError(
                f"{self.name}.sample: dtype is {dtype}, expected torch.float32 or torch.float64."
            )
        return self._draw(n, Generator().manual_seed(seed)).to(dtype)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log density, nats, computed in float64.

        Shapes:
            x: ``(*batch, 2)``
            result: ``(*batch,)`` in float64

        Raises:
            ShapeError: the last dimension of ``x`` is not 2.
        """
        if x.dim() < 1 or x.shape[-1] != 2:
            raise ShapeError(
                f"{self.name}.log_prob: x has shape {tuple(x.shape)}, expected (*batch, 2)."
            )
        points = x.reshape(-1, 2).to(torch.float64)
        pieces = [self._log_prob(piece) for piece in torch.split(points, self._rows)]
        return torch.cat(pieces).reshape(x.shape[:-1])

    def __repr__(self) -> str:
        return f"<toy density {self.name}>"

    @abstractmethod
    def _draw(self, n: int, generator: Generator) -> Tensor:
        """``n`` points in float64."""

    @abstractmethod
    def _log_prob(self, x: Tensor) -> Tensor:
        """The log density at ``(n, 2)`` points in float64."""


def normal(n: int, generator: Generator) -> Tensor:
    """Standard normal points in the plane, ``(n, 2)`` in float64."""
    return torch.randn(n, 2, generator=generator, dtype=torch.float64)


def uniform(n: int, generator: Generator) -> Tensor:
    """Uniform numbers in [0, 1), ``(n,)`` in float64."""
    return torch.rand(n, generator=generator, dtype=torch.float64)


def log_normal_density(x: Tensor, sd: float) -> Tensor:
    """Log density of a centred normal with standard deviation ``sd``, elementwise."""
    return -0.5 * (x / sd).square() - math.log(sd * math.sqrt(2 * math.pi))
