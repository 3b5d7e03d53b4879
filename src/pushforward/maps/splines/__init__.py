"""Splines: piecewise maps on a box, all with the same knots and the same tails."""

from pushforward.maps.splines.cubic import Cubic
from pushforward.maps.splines.linear import Linear
from pushforward.maps.splines.linear_rational import LinearRational
from pushforward.maps.splines.quadratic import Quadratic
from pushforward.maps.splines.rational_quadratic import RationalQuadratic

__all__ = ["Cubic", "Linear", "LinearRational", "Quadratic", "RationalQuadratic"]
