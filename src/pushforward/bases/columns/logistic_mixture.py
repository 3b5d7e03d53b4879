"""Mixtures of logistic densities of one number, with parameters for each row."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional

__all__ = ["Mixture", "choose"]


class Mixture(NamedTuple):
    """Mixtures, each part ``(*batch, components)``.

    Attributes:
        log_share: logarithms of the shares.
        place: centres.
        log_scale: logarithms of the scales.
    """

    log_share: Tensor
    place: Tensor
    log_scale: Tensor

    def log_density(self, x: Tensor) -> Tensor:
        """Log-density of numbers ``(*batch,)``."""
        v = (x[..., None].to(self.place) - self.place) * (-self.log_scale).exp()
        each = functional.logsigmoid(v) + functional.logsigmoid(-v) - self.log_scale
        return torch.logsumexp(self.log_share + each, -1)

    def log_between(self, low: Tensor, high: Tensor) -> Tensor:
        """Log-probability of what lies between two numbers, of which either may be infinite."""
        rate = (-self.log_scale.double()).exp()
        left = self._scaled(low, rate)
        right = self._scaled(high, rate)
        width = (right - left).clamp_min(torch.finfo(torch.float64).tiny)
        # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), without a difference
        inside = functional.logsigmoid(right) + functional.logsigmoid(-left)
        return torch.logsumexp(self.log_share.double() + inside + (-torch.expm1(-width)).log(), -1)

    def _scaled(self, end: Tensor, rate: Tensor) -> Tensor:
        open_end = end.isinf()[..., None]
        near = torch.where(open_end, 0.0, end[..., None].double())
        return torch.where(open_end, end[..., None].double(), (near - self.place.double()) * rate)

    def draw(self, generator: Generator | None) -> Tensor:
        """A number of each, ``(*batch,)`` in float64."""
        which = choose(self.log_share, generator)
        place, log_scale = (part.double().gather(-1, which)[..., 0] for part in self[1:])
        share = torch.rand(place.shape, generator=generator, dtype=place.dtype, device=place.device)
        share = share.clamp_min(torch.finfo(share.dtype).tiny)
        return place + log_scale.exp() * (share.log() - torch.log1p(-share))


def choose(log_share: Tensor, generator: Generator | None) -> Tensor:
    """Number of the component that each row draws from, ``(*batch, 1)``."""
    flat = log_share.exp().reshape(-1, log_share.shape[-1])
    if not len(flat):
        return torch.zeros((*log_share.shape[:-1], 1), dtype=torch.long, device=log_share.device)
    which = torch.multinomial(flat, 1, generator=generator)
    return which.reshape(*log_share.shape[:-1], 1)
