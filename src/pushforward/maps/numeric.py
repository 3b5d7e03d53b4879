"""Maps that have no closed inverse."""

from __future__ import annotations

from torch import Tensor

from pushforward.maps.base import Map
from pushforward.numerics.root_finding import increasing_root

__all__ = ["NumericMap"]


class NumericMap(Map):
    """A map from the real line onto itself that is written in one direction only.

    A subclass writes ``forward``; ``inverse`` solves it, to the last digits, wherever the solution
    lies. It raises ``InverseError`` where it cannot.
    """

    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``h^-1(z)`` and its log-derivative."""
        who = f"{type(self).__name__}.inverse"
        x = increasing_root(lambda x: self.forward(x, raw), z, who=who)
        return x, -self.forward(x, raw)[1]
