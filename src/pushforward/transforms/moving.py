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
    """

    map: Map

    @property
    def domain(self) -> Domain:
        """Where the map has something: a box, or a circle, if it was given one."""
        return domain_of(self.map)

    @property
    def codomain(self) -> Domain:
        """The same."""
        return self.domain

    def image(self, given: Domain) -> Domain:
        """Where the map takes what lies in a domain."""
        return image_of(self.map, given)

    def preimage(self, taken: Domain) -> Domain:
        """The same."""
        return self.image(taken)

    def fit(self: M, x: Tensor, context: Tensor | None = None) -> M:
        """Let the map read its constants off the data."""
        self.map.fit(x)
        return self


def domain_of(map: Map) -> Domain:
    """Where a map has something, and where it goes: everywhere, or a box or circle onto itself."""
    if map.outside == "line":
        return Everywhere()
    half: float = map.box  # type: ignore[assignment]  # no map without tails is without a box
    return Angles(2.0 * half) if map.outside == "circle" else Box(-half, half, closed=True)


def image_of(map: Map, given: Domain) -> Domain:
    """Where a map takes features that lie in a domain; its inverse does the same."""
    if map.shifts and isinstance(given, Angles):  # a circle that is turned is the same circle
        return given
    own = domain_of(map)
    return carried(given, own, own)


def entered(map: Map, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Features where the map has something, and which events lie outside; None where none can."""
    if map.outside == "line":
        return x, None
    within = domain_of(map)
    return within.pull_in(x), within.outside(x)


def left(logdet: Tensor, outside: Tensor | None) -> Tensor:
    """The logdet, -inf outside."""
    return logdet if outside is None else torch.where(outside, -math.inf, logdet)
