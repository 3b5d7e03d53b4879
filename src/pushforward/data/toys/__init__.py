"""Densities in the plane with an exact ``log_prob``: what a flow learned can be measured.

``TOYS`` holds them by name, and `toy` looks one up.
"""

from __future__ import annotations

from pushforward.data.table_source import did_you_mean
from pushforward.data.toys.banana import Banana
from pushforward.data.toys.base import Toy
from pushforward.data.toys.checkerboard import Checkerboard
from pushforward.data.toys.eight_gaussians import EightGaussians
from pushforward.data.toys.households import Households
from pushforward.data.toys.pinwheel import Pinwheel
from pushforward.data.toys.rings import Rings
from pushforward.data.toys.two_moons import TwoMoons
from pushforward.errors import ArgumentError

__all__ = [
    "TOYS",
    "Banana",
    "Checkerboard",
    "EightGaussians",
    "Households",
    "Pinwheel",
    "Rings",
    "Toy",
    "TwoMoons",
    "toy",
]

_ALL: tuple[Toy, ...] = (
    EightGaussians(),
    TwoMoons(),
    Banana(),
    Pinwheel(),
    Rings(),
    Checkerboard(),
)
TOYS: dict[str, Toy] = {density.name: density for density in _ALL}


def toy(name: str) -> Toy:
    """The toy density of a name.

    Raises:
        ArgumentError: there is none of that name.

    Example:
        >>> toy("two_moons").sample(3).shape
        torch.Size([3, 2])
    """
    if name in TOYS:
        return TOYS[name]
    raise ArgumentError(f"toy: name is {name!r}.{did_you_mean(name, TOYS)}")
