"""How rare a standard normal number is, on the scale of logarithms, and back."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["log_hazard", "rarity", "rarity_inverse"]

_SQRT_2 = math.sqrt(2.0)
_LOG_SQRT_2_OVER_PI = 0.5 * math.log(2.0 / math.pi)
_NEAR = 1.0  # below, erf keeps the digits; above, erfcx
_FAR = 40.0  # beyond this rarity a probability leaves what float32 resolves


def rarity(z: Tensor) -> Tensor:
    """``-log erfc(z / sqrt(2))`` for z from 0 up: minus the log-chance of |N(0, 1)| above z.

    Example:
        >>> rarity(torch.tensor([0.0, 1.0, 20.0]))
        tensor([  0.0000,   1.1479, 203.2240])
    """
    near = z < _NEAR
    w = torch.where(near, z, torch.zeros_like(z)) / _SQRT_2
    small = -torch.log1p(-torch.erf(w))
    far = torch.where(near, torch.ones_like(z), z)
    large = 0.5 * far.square() - torch.special.erfcx(far / _SQRT_2).log()
    return torch.where(near, small, large)


def log_hazard(z: Tensor) -> Tensor:
    """Logarithm of the slope of ``rarity`` at z from 0 up.

    Example:
        >>> log_hazard(torch.tensor([0.0, 20.0])).exp()  # sqrt(2 / pi), and about z
        tensor([ 0.7979, 20.0497])
    """
    hazard: Tensor = _LOG_SQRT_2_OVER_PI - torch.special.erfcx(z / _SQRT_2).log()
    return hazard


def rarity_inverse(e: Tensor) -> Tensor:
    """The z from 0 up whose ``rarity`` is e.

    Example:
        >>> rarity_inverse(torch.tensor([0.0, 203.2240]))
        tensor([ 0.0000, 20.0000])
    """
    with torch.no_grad():
        fixed = e.detach()
        near = -torch.special.ndtri(0.5 * (-fixed.clamp(max=_FAR)).exp())
        square = 2.0 * fixed.clamp_min(_FAR)
        z = torch.where(fixed > _FAR, (square - (0.5 * math.pi * square).log()).sqrt(), near)
        z = z.clamp_min(0.0)
    # Newton's steps sharpen the value; being differentiable, each doubles the number of
    # derivatives that are right, so that two give the first three
    for _ in range(2):
        z = z + (e - rarity(z)) * (-log_hazard(z)).exp()
    return z
