"""Increasing Bernstein polynomials."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.maps.numeric import BoxedNumericMap, Curve, check_min_slope
from pushforward.maps.polynomial.powers import powers

__all__ = ["Bernstein"]

_TAIL = 2.0  # bound of what softplus sees at the ends: tails with slopes from 0.21 to 2.6

_MOST = 60  # binomial coefficients beyond are no longer integers of 64 bits


class Bernstein(BoxedNumericMap):
    r"""Bernstein polynomial with increasing coefficients on a box, continued along lines.

        z = sum_i theta_i C(M, i) u^i (1 - u)^(M - i),   u = (x - low) / (high - low).

    Its derivative is a Bernstein polynomial too, whose coefficients are the scaled increments of
    theta, positive numbers: it lies between the least and the largest of them.

    Args:
        degree: degree M of the polynomial.
        box: half width of the box, or ``None`` to read it off the data (3.5 until ``fit``).
        min_slope: smallest slope.

    Shapes:
        x, z: ``(*batch, features)``; raw: ``(*batch, features, degree + 1)``

    Raises:
        ArgumentError: degree outside 1 … 60, ``min_slope`` outside (0, 1).
        ShapeError: in ``fit``, a number of features that the map is not bound to.
        DataError: in ``fit``, if there is no row, or a column holds values that are not finite.

    Cost: forward about ``6 * degree`` multiplications, exact. Inverse numeric: forward about ten
    times.

    Source: Sick et al. 2020, arXiv:2004.00464; Ramasinghe et al. 2021, arXiv:2102.03509.
        Differs: beyond the box it goes on along lines, whose slopes are bounded, so it is
        invertible everywhere; the coefficients are counted from the middle.

    Example:
        >>> map = Bernstein(degree=6, box=3.0)
        >>> raw = torch.randn(3, 1, map.raw_width, generator=torch.manual_seed(0))
        >>> x = torch.tensor([[-1e6], [0.5], [20.0]])
        >>> back, _ = map.inverse(map(x, raw)[0], raw)
        >>> bool(torch.allclose(back, x))
        True
    """

    choose: Tensor
    choose_below: Tensor

    def __init__(self, degree: int = 16, box: float | None = None, min_slope: float = 1e-3) -> None:
        super().__init__(box)
        if not 1 <= degree <= _MOST:
            raise ArgumentError(f"Bernstein: degree is {degree}, expected 1 to {_MOST}.")
        self.degree, self.min_slope = degree, check_min_slope("Bernstein", min_slope)
        self.raw_width = degree + 1
        # softplus(raw + offset) + min_slope is 1 at raw = 0
        self._offset = math.log(math.expm1(1.0 - min_slope))
        for name, n in (("choose", degree), ("choose_below", degree - 1)):
            self.register_buffer(name, torch.tensor([math.comb(n, i) for i in range(n + 1)]))

    def on_box(self, raw: Tensor) -> Curve:
        """The polynomial with its coefficients."""
        m = self.degree
        ends = _TAIL * torch.tanh(raw[..., :: max(m - 1, 1)] / _TAIL)
        free = torch.cat((ends[..., :1], raw[..., 1:-1], ends[..., 1:]), -1)
        slopes = functional.softplus(free + self._offset) + self.min_slope
        sums = slopes.cumsum(-1)
        theta = functional.pad(sums, (1, 0)) - 0.5 * sums[..., -1:]
        values = theta * (2.0 / m) * self.choose
        slopes = slopes * self.choose_below

        def polynomial(t: Tensor) -> tuple[Tensor, Tensor]:
            up, down = powers(0.5 + 0.5 * t, m), powers(0.5 - 0.5 * t, m).flip(-1)
            v = (values * (up * down)).sum(-1)
            rise = (slopes * (up[..., :-1] * down[..., 1:])).sum(-1)
            return v, rise.log()

        return polynomial
