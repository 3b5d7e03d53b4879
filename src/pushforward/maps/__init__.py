"""Maps: monotone functions of one number with explicit parameters."""

from pushforward.maps.additive import Additive
from pushforward.maps.affine import Affine
from pushforward.maps.base import Map
from pushforward.maps.gated import Gated
from pushforward.maps.splines import RationalQuadratic

__all__ = ["Additive", "Affine", "Gated", "Map", "RationalQuadratic"]
