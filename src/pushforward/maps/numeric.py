"""Maps that have no closed inverse, on the real line and on a box with linear tails."""

from __future__ import annotations

import abc
from collections.abc import Callable

from torch import Tensor

from pushforward.errors import ArgumentError
from pushforward.maps.base import Map
from pushforward.maps.box import Boxed
from pushforward.numerics.solvers.root_finding import increasing_root

__all__ = ["BoxedNumericMap", "Curve", "NumericMap", "check_counts", "check_min_slope"]

Curve = Callable[[Tensor], "tuple[Tensor, Tensor]"]


class NumericMap(Map):
    """A map from the real line onto itself that is written in one direction only.

    A subclass writes ``curve``; ``inverse`` solves it, to the last digits, wherever the solution
    lies. It raises ``InverseError`` where it cannot.
    """

    @property
    def closed(self) -> bool:
        """The inverse is searched for."""
        return False

    @abc.abstractmethod
    def curve(self, raw: Tensor) -> Curve:
        """The map for given parameters, which are read once: ``x -> (h(x), log h'(x))``."""

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``h(x)`` and its log-derivative."""
        return self.curve(raw)(x)

    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``h^-1(z)`` and its log-derivative."""
        curve = self.curve(raw)
        x = increasing_root(curve, z, who=f"{type(self).__name__}.inverse")
        return x, -curve(x)[1]


class BoxedNumericMap(Boxed, NumericMap):
    """A numeric map written on a box, which goes on along lines with the slopes at its ends.

    A subclass writes ``on_box``. The last number of raw shifts z.
    """

    @abc.abstractmethod
    def on_box(self, raw: Tensor) -> Curve:
        """The map in units of the box, for t from -1 to 1; raw without the shift."""

    def curve(self, raw: Tensor) -> Curve:
        """The map of the line."""
        inner, shift = self.on_box(raw[..., :-1]), raw[..., -1]
        middle, half = 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)

        def line(x: Tensor) -> tuple[Tensor, Tensor]:
            near = x.clamp(self.low, self.high)
            v, log_slope = inner(((near - middle) / half).clamp(-1.0, 1.0))
            tail = (x - near) * log_slope.exp()
            return middle + half * v + shift + tail, log_slope

        return line


def check_counts(who: str, least: int = 1, **counts: int) -> None:
    """Refuse numbers of things below the least that makes sense."""
    for name, count in counts.items():
        if count < least:
            raise ArgumentError(f"{who}: {name} is {count}, expected at least {least}.")


def check_min_slope(who: str, min_slope: float) -> float:
    """Refuse a least slope that leaves nothing, or nothing but the identity."""
    if not 0.0 < min_slope < 1.0:
        raise ArgumentError(
            f"{who}: min_slope is {min_slope}, expected a number above 0 and below 1."
        )
    return float(min_slope)
