"""The density of each column, blurred: a histogram, and a background for what is far from it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError, ShapeError
from pushforward.flows.arrays import as_tensor
from pushforward.flows.blurred.scale import checked_rows, scale_of, standardized
from pushforward.flows.savable import Savable
from pushforward.spec import Part

__all__ = ["BlurredColumns"]

_BACKGROUND = 0.02  # share of the density that has heavy tails
_BEYOND = 5.0  # sizes of the noise that a histogram goes on beyond its rows
_TRUNCATED = 6.0  # deviations of the noise that count
_LEAST = 0.5  # deviation of the noise in bins, at least: narrower is no blur
_TOGETHER = 64  # columns that are blurred at a time


class BlurredColumns(Savable, Part, nn.Module):
    """The density of each column on its own, blurred by normal noise.

    A histogram of narrow bins is blurred by the noise. A small share of the density is a Cauchy
    one around the column's mean, so that a number which is far from all others has a density, too,
    one that falls with its distance. Each density integrates to one.

    Args:
        features: number of columns.
        size: deviation of the noise, in standard deviations of a column.
        bins: of each histogram.

    Shapes:
        x: ``(*batch, features)``; log_prob: ``(*batch,)``, nats in the units of x

    Raises:
        ArgumentError: ``size`` or ``bins`` is not above zero.
        ShapeError: x of another width.
        DataError: in ``fit``, rows that are none or hold what is not finite.

    Source: none

    Example:
        >>> x = torch.randn(5000, 2, generator=torch.manual_seed(0))
        >>> columns = BlurredColumns(2, size=0.2).fit(x)
        >>> columns.log_prob([[0.0, 0.0], [1e6, 0.0]]).round(decimals=0)
        tensor([ -2., -34.], dtype=torch.float64)
    """

    mean: Tensor
    deviation: Tensor
    low: Tensor
    step: Tensor
    height: Tensor

    def __init__(self, features: int, size: float = 0.04, bins: int = 2000) -> None:
        super().__init__()
        if features < 1 or bins < 1 or not 0.0 < size < math.inf:
            raise ArgumentError(
                f"BlurredColumns: features is {features}, size {size} and bins {bins}, expected "
                f"numbers above 0."
            )
        self.features, self.size, self.bins = features, float(size), bins
        zero = torch.zeros(features, dtype=torch.float64)
        self.register_buffer("mean", zero)
        self.register_buffer("deviation", zero + 1.0)
        self.register_buffer("low", zero - 0.5)
        self.register_buffer("step", zero + 1.0 / bins)
        self.register_buffer("height", torch.ones(features, bins))

    def fit(self, x: Tensor) -> BlurredColumns:
        """Read scales and histograms off rows ``(n, features)``."""
        x = checked_rows("BlurredColumns.fit", torch.as_tensor(x), self.features)
        self.mean, self.deviation = scale_of(x)
        z = standardized(x, self.mean, self.deviation)
        self.low = z.amin(0) - _BEYOND * self.size
        self.step = (z.amax(0) + _BEYOND * self.size - self.low) / self.bins
        heights = []
        for start in range(0, self.features, _TOGETHER):
            some = slice(start, start + _TOGETHER)
            low, step = self.low[some], self.step[some]
            place = ((z[:, some] - low) / step).long().clamp_(0, self.bins - 1)
            place += self.bins * torch.arange(len(low))
            counts = place.flatten().bincount(minlength=self.bins * len(low))
            share = counts.reshape(len(low), self.bins).double()
            blurred = _blurred(share, (self.size / step).clamp_min(_LEAST))
            heights.append(blurred / (blurred.sum(1) * step)[:, None])
        self.height = torch.cat(heights).float()
        return self

    def forward(self, x: Any) -> Tensor:
        """The same as ``log_prob``."""
        return self.log_prob(x)

    def log_prob(self, x: Any) -> Tensor:
        """Log-density of rows whose columns are independent, nats, ``(*batch,)`` in float64."""
        return self.log_probs(x).sum(-1)

    def log_probs(self, x: Any) -> Tensor:
        """Log-density of each number in its column, nats, ``(*batch, features)``."""
        x = as_tensor("BlurredColumns.log_prob", "x", x, torch.float64, self.mean.device)
        if x.shape[-1:] != (self.features,):
            raise ShapeError(
                f"BlurredColumns.log_prob: x has shape {tuple(x.shape)}, expected (*batch, "
                f"{self.features})."
            )
        z = standardized(x, self.mean, self.deviation)
        steps = (z - self.low) / self.step
        inside = (steps >= 0) & (steps < self.bins)
        place = steps.nan_to_num().clamp(0, self.bins - 1).long()
        height = self.height[torch.arange(self.features, device=x.device), place].double()
        wide = 1.0 / (math.pi * (1.0 + z * z))
        density = (1.0 - _BACKGROUND) * torch.where(inside, height, 0.0) + _BACKGROUND * wide
        return density.log() - self.deviation.log()


def _blurred(share: Tensor, deviation: Tensor) -> Tensor:
    """Rows of bins, ``(columns, bins)``, blurred by noise of a deviation each, in bins.

    The transforms are long enough for the noise not to come round at the other end.
    """
    bins = share.shape[1]
    length = 2 * bins
    from_zero = torch.arange(length, dtype=torch.float64)
    distance = torch.minimum(from_zero, length - from_zero) / deviation[:, None]
    noise = torch.exp(-0.5 * distance * distance) * (distance <= _TRUNCATED)
    noise = noise / noise.sum(1, keepdim=True)
    made: Tensor = torch.fft.irfft(torch.fft.rfft(share, length) * torch.fft.rfft(noise), length)
    return made[:, :bins].clamp_min(0.0)
