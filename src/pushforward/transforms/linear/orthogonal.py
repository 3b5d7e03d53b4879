"""A rotation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pushforward.transforms.base import Transform
from pushforward.transforms.linear.matrix import apply_matrix

__all__ = ["Orthogonal"]


class Orthogonal(Transform):
    """Rotation ``z = exp(A) x`` with A antisymmetric; volume is kept.

    The identity before training; every rotation can be reached.

    Args:
        features: width of x.

    Shapes:
        x, z: ``(*batch, features)``; logdet: ``(*batch,)``, zero

    Cost: a matrix exponential a call and ``features``^2 a row in either direction; exact.

    Source: Golinski, Lezcano-Casado, Rainforth 2019 (ICML workshop INNF), "Improving normalizing
        flows via better orthogonal parameterizations"

    Example:
        >>> turn = Orthogonal(2)
        >>> _ = turn.generator.data.copy_(torch.tensor([[0.0, 0.0], [torch.pi / 2, 0.0]]))
        >>> turn(torch.tensor([1.0, 0.0]))[0].detach().round(decimals=4).abs()
        tensor([0., 1.])
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.event_shape = (features,)
        self.generator = nn.Parameter(torch.zeros(features, features))

    def _matrix(self) -> Tensor:
        below = self.generator.tril(-1)
        matrix: Tensor = torch.linalg.matrix_exp(below - below.mT)
        return matrix

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return apply_matrix(x, self._matrix()), x.new_zeros(x.shape[:-1])

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return apply_matrix(z, self._matrix().mT), z.new_zeros(z.shape[:-1])
