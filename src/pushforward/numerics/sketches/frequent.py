"""Values that a large share of the rows of one column have, chunk by chunk."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Frequent"]


class Frequent:
    """The most frequent values of one column, with counts that are at most ``error`` too low.

    A mergeable Misra-Gries summary (Agarwal et al. 2012): it keeps ``size`` values; when there are
    more, the count of the first that has to go is taken from all. So a value that more than
    ``count / (size + 1)`` rows have is never lost, and ``error`` never exceeds that number.

    Example:
        >>> summary = Frequent().update(torch.tensor([0.0, 1.0, 0.0]))
        >>> summary.top(0.5), summary.distinct
        ([(0.0, 2)], 2)
    """

    def __init__(self, size: int = 1024) -> None:
        self.size = size
        self.count = 0
        self.error = 0
        self._values: NDArray[numpy.float64] = numpy.empty(0)
        self._counts: NDArray[numpy.int64] = numpy.empty(0, dtype=numpy.int64)

    @property
    def distinct(self) -> int | None:
        """The number of different values, or None where there are too many to tell."""
        return None if self.error else len(self._values)

    def update(self, x: Tensor | Any) -> Frequent:
        """Take in values, ``(n,)``, a tensor or an array."""
        for values in torch.split(torch.as_tensor(x).detach(), 65536):
            kept = values.to(device="cpu", dtype=torch.float64).numpy()
            if len(kept):
                # Numbers of a continuous column fall away here, before the costlier merging.
                self._add(*self._prune(*_tally(kept)))
                self.count += len(kept)
        return self

    def merge(self, other: Frequent) -> Frequent:
        """Take in another summary."""
        self._add(other._values, other._counts)
        self.count += other.count
        self.error += other.error
        return self

    def top(self, share: float) -> list[tuple[float, int]]:
        """Values that at least ``share`` of the rows have, with their counts, largest first.

        A value whose share is above ``share`` by less than ``error / count`` may be missed.
        """
        order = numpy.argsort(-self._counts, kind="stable")
        pairs = zip(self._values[order].tolist(), self._counts[order].tolist(), strict=True)
        return [(value, count) for value, count in pairs if count >= share * max(self.count, 1)]

    def _add(self, values: NDArray[numpy.float64], counts: NDArray[numpy.int64]) -> None:
        both = numpy.concatenate([self._values, values])
        merged, places = numpy.unique(both, return_inverse=True)
        summed = numpy.zeros(len(merged), dtype=numpy.int64)
        numpy.add.at(summed, places.reshape(-1), numpy.concatenate([self._counts, counts]))
        self._values, self._counts = self._prune(merged, summed)

    def _prune(
        self, values: NDArray[numpy.float64], counts: NDArray[numpy.int64]
    ) -> tuple[NDArray[numpy.float64], NDArray[numpy.int64]]:
        """Keep at most ``size`` values; a cut by c takes c from size + 1 values or more."""
        if len(values) <= self.size:
            return values, counts
        # Where most counts are 1, selecting among all of them would be slow.
        many = counts[counts > 1]
        cut = (
            int(numpy.partition(many, -self.size - 1)[-self.size - 1])
            if (len(many) > self.size)
            else 1
        )
        self.error += cut
        keep = counts > cut
        return values[keep], counts[keep] - cut


def _tally(values: NDArray[numpy.float64]) -> tuple[NDArray[numpy.float64], NDArray[numpy.int64]]:
    """The different values and how often each occurs."""
    ordered = numpy.sort(values)
    starts = numpy.flatnonzero(numpy.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return ordered[starts], numpy.diff(starts, append=len(ordered))
