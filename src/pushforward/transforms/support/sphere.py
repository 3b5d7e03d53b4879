"""The sphere by an angle and heights."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.transforms.domains.box import Box
from pushforward.transforms.domains.curved import Directions
from pushforward.transforms.support.base import Supported

__all__ = ["Sphere"]


class Sphere(Supported):
    """Vectors of length one to an angle and heights: cylindrical coordinates.

    With ``r_k`` the length of the first k numbers of x,

        z_1 = the angle of (x_1, x_2),    z_(k-1) = x_k / r_k,    k = 3 … features.

    The logdet is with respect to the area of the sphere. On the circle and on the sphere in three
    dimensions it is zero: a uniform z is a uniform direction.

    Args:
        features: width of x.

    Shapes:
        x: ``(*batch, features)``, of length one up to rounding to four digits;
        z: ``(*batch, features - 1)``, an angle in [-pi, pi] and heights in [-1, 1];
        logdet: ``(*batch,)``

    Raises:
        ArgumentError: fewer than two features.

    Cost: one cumulative sum in either direction; exact. Heights beside 1 are 6e-8 apart in float32,
        so that directions within 3e-4 of a pole do not come back exactly.

    Source: Rezende et al. 2020, arXiv:2002.02428.
        Differs: the heights stay heights; further steps take them from [-1, 1] to where they like.

    Example:
        >>> z, logdet = Sphere(3)(torch.tensor([0.0, 0.6, 0.8]))
        >>> z, logdet
        (tensor([1.5708, 0.8000]), tensor(-0.))
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        if features < 2:
            raise ArgumentError(f"Sphere: features is {features}, expected at least 2.")
        self.event_shape = (features,)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """One number fewer than x has."""
        return (self.event_shape[0] - 1,)

    @property
    def domain(self) -> Directions:
        """The sphere."""
        return Directions()

    @property
    def codomain(self) -> Box:
        """An angle and heights."""
        ends = torch.ones(self.event_shape[0] - 1, dtype=torch.float64)
        ends[0] = math.pi
        return Box(-ends, ends, closed=True)

    def _there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        tiny = torch.finfo(x.dtype).tiny
        squares = x.square().cumsum(-1)[..., 1:]  # of r_2 … r_features
        pole = squares[..., :1] < tiny  # where every angle is as good: take zero
        first = torch.where(pole, 1.0, x[..., :1])
        angle = torch.atan2(torch.where(pole, 0.0, x[..., 1:2]), first)
        squares = squares[..., 1:].clamp_min(tiny)
        heights = (x[..., 2:] * squares.rsqrt()).clamp(-1.0, 1.0)
        # area over volume of coordinates is r_3 r_4 … r_(features - 1)
        return torch.cat((angle, heights), -1), -0.5 * squares[..., :-1].log().sum(-1)

    def _back(self, z: Tensor) -> tuple[Tensor, Tensor]:
        tiny = torch.finfo(z.dtype).tiny
        angle, heights = z[..., :1], z[..., 1:]
        log_shrink = ((1.0 - heights) * (1.0 + heights)).clamp_min(tiny).log()  # of (r_k-1 / r_k)^2
        # log r_k^2 for k = 2 … features, the last of which is zero
        log_squares = functional.pad(log_shrink.flip(-1).cumsum(-1).flip(-1), (0, 1))
        lengths = (0.5 * log_squares).exp()
        flat = torch.cat((angle.cos(), angle.sin()), -1) * lengths[..., :1]
        x = torch.cat((flat, heights * lengths[..., 1:]), -1)
        return x, 0.5 * log_squares[..., 1:-1].sum(-1)
