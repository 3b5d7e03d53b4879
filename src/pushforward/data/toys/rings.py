"""Four concentric rings."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from pushforward.data.toys.base import Toy, log_normal_density, uniform

__all__ = ["Rings"]

_NEAREST = 1e-12


class Rings(Toy):
    """Rings of radius 0.5, 1, 1.5 and 2, equally likely.

    The radius is |N(R, 0.08²)| and the angle uniform, so p(x) = Σ_R ¼ [N(ρ; R) + N(−ρ; R)] / 2πρ
    with ρ = |x|. At the origin this grows like 2·10⁻⁹ / ρ; there ρ is taken to be at least 10⁻¹²,
    which moves a mass of less than 10⁻¹⁹ and keeps the density finite.

    Example:
        >>> density = Rings()
        >>> bool(density.log_prob(torch.tensor([[1.0, 0.0], [0.75, 0.0]])).diff() < -3)
        True
    """

    name = "rings"

    def _draw(self, n: int, generator: Generator) -> Tensor:
        ring = torch.randint(4, (n,), generator=generator)
        radius = _radii()[ring] + 0.08 * torch.randn(n, generator=generator, dtype=torch.float64)
        angle = 2 * math.pi * uniform(n, generator)
        return radius.abs()[:, None] * torch.stack([angle.cos(), angle.sin()], -1)

    def _log_prob(self, x: Tensor) -> Tensor:
        # Below the nearest radius the gradient is zero, where that of the norm would be NaN.
        near = torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True) < _NEAREST
        fixed = x.new_tensor([_NEAREST, 0.0])
        radius: Tensor = torch.linalg.vector_norm(torch.where(near, fixed, x), dim=-1)
        both = torch.stack([radius, -radius], -1)[..., None] - _radii().to(x.device)
        density = log_normal_density(both, 0.08).flatten(-2).logsumexp(-1)
        return density - math.log(4) - (2 * math.pi * radius).log()


def _radii() -> Tensor:
    return torch.tensor([0.5, 1.0, 1.5, 2.0], dtype=torch.float64)
