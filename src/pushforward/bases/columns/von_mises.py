"""The von Mises density of angles: its logarithm, and draws."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

__all__ = ["draw_von_mises", "log_von_mises"]


def log_von_mises(angle: Tensor, concentration: Tensor) -> Tensor:
    """Log-density of angles around zero, nats a radian.

    Example:
        >>> log_von_mises(torch.tensor(0.0), torch.tensor(1e-6)).exp()  # even: 1 / (2 pi)
        tensor(0.1592)
    """
    # kappa cos(angle) - log I0(kappa) without large numbers that cancel
    half = torch.sin(0.5 * angle)
    scaled: Tensor = torch.special.i0e(concentration).log()
    return -2.0 * concentration * half * half - scaled - math.log(2.0 * math.pi)


def draw_von_mises(concentration: Tensor, generator: Generator | None) -> Tensor:
    """An angle around zero for each concentration, in (-pi, pi].

    Source: Best, Fisher 1979, doi:10.2307/2346732: rejection from a wrapped Cauchy density, of
        which at least two thirds are kept.

    Example:
        >>> draws = draw_von_mises(torch.full((1000,), 100.0), torch.Generator().manual_seed(0))
        >>> bool(draws.std() < 0.11)
        True
    """
    kappa = concentration.double()
    tau = 1.0 + torch.sqrt(1.0 + 4.0 * kappa * kappa)
    # (tau - sqrt(2 tau)) / (2 kappa) without the difference
    rho = 2.0 * kappa / (tau + torch.sqrt(2.0 * tau))
    even = kappa < 1e-4
    r = torch.where(even, 1.0, (1.0 + rho * rho) / (2.0 * rho).clamp_min(1e-300))
    angle, waits = torch.zeros_like(kappa), torch.ones_like(kappa, dtype=torch.bool)
    while bool(waits.any()):
        u = torch.rand(
            (3, *kappa.shape), generator=generator, dtype=kappa.dtype, device=kappa.device
        )
        z = torch.cos(math.pi * u[0])
        f = (1.0 + r * z) / (r + z)
        c = kappa * (r - f)
        kept = (c * (2.0 - c) > u[1]) | ((c / u[1]).log() + 1.0 - c >= 0.0)
        found = torch.where(u[2] < 0.5, -1.0, 1.0) * torch.acos(f.clamp(-1.0, 1.0))
        found = torch.where(even, math.pi * (2.0 * u[0] - 1.0), found)
        angle = torch.where(waits & (kept | even), found, angle)
        waits = waits & ~(kept | even)
    return angle
