"""Intervals, and boxes of them."""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor

from pushforward.errors import ArgumentError
from pushforward.transforms.domains.base import SAME, Domain, Everywhere

__all__ = ["Box", "box_ends", "per_feature"]

End: TypeAlias = "float | Tensor"


class Box(Domain):
    """An interval for each feature; an end may be infinite.

    Args:
        low: lower ends, a number or ``(features,)``.
        high: upper ends, a number or ``(features,)``.
        closed: whether the ends belong to it.

    Example:
        >>> positive = Box(0.0, math.inf)
        >>> positive.contains(torch.tensor([[1.0, 2.0], [1.0, 0.0]]))
        tensor([ True, False])
        >>> Box(0.0, 1.0).within(positive), positive.within(Box(0.0, 1.0))
        (True, False)
    """

    def __init__(self, low: End, high: End, closed: bool = False) -> None:
        self.low, self.high, self.closed = low, high, closed

    def outside(self, x: Tensor) -> Tensor:
        """Where a number is beyond an end, or on one that does not belong to the box."""
        low, high = (_like(end, x) for end in (self.low, self.high))
        if self.closed:  # ends that were rounded to another precision are still ends
            margin = SAME * torch.maximum(low.abs(), high.abs()).nan_to_num(posinf=0.0)
            return ((x < low - margin) | (x > high + margin)).any(-1)
        return ((x <= low) | (x >= high)).any(-1)

    def pull_in(self, x: Tensor) -> Tensor:
        """The nearest number of x's precision that is inside.

        Beside an end at zero that is the smallest normal number: smaller ones lose their digits.
        """
        low, high = (_like(end, x) for end in (self.low, self.high))
        if self.closed:
            return x.clamp(low, high)
        tiny = torch.finfo(x.dtype).tiny
        least = torch.where(low == 0, tiny, torch.nextafter(low, high))
        most = torch.where(high == 0, -tiny, torch.nextafter(high, low))
        return x.clamp(least, most)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Its ends."""
        return _end(self.low), _end(self.high)

    def holds(self, other: Domain) -> bool:
        """Whether the bounds of the other lie in it; ends may differ by rounding."""
        (low, high), (a, b) = self.bounds(), other.bounds()
        above = a >= low - SAME * low.abs()
        below = b <= high + SAME * high.abs()
        return bool((above & below).all())

    def part(self, start: int, stop: int) -> Domain:
        """The box of some features."""
        low, high = (e[start:stop] if isinstance(e, Tensor) else e for e in (self.low, self.high))
        return Box(low, high, self.closed)

    def way_in(self, features: int, given: Domain) -> str | None:
        """An exponential or a sigmoid; from another box an interval."""
        if not isinstance(given, Everywhere):
            return "Interval" if isinstance(given, Box) else None
        pairs = self._pairs()
        low, high = pairs[0]
        if all(pair == (0.0, math.inf) for pair in pairs):
            return f"Exp({features})"
        if any(math.isinf(end) for pair in pairs for end in pair):
            return None
        ends = f"{low:g}, {high:g}" if len(pairs) == 1 else "low, high"
        return f"Sigmoid({features}, {ends})"

    def _pairs(self) -> list[tuple[float, float]]:
        """Both ends for each feature; one pair where all are the same."""
        low, high = (end.reshape(-1) for end in self.bounds())
        features = max(len(low), len(high))
        pairs = list(zip(*(e.expand(features).tolist() for e in (low, high)), strict=True))
        return pairs[:1] if len(set(pairs)) == 1 else pairs

    def __str__(self) -> str:
        left, right = "[]" if self.closed else "()"
        shown = [f"{left}{low:g}, {high:g}{right}" for low, high in self._pairs()]
        more = " x …" if len(shown) > 4 else ""
        return "numbers in " + " x ".join(shown[:4]) + more


def per_feature(who: str, name: str, value: float | Tensor, features: int) -> Tensor:
    """A number or one number for each feature, as ``(features,)``.

    Of the dtype that weights have, unless it is a floating tensor: arrays are of float64 unasked.
    """
    given = torch.as_tensor(value)
    if not (isinstance(value, Tensor) and given.is_floating_point()):
        given = given.to(torch.get_default_dtype())
    if given.ndim > 1 or (given.ndim == 1 and len(given) != features):
        raise ArgumentError(
            f"{who}: {name} has shape {tuple(given.shape)}, expected a number or ({features},)."
        )
    if not bool(torch.isfinite(given).all()):
        raise ArgumentError(f"{who}: {name} is {given.tolist()}, expected finite numbers.")
    return given.detach().expand(features).clone()


def box_ends(
    who: str, low: float | Tensor, high: float | Tensor, features: int, prefix: str = ""
) -> tuple[Tensor, Tensor]:
    """Ends of a box from the arguments ``low`` and ``high``, ``(features,)`` each, checked."""
    names = (f"{prefix}low", f"{prefix}high")
    # of the default dtype, as weights are: ends in float64 would make float32 data float64
    a = per_feature(who, names[0], low, features).to(torch.get_default_dtype())
    b = per_feature(who, names[1], high, features).to(torch.get_default_dtype())
    if not bool(((a < b) & (b - a).isfinite()).all()):
        raise ArgumentError(
            f"{who}: {names[0]} is {a.tolist()} and {names[1]} {b.tolist()}, "
            f"expected {names[0]} < {names[1]}, and a distance that {str(a.dtype)[6:]} holds."
        )
    return a, b


def _like(end: End, x: Tensor) -> Tensor:
    return end.to(x.dtype) if isinstance(end, Tensor) else x.new_full((), end)


def _end(end: End) -> Tensor:
    return torch.as_tensor(end, dtype=torch.float64, device="cpu")
