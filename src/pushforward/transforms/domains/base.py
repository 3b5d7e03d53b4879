"""What every domain can say, and the widest of them."""

from __future__ import annotations

import abc
import math

import torch
from torch import Tensor

__all__ = ["SAME", "Domain", "Everywhere"]

SAME = 1e-6  # relative difference of two ends that are meant to be the same number


class Domain(abc.ABC):
    """A set of events, whose numbers are the last ``dims`` dimensions of a tensor.

    Not a number lies neither inside nor outside.

    Attributes:
        dims: how many dimensions an event has.
        solid: whether it is a piece of space, over whose volume a density integrates to one.
        thin: whether it has no volume in the space of its numbers, as a surface.
    """

    dims: int = 1
    solid: bool = True
    thin: bool = False

    @abc.abstractmethod
    def outside(self, x: Tensor) -> Tensor:
        """Which events lie outside, ``(*batch,)``."""

    @abc.abstractmethod
    def pull_in(self, x: Tensor) -> Tensor:
        """The same x, except that events outside are moved to where arithmetic is safe."""

    @abc.abstractmethod
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Ends of the smallest box around it: one for all features, or ``(features,)``."""

    @abc.abstractmethod
    def holds(self, other: Domain) -> bool:
        """Whether another domain lies in this one. Ends count as inside."""

    def contains(self, x: Tensor) -> Tensor:
        """Which events lie inside, ``(*batch,)``."""
        return ~(self.outside(x) | _any(x.isnan(), self.dims))

    def within(self, other: Domain) -> bool:
        """Whether this lies in another domain. Ends count as inside."""
        return other.holds(self)

    def part(self, start: int, stop: int) -> Domain | None:
        """What features ``start`` to ``stop`` may be, if that does not depend on the others."""
        return None

    def tangent(self, x: Tensor) -> Tensor:
        """Directions in which one x can move, as columns, ``(numbers, freedom)``.

        Together they span the unit of volume that densities count by.
        """
        return torch.eye(x.numel(), dtype=x.dtype, device=x.device)

    def difference(self, x: Tensor, y: Tensor) -> Tensor:
        """How far each number of x is from that of y, zero where both mean the same."""
        return x - y

    def way_in(self, features: int, given: Domain) -> str | None:
        """What to write to get here from another domain, where one transform does it."""
        return None


class Everywhere(Domain):
    """Every real number.

    Example:
        >>> Everywhere().contains(torch.tensor([[1.0, 2.0], [1.0, torch.inf]]))
        tensor([ True, False])
    """

    def __init__(self, dims: int = 1) -> None:
        self.dims = dims

    def outside(self, x: Tensor) -> Tensor:
        """Where a number is infinite."""
        return _any(x.isinf(), self.dims)

    def pull_in(self, x: Tensor) -> Tensor:
        """Infinite numbers become zero."""
        return torch.where(x.isinf(), 0.0, x)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The whole line, for each feature."""
        end = torch.tensor(math.inf, dtype=torch.float64)
        return -end, end

    def holds(self, other: Domain) -> bool:
        """Always."""
        return True

    def part(self, start: int, stop: int) -> Domain:
        """The same."""
        return self

    def __str__(self) -> str:
        return "every real number"


def _any(mask: Tensor, dims: int) -> Tensor:
    """Whether anything in an event is true."""
    return mask.any(-1) if dims == 1 else mask.flatten(-dims).any(-1) if dims else mask
