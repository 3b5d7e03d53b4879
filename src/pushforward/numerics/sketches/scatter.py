"""Mean and covariance of the columns of a table, chunk by chunk, and which columns depend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Dependence", "Scatter"]


@dataclass(frozen=True)
class Dependence:
    """Column ``column`` is a linear combination of the columns ``of``, up to a constant."""

    column: int
    of: tuple[int, ...]


class Scatter:
    """Count, mean and covariance matrix, in float64.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [2.0, 5.0]])
        >>> Scatter(2).update(x).covariance.tolist()
        [[1.0, 2.0], [2.0, 4.0]]
    """

    def __init__(self, features: int) -> None:
        self.count = 0
        self.mean = torch.zeros(features, dtype=torch.float64)
        self._products = torch.zeros(features, features, dtype=torch.float64)

    @property
    def covariance(self) -> Tensor:
        """Mean product of deviations, ``(features, features)``."""
        return self._products / max(self.count, 1)

    def update(self, x: Tensor | Any) -> Scatter:
        """Take in rows, ``(n, features)``, a tensor or an array."""
        for rows in torch.split(torch.as_tensor(x).detach(), 65536):
            if len(rows):
                other = Scatter(rows.shape[-1])
                rows = rows.to(device="cpu", dtype=torch.float64)
                other.count, other.mean = len(rows), rows.mean(0)
                centred = rows - other.mean
                other._products = centred.T @ centred
                self.merge(other)
        return self

    def merge(self, other: Scatter) -> Scatter:
        """Take in another summary (Chan, Golub, LeVeque 1983)."""
        if other.count == 0:
            return self
        total = self.count + other.count
        gap = other.mean - self.mean
        share = other.count / total
        between = torch.outer(gap, gap) * (self.count * share)
        self._products = self._products + other._products + between
        self.mean = self.mean + gap * share
        self.count = total
        return self

    def dependences(
        self, tolerance: float = 1e-10, order: Sequence[int] | None = None
    ) -> list[Dependence]:
        """Columns that the columns before them, in ``order`` or as they stand, determine linearly.

        A column counts as determined where its regression on the independent columns before it
        leaves less than ``tolerance`` of its variance: 1e-10 is a residual of 1e-5 standard
        deviations, above the rounding of a sum kept in float32. Constant columns are passed over.

        Example:
            >>> a, b = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))
            >>> Scatter(3).update(torch.stack([a, b, 2 * a - b], 1)).dependences()
            [Dependence(column=2, of=(0, 1))]
        """
        scale = self.covariance.diagonal().sqrt()
        correlation = self.covariance / torch.outer(scale, scale)
        chosen: list[int] = []
        found = []
        for column in range(len(scale)) if order is None else order:
            if scale[column] == 0:
                continue
            with_chosen = correlation[chosen, column]
            within = correlation[chosen][:, chosen]
            weights = torch.linalg.solve(within, with_chosen) if chosen else with_chosen
            left = 1.0 - float(weights @ with_chosen)
            if left > tolerance:
                chosen.append(column)
                continue
            # What is left of rounding would otherwise name columns that play no part.
            parts = (index for index, w in zip(chosen, weights, strict=True) if abs(w) > 1e-4)
            found.append(Dependence(column, tuple(parts)))
        return found
