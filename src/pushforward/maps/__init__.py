"""Maps: monotone functions of one number with explicit parameters."""

from pushforward.maps.additive import Additive
from pushforward.maps.affine import Affine
from pushforward.maps.base import Map
from pushforward.maps.gated import Gated
from pushforward.maps.generalized_pareto import GeneralizedPareto
from pushforward.maps.integral import Integral
from pushforward.maps.polynomial import Bernstein, SumOfSquares
from pushforward.maps.power import YeoJohnson
from pushforward.maps.sigmoidal import DeepSigmoidal, DenseSigmoidal, LogisticMixture
from pushforward.maps.sinh_arcsinh import SinhArcsinh
from pushforward.maps.splines import Cubic, Linear, LinearRational, Quadratic, RationalQuadratic

__all__ = [
    "Additive",
    "Affine",
    "Bernstein",
    "Cubic",
    "DeepSigmoidal",
    "DenseSigmoidal",
    "Gated",
    "GeneralizedPareto",
    "Integral",
    "Linear",
    "LinearRational",
    "LogisticMixture",
    "Map",
    "Quadratic",
    "RationalQuadratic",
    "SinhArcsinh",
    "SumOfSquares",
    "YeoJohnson",
]
