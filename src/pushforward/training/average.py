"""Exponential averaging of parameters over the steps of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["Average", "decay_at"]


def decay_at(update: int, decay: float) -> float:
    """Decay used by the update with this number, from 1.

    It starts small and grows to ``decay``, so that the untrained parameters are forgotten as
    fast as training leaves them (a constant decay would remember them for ``1 / (1 - decay)``
    steps).

    Example:
        >>> decay_at(1, 0.99), decay_at(10_000, 0.99)
        (0.18181818181818182, 0.99)
    """
    return min(decay, (1 + update) / (10 + update))


class Average:
    """Running average ``a <- d a + (1 - d) p`` of parameters, all of them in one call.

    Buffers are not averaged: they are what the module holds now. Those that change while
    training are running means already, and the others (masks, orders, bounds) have no mean.

    Args:
        parameters: what is averaged; the average starts at their present values.
        decay: ``0 <= decay < 1``; 0 makes the average the parameters themselves.

    Example:
        >>> p = torch.nn.Parameter(torch.zeros(1))
        >>> average = Average([p], decay=0.5)
        >>> with torch.no_grad():
        ...     _ = p.fill_(1.0)
        >>> average.update()
        >>> with average.applied():
        ...     print(round(p.item(), 4))
        0.8182
        >>> p.item()
        1.0
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], decay: float):
        self.decay = decay
        self.updates = 0
        self._live: list[Tensor] = [p.detach() for p in parameters]  # share their memory
        self.values: list[Tensor] = [p.clone() for p in self._live] if decay > 0 else self._live

    def update(self) -> None:
        """Take the present parameters into the average."""
        self.updates += 1
        if self.decay > 0 and self.values:
            weight = 1.0 - decay_at(self.updates, self.decay)
            torch._foreach_lerp_(self.values, self._live, weight)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the parameters have their average values inside the ``with`` block."""
        if self.decay == 0 or not self.values:
            yield
            return
        kept = [p.clone() for p in self._live]
        torch._foreach_copy_(self._live, self.values)
        try:
            yield
        finally:
            torch._foreach_copy_(self._live, kept)
