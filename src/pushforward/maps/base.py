"""The contract of a map: a monotone function of one number with explicit parameters."""

from __future__ import annotations

import abc
import copy
from typing import Any, TypeVar

from torch import Tensor, nn

from pushforward.errors import InputTypeError
from pushforward.kernels.formula import Formula
from pushforward.spec import Part

__all__ = ["Map", "as_map"]

M = TypeVar("M", bound="Map")


class Map(Part, nn.Module):
    """Monotone, differentiable map of one number, ``h(x; raw)``.

    A map knows no network: its parameters come in as ``raw``, unconstrained, ``raw_width``
    numbers for each x. ``raw = 0`` is the identity, or close to it where the map says so (terms of
    a sum that began equal would stay equal). What it may hold are constants of the data (the box
    of a spline), one for each feature, which ``fit`` sets; ``part`` then says which of them belong
    to some of the features.

    Shapes:
        x, z, log-derivative: ``(*batch, features)``; raw: ``(*batch, features, raw_width)``.
        The log-derivative is a natural logarithm, of the direction just applied.
    """

    raw_width: int
    # What the compiled kernels know of it, set by a class for itself alone: one that derives from
    # it may do something else. Made anew when an attribute changes that it was made of.
    formula: Formula | None = None
    _made_of: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in self._made_of and "formula" in self.__dict__:
            self.formula = self._formula()

    def _formula(self) -> Formula | None:
        """What the kernels know of a map of its very class, by its attributes."""
        return None

    @property
    def outside(self) -> str:
        """Beyond its box it goes on along a ``line``, in a ``circle``, or there is ``nothing``."""
        return "line"

    @property
    def constants(self) -> tuple[Tensor | None, Tensor | None]:
        """What the kernels read besides the formula, such as the ends of boxes."""
        return None, None

    @property
    def closed(self) -> bool:
        """Whether the inverse is a formula; False where it is searched for."""
        return True

    @property
    def shifts(self) -> bool:
        """Whether it does nothing but add a number, and so takes angles to angles."""
        return False

    @abc.abstractmethod
    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``h(x)`` and ``log |h'(x)|``."""

    @abc.abstractmethod
    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``h^-1(z)`` and ``log |d h^-1(z) / dz|``."""

    def bind(self: M, features: int) -> M:
        """A copy of this map that serves ``features`` numbers at once."""
        return copy.deepcopy(self)

    def part(self: M, index: slice | Tensor) -> M:
        """This map for some of the features that it is bound to; shares what it is made of.

        One with constants for each feature says which of them go along; others are it already.

        Args:
            index: the features, a slice or whole numbers.
        """
        return self

    def fit(self: M, x: Tensor) -> M:
        """Set the constants that depend on data, from ``(n, features)``; by default none are."""
        return self

    def _with(self: M, **constants: Tensor) -> M:
        """The same map with other constants in some places; it shares all else."""
        # not copy.copy, which torch does not compile
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.__dict__["_buffers"] = {**self._buffers, **constants}
        return other


def as_map(who: str, name: str, given: Any) -> Map:
    """An argument that is to be a map.

    Raises:
        InputTypeError: it is none.
    """
    if isinstance(given, Map):
        return given
    if isinstance(given, type) and issubclass(given, Map):
        raise InputTypeError(
            f"{who}: {name} is the class {given.__name__}, expected a map; write "
            f"maps.{given.__name__}()."
        )
    raise InputTypeError(
        f"{who}: {name} is a {type(given).__name__}, expected a map such as maps.Affine()."
    )
