"""Angles."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from pushforward.errors import ArgumentError, DataError
from pushforward.numerics.order_statistics import refuse_empty
from pushforward.transforms.domains.box import Box
from pushforward.transforms.domains.curved import Angles
from pushforward.transforms.support.base import Supported

__all__ = ["Circle"]

_ROUNDING = 1e-3  # of a period that data in few digits may go beyond it
_MANY = 3.0  # periods: sums and differences of angles span two; hours taken for radians 3.8


class Circle(Supported):
    """Angles wrapped to ``[-period / 2, period / 2)``.

    Angles a period apart are the same point and have the same density: a circle has no outside,
    and a density integrates to one over one period. Put it first, before circular splines with
    ``box=period / 2`` and a ``bases.Uniform`` over the same interval.

    Args:
        features: width of x.
        period: length of the circle, in the units of the data: 360 for degrees, 24 for hours.

    Shapes:
        x: ``(*batch, features)``, angles; z: the same, wrapped; logdet: ``(*batch,)``, zero

    Raises:
        ArgumentError: a period that is not positive.
        DataError: in ``fit``, no row, or a column that spans more than three periods.

    Cost: a few elementwise operations in either direction; exact: wrapping rounds nothing.

    Source: Rezende et al. 2020, arXiv:2002.02428

    Example:
        >>> Circle(2, period=360.0)(torch.tensor([350.0, 180.0]))[0]
        tensor([ -10., -180.])
    """

    def __init__(self, features: int, period: float = 2.0 * math.pi) -> None:
        super().__init__()
        if not 0 < period < math.inf:
            raise ArgumentError(f"Circle: period is {period}, expected a positive number.")
        self.event_shape = (features,)
        self.period = period

    @property
    def domain(self) -> Angles:
        """The circle."""
        return Angles(self.period)

    @property
    def codomain(self) -> Box:
        """One period around zero."""
        return Box(-self.period / 2.0, self.period / 2.0, closed=True)

    def _there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        half = self.period / 2.0
        rest = torch.fmod(x, self.period)  # fmod and both differences below are exact
        z = torch.where(rest >= half, rest - self.period, rest)
        z = torch.where(rest < -half, rest + self.period, z)
        return z, x.new_zeros(x.shape[:-1])

    def _back(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self._there(z)

    def fit(self, x: Tensor, context: Tensor | None = None) -> Circle:
        """Set nothing; refuse columns that go round many times, warn of more than once.

        Raises:
            DataError: no row, or a column spans more than three periods: its unit is another one.
        """
        refuse_empty("Circle.fit", x)
        span = (x.amax(0) - x.amin(0)) / self.period
        wide = torch.nonzero(span > 1.0 + _ROUNDING)
        if not len(wide):
            return self
        if float(span.max()) > _MANY:
            i = int(span.argmax())
            raise DataError(
                f"Circle.fit: column {i} of x spans {float(span[i]):.3g} periods of "
                f"{self.period:.4g}, expected about one; give the period in the unit of x, such as "
                f"period=360 for degrees, or take x modulo its period."
            )
        i = int(wide[0])
        warnings.warn(
            f"Circle.fit: column {i} of x spans {float(span[i]):.3g} periods of "
            f"{self.period:.4g}; if these are no angles in that unit, give the period, such as "
            f"period=360 for degrees.",
            UserWarning,
            stacklevel=2,
        )
        return self

    def influence(self) -> Tensor:
        """Each feature its own z."""
        return torch.eye(self.event_shape[0], dtype=torch.bool)
