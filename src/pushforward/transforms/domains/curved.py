"""Sets that are no boxes: angles, shares, directions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.transforms.domains.base import SAME, Domain, Everywhere

__all__ = ["Angles", "Directions", "Shares"]

_ROUNDING = 1e-4  # how far a sum, or a length, may be from one: data is often written in few digits


class Angles(Domain):
    """Angles: numbers that are the same after a period. It has no outside.

    Any number is taken for an angle. Whoever gives angles gives them within half a period of zero,
    unless he says otherwise: only then may a box of that size stand for the circle.

    Args:
        period: length of the circle.
        wrapped: whether what is given lies within half a period of zero.
    """

    solid = False  # it repeats

    def __init__(self, period: float, wrapped: bool = True) -> None:
        self.period, self.wrapped = period, wrapped

    def outside(self, x: Tensor) -> Tensor:
        """Where a number is infinite."""
        return x.isinf().any(-1)

    def pull_in(self, x: Tensor) -> Tensor:
        """Infinite angles become zero."""
        return torch.where(x.isinf(), 0.0, x)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Where it gives angles: half a period to either side, or the whole line."""
        if not self.wrapped:
            return Everywhere().bounds()
        half = torch.tensor(0.5 * self.period, dtype=torch.float64)
        return -half, half

    def holds(self, other: Domain) -> bool:
        """Whether the other has angles of this period, or numbers that come back as they are."""
        if isinstance(other, Angles):
            return math.isclose(self.period, other.period, rel_tol=SAME)
        low, high = other.bounds()
        within = torch.maximum(low.abs(), high.abs()) <= 0.5 * self.period * (1.0 + SAME)
        return self.wrapped and bool(within.all())

    def difference(self, x: Tensor, y: Tensor) -> Tensor:
        """The shortest way between them, however many rounds they are apart.

        Example:
            >>> Angles(1.0).difference(torch.tensor([0.75, 3.0]), torch.tensor([-0.5, 0.0]))
            tensor([0.2500, 0.0000])
        """
        way = x - y
        return way - self.period * torch.round(way / self.period)

    def part(self, start: int, stop: int) -> Domain:
        """The same for some features."""
        return self

    def way_in(self, features: int, given: Domain) -> str | None:
        """From one period around zero, where that is not enough by itself."""
        if self.wrapped or not given.within(Angles(self.period)):
            return None
        period = "" if math.isclose(self.period, 2.0 * math.pi) else f", {self.period:g}"
        return f"Inverse(Circle({features}{period}))"

    def __str__(self) -> str:
        often = "" if self.wrapped else ", gone round any number of times"
        return f"angles of period {self.period:g}{often}"


class Shares(Domain):
    """Numbers above zero that sum to one, up to rounding to four digits.

    Example:
        >>> Shares().contains(torch.tensor([[0.2, 0.8], [0.2, 0.7], [0.0, 1.0]]))
        tensor([ True, False, False])
    """

    solid, thin = False, True

    def outside(self, x: Tensor) -> Tensor:
        """Where a number is not positive, or the sum is not one."""
        total = x.sum(-1)
        off = (total - 1.0).abs() > _ROUNDING
        return (off | (x <= 0).any(-1)) & ~total.isnan()

    def pull_in(self, x: Tensor) -> Tensor:
        """The centre for events outside; numbers below the smallest normal one become that."""
        inside = torch.where(self.outside(x).unsqueeze(-1), 1.0 / x.shape[-1], x)
        return inside.clamp_min(torch.finfo(x.dtype).tiny)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Zero and one."""
        return torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)

    def holds(self, other: Domain) -> bool:
        """Only shares."""
        return isinstance(other, Shares)

    def tangent(self, x: Tensor) -> Tensor:
        """All shares but the last, which makes up for them."""
        identity = torch.eye(x.numel() - 1, dtype=x.dtype, device=x.device)
        return torch.cat((identity, -torch.ones_like(identity[:1])))

    def way_in(self, features: int, given: Domain) -> str | None:
        """Stick-breaking backwards."""
        return f"Inverse(Simplex({features}))" if isinstance(given, Everywhere) else None

    def __str__(self) -> str:
        return "numbers above zero that sum to one"


class Directions(Domain):
    """Vectors of length one, up to rounding to four digits.

    Example:
        >>> Directions().contains(torch.tensor([[0.6, 0.8], [0.6, 0.7]]))
        tensor([ True, False])
    """

    solid, thin = False, True

    def outside(self, x: Tensor) -> Tensor:
        """Where the length is not one."""
        return (x.square().sum(-1) - 1.0).abs() > 2.0 * _ROUNDING

    def pull_in(self, x: Tensor) -> Tensor:
        """The first axis for vectors outside; exactly length one for those inside."""
        first = (torch.arange(x.shape[-1], device=x.device) == 0).to(x.dtype)
        inside = torch.where(self.outside(x).unsqueeze(-1), first, x)
        return inside / inside.square().sum(-1, keepdim=True).sqrt()

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Minus one and one."""
        return torch.tensor(-1.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)

    def holds(self, other: Domain) -> bool:
        """Only directions."""
        return isinstance(other, Directions)

    def tangent(self, x: Tensor) -> Tensor:
        """At right angles to x and to each other, of length one."""
        return torch.linalg.svd(x[:, None]).U[:, 1:]  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return "vectors of length one"
