"""Summaries of data that are updated chunk by chunk and merged across shards.

Each takes rows of shape ``(n, features)``, a tensor or an array, by ``update``, and another of its
kind by ``merge``; shards merged give what one pass gives, up to rounding (`Moments`, `Scatter`) or
within the stated error (`Quantiles`, `Frequent`). All are deterministic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pushforward.numerics.sketches.frequent import Frequent
from pushforward.numerics.sketches.quantile_sketch import Quantiles
from pushforward.numerics.sketches.scatter import Scatter

__all__ = ["Frequent", "Moments", "Quantiles", "Scatter"]


class Moments:
    """Count, mean, variance and range of each column, in float64.

    Example:
        >>> Moments(1).update(torch.tensor([[0.0], [2.0]])).mean
        tensor([1.], dtype=torch.float64)
    """

    def __init__(self, features: int) -> None:
        self.count = 0
        self.mean = torch.zeros(features, dtype=torch.float64)
        self._squares = torch.zeros(features, dtype=torch.float64)
        self.low = torch.full((features,), torch.inf, dtype=torch.float64)
        self.high = torch.full((features,), -torch.inf, dtype=torch.float64)

    @property
    def variance(self) -> Tensor:
        """Mean squared deviation, ``(features,)``."""
        return self._squares / max(self.count, 1)

    def update(self, x: Tensor | Any) -> Moments:
        """Take in rows, ``(n, features)``, a tensor or an array."""
        for rows in torch.split(torch.as_tensor(x).detach(), 65536):
            if len(rows):
                self._take(rows.to(device="cpu", dtype=torch.float64))
        return self

    def _take(self, rows: Tensor) -> None:
        other = Moments(rows.shape[-1])
        other.count = len(rows)
        other.mean = rows.mean(0)
        other._squares = (rows - other.mean).square().sum(0)
        other.low, other.high = rows.amin(0), rows.amax(0)
        self.merge(other)

    def merge(self, other: Moments) -> Moments:
        """Take in another summary (Chan, Golub, LeVeque 1983)."""
        total = self.count + other.count
        if other.count == 0:
            return self
        gap = other.mean - self.mean
        share = other.count / total
        self._squares = self._squares + other._squares + gap.square() * (self.count * share)
        self.mean = self.mean + gap * share
        self.low = torch.minimum(self.low, other.low)
        self.high = torch.maximum(self.high, other.high)
        self.count = total
        return self
