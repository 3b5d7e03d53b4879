"""Transforms between supports, named after where they take x: data to latent."""

from pushforward.transforms.support.asinh import Asinh
from pushforward.transforms.support.circle import Circle
from pushforward.transforms.support.columns import Columns
from pushforward.transforms.support.exponential import Exp, Log, Softplus
from pushforward.transforms.support.interp import Interp
from pushforward.transforms.support.interval import Interval
from pushforward.transforms.support.logistic import Logit, Sigmoid, Tanh
from pushforward.transforms.support.normal import NormalCDF, NormalQuantile
from pushforward.transforms.support.simplex import Simplex
from pushforward.transforms.support.sphere import Sphere

__all__ = [
    "Asinh",
    "Circle",
    "Columns",
    "Exp",
    "Interp",
    "Interval",
    "Log",
    "Logit",
    "NormalCDF",
    "NormalQuantile",
    "Sigmoid",
    "Simplex",
    "Softplus",
    "Sphere",
    "Tanh",
]
