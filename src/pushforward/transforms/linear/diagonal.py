"""Scaling of each feature, learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pushforward.transforms.base import Transform
from pushforward.transforms.linear.matrix import spread, whole

__all__ = ["Diagonal"]


class Diagonal(Transform):
    """Scaling ``z = exp(s) x``, one learned s for each feature.

    One that depends on a context is ``Elementwise(features, map=maps.Affine(), context=…)``.

    Args:
        features: width of x.

    Shapes:
        x, z: ``(*batch, features)``; logdet: ``(*batch,)``, the same for every row

    Raises:
        ArgumentError: ``features`` is below 1.

    Cost: one product a number in either direction; exact.

    Source: Dinh, Krueger, Bengio 2014, arXiv:1410.8516 sec. 3.3

    Example:
        >>> Diagonal(2)(torch.ones(2))[0]
        tensor([1., 1.], grad_fn=<MulBackward0>)
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.event_shape = (whole("Diagonal", "features", features),)
        self.log_scale = nn.Parameter(torch.zeros(features))

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp(), spread(self.log_scale.sum(), x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z * (-self.log_scale).exp(), spread(-self.log_scale.sum(), z)

    def influence(self) -> Tensor:
        """Each feature its own z."""
        return torch.eye(self.event_shape[0], dtype=torch.bool)
