"""Integrals of sums of squared polynomials."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.errors import ArgumentError
from pushforward.maps.numeric import BoxedNumericMap, Curve, check_counts, check_min_slope
from pushforward.maps.polynomial.powers import powers
from pushforward.numerics.gauss_legendre import floating, gauss_legendre

__all__ = ["SumOfSquares"]

_NORM = 15.0  # bound of the sum of squared coefficients, but for the 1 it starts with
_APART = 0.2  # the polynomials after the first begin as this times a power of their own


class SumOfSquares(BoxedNumericMap):
    r"""Integral of a sum of squared polynomials on a box, continued along lines.

        z = c + int_0^x ( e + (1 - e) sum_k (sum_l a_kl t^l)^2 ) dt

    with t in units of the box, e the least slope, and the coefficients within a ball: their squares
    sum to 16 at most. The integral is a Gauss-Legendre sum that is exact for this degree, of
    positive terms, so no digits cancel. At raw = 0 the polynomials begin a little apart, and the
    slope is between 0.96 and 1.

    Args:
        polynomials: number of squares; two already make every positive polynomial.
        degree: degree of the polynomials that are squared.
        box: half width of the box, or ``None`` to read it off the data (3.5 until ``fit``).
        min_slope: smallest slope e.

    Shapes:
        x, z: ``(*batch, features)``; raw: ``(*batch, features, polynomials * (degree + 1) + 1)``

    Raises:
        ArgumentError: degree below 1, polynomials below 1 or above ``degree + 1``, ``min_slope``
            outside (0, 1).
        ShapeError: in ``fit``, a number of features that the map is not bound to.
        DataError: in ``fit``, if there is no row, or a column holds values that are not finite.

    Cost: forward ``polynomials * (degree + 1) ** 2`` multiplications, exact. Inverse numeric:
    forward about ten times.

    Source: Jaini, Selby, Yu 2019, arXiv:1905.02325.
        Differs: on a box, with lines outside, since far out a polynomial overflows; the slope has a
        least and a largest value; the polynomials do not begin equal.

    Example:
        >>> map = SumOfSquares(box=3.0)
        >>> raw = torch.randn(3, 1, map.raw_width, generator=torch.manual_seed(0))
        >>> x = torch.tensor([[-1e6], [0.5], [20.0]])
        >>> back, _ = map.inverse(map(x, raw)[0], raw)
        >>> bool(torch.allclose(back, x))
        True
    """

    start: Tensor
    nodes: Tensor
    weights: Tensor

    def __init__(
        self,
        polynomials: int = 2,
        degree: int = 4,
        box: float | None = None,
        min_slope: float = 1e-2,
    ) -> None:
        super().__init__(box)
        check_counts("SumOfSquares", degree=degree)
        if not 1 <= polynomials <= degree + 1:
            raise ArgumentError(
                f"SumOfSquares: polynomials is {polynomials}, expected 1 to {degree + 1}, as "
                f"many as there are powers up to degree {degree}."
            )
        self.polynomials, self.degree = polynomials, degree
        self.min_slope = check_min_slope("SumOfSquares", min_slope)
        self.raw_width = polynomials * (degree + 1) + 1
        start = _APART * torch.eye(polynomials, degree + 1)
        start[0, 0] = (1.0 - _APART**2 * (polynomials - 1)) ** 0.5  # so the tails have slope 1
        nodes, weights = gauss_legendre(degree + 1)
        self.register_buffer("start", start)
        self.register_buffer("nodes", nodes)
        self.register_buffer("weights", weights)

    def on_box(self, raw: Tensor) -> Curve:
        """The integral with its coefficients."""
        a = raw.reshape(*raw.shape[:-1], self.polynomials, self.degree + 1) + self.start
        size = a.square().sum((-2, -1), keepdim=True)
        a = a * ((_NORM + 1.0) / (_NORM + size)).sqrt()
        nodes, weights = (floating(part, raw.dtype) for part in (self.nodes, self.weights))
        places = torch.cat((nodes, torch.ones_like(nodes[:1])))  # the last one is t itself
        matrix = powers(places, self.degree).mT

        def integral(t: Tensor) -> tuple[Tensor, Tensor]:
            values = (a * powers(t, self.degree).unsqueeze(-2)) @ matrix
            squares = values.square().sum(-2)
            rise = torch.lerp(squares, torch.ones_like(squares), self.min_slope)
            return t * (rise[..., :-1] * weights).sum(-1), rise[..., -1].log()

        return integral
