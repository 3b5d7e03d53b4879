"""Transforms: invertible differentiable maps, ``forward`` from data to latent."""

from pushforward.transforms.autoregressive import Autoregressive
from pushforward.transforms.base import Transform
from pushforward.transforms.compose import Compose, Inverse
from pushforward.transforms.coupling import Coupling
from pushforward.transforms.elementwise import Elementwise
from pushforward.transforms.linear import (
    LU,
    ActNorm,
    Diagonal,
    Orthogonal,
    Permutation,
    Reverse,
    Standardize,
)

__all__ = [
    "LU",
    "ActNorm",
    "Autoregressive",
    "Compose",
    "Coupling",
    "Diagonal",
    "Elementwise",
    "Inverse",
    "Orthogonal",
    "Permutation",
    "Reverse",
    "Standardize",
    "Transform",
]
