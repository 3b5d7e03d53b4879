"""Splines: piecewise maps on a box, all with the same knots and the same tails."""

from pushforward.maps.splines.rational_quadratic import RationalQuadratic

__all__ = ["RationalQuadratic"]
