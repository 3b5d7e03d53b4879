"""Features that a map moves: where they may be, where they go, and nothing but -inf outside."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor

from pushforward.maps.base import Map
from pushforward.transforms.base import Transform
from pushforward.transforms.domains import Angles, Box, Domain, Everywhere
from pushforward.transforms.domains.together import carried

__all__ = ["Moving", "domain_of", "entered", "image_of", "left"]

M = TypeVar("M", bound="Moving")


class Moving(Transform):
    """Transform whose features all move by one map, and which therefore lives where the map does.

    Attributes:
        map: the map.
        periodic: whether angles a period apart are the same to it. Where a network sees them as
            numbers they are not, and a circular map has but one period around zero.
    """

    map: Map
    periodic: bool = True

    @property
    def domain(self) -> Domain:
        """Where the map has something: a box, or a circle, if it was given one."""
        return domain_of(self.map, self.periodic)

    @property
    def codomain(self) -> Domain:
        """The same."""
        return self.domain

    def image(self, given: Domain) -> Domain:
        """Where the map takes what lies in a domain."""
        return image_of(self.map, given, self.periodic)

    def preimage(self, taken: Domain) -> Domain:
        """The same."""
        return self.image(taken)

    def fit(self: M, x: Tensor, context: Tensor | None = None) -> M:
        """Let the map read its constants off the data."""
        self.map.fit(x)
        return self


def domain_of(map: Map, periodic: bool = True) -> Domain:
    """Where a map has something, and where it goes: everywhere, or a box or circle onto itself."""
    if map.outside == "line":
        return Everywhere()
    half: float = map.box  # type: ignore[assignment]  # no map without tails is without a box
    circle = map.outside == "circle" and periodic
    return Angles(2.0 * half) if circle else Box(-half, half, closed=True)


def image_of(map: Map, given: Domain, periodic: bool = True) -> Domain:
    """Where a map takes features that lie in a domain; its inverse does the same."""
    if map.shifts and periodic and isinstance(given, Angles):
        return Angles(given.period, wrapped=False)  # a circle that is turned is the same circle
    own = domain_of(map, periodic)
    return carried(given, own, own)


def entered(map: Map, x: Tensor, periodic: bool = True) -> tuple[Tensor, Tensor | None]:
    """Features where the map has something, and which events lie outside; None where none can."""
    if map.outside == "line":
        return x, None
    within = domain_of(map, periodic)
    return within.pull_in(x), within.outside(x)


def left(logdet: Tensor, outside: Tensor | None) -> Tensor:
    """The logdet, -inf outside."""
    return logdet if outside is None else torch.where(outside, -math.inf, logdet)
