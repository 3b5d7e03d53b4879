"""Maps made of polynomials on a box, which go on along lines outside."""

from pushforward.maps.polynomial.bernstein import Bernstein
from pushforward.maps.polynomial.sum_of_squares import SumOfSquares

__all__ = ["Bernstein", "SumOfSquares"]
