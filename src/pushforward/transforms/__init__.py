"""Transforms: invertible differentiable maps, ``forward`` from data to latent."""

from pushforward.transforms.autoregressive import Autoregressive, BlockAutoregressive
from pushforward.transforms.base import Transform
from pushforward.transforms.compose import Compose, Inverse
from pushforward.transforms.continuous import Continuous
from pushforward.transforms.coupling import Coupling, Given, ImageCoupling
from pushforward.transforms.elementwise import Elementwise
from pushforward.transforms.linear import (
    LU,
    QR,
    SVD,
    ActNorm,
    BatchNorm,
    Convolution1x1,
    Diagonal,
    LowRank,
    Orthogonal,
    Permutation,
    Reverse,
    Standardize,
)
from pushforward.transforms.residual import Contractive, Planar, Radial, Sylvester
from pushforward.transforms.support import (
    Asinh,
    Circle,
    Columns,
    Exp,
    Interp,
    Interval,
    Log,
    Logit,
    NormalCDF,
    NormalQuantile,
    Sigmoid,
    Simplex,
    Softplus,
    Sphere,
    Tanh,
)

__all__ = [
    "LU",
    "QR",
    "SVD",
    "ActNorm",
    "Asinh",
    "Autoregressive",
    "BatchNorm",
    "BlockAutoregressive",
    "Circle",
    "Columns",
    "Compose",
    "Continuous",
    "Contractive",
    "Convolution1x1",
    "Coupling",
    "Diagonal",
    "Elementwise",
    "Exp",
    "Given",
    "ImageCoupling",
    "Interp",
    "Interval",
    "Inverse",
    "Log",
    "Logit",
    "LowRank",
    "NormalCDF",
    "NormalQuantile",
    "Orthogonal",
    "Permutation",
    "Planar",
    "Radial",
    "Reverse",
    "Sigmoid",
    "Simplex",
    "Softplus",
    "Sphere",
    "Standardize",
    "Sylvester",
    "Tanh",
    "Transform",
]
