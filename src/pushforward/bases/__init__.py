"""Bases: densities at the latent end."""

from pushforward.bases.base import Base
from pushforward.bases.columns.mixed import MixedColumns
from pushforward.bases.columns.side_by_side import Columns
from pushforward.bases.gaussian_mixture import GaussianMixture
from pushforward.bases.laplace import Laplace
from pushforward.bases.logistic import Logistic
from pushforward.bases.mixture import Mixture
from pushforward.bases.multivariate_normal import MultivariateNormal
from pushforward.bases.normal import Normal
from pushforward.bases.resampled import Resampled
from pushforward.bases.student_t import StudentT
from pushforward.bases.uniform import Uniform
from pushforward.bases.wrapped import Wrapped, as_base

__all__ = [
    "Base",
    "Columns",
    "GaussianMixture",
    "Laplace",
    "Logistic",
    "MixedColumns",
    "Mixture",
    "MultivariateNormal",
    "Normal",
    "Resampled",
    "StudentT",
    "Uniform",
    "Wrapped",
    "as_base",
]
