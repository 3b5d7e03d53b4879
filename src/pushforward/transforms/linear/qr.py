"""A full matrix by its QR factors."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.numerics.precision import full_precision
from pushforward.transforms.linear.matrix import (
    Linear,
    apply_matrix,
    positive,
    solve_upper,
    spread,
    unshifted,
    whole,
)
from pushforward.transforms.linear.rotations import ROTATIONS, raw_shape

__all__ = ["QR"]


class QR(Linear):
    """Linear transform ``z = Q R x + shift``, Q a rotation and R upper triangular.

    The diagonal of R is positive: it reaches every matrix of positive determinant, with no
    permutation. The identity before training.

    Args:
        features: width of x.
        method: how Q is built: ``householder``, ``exponential`` or ``cayley``, see ``Orthogonal``.
        reflections: number of reflections, for ``householder``; by default ``features``, which
            reach every rotation.
        shift: whether a shift is learned too.
        context: width of the context; with one, a network gives each row its own matrix.
        hidden: widths of the hidden layers of that network.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``, the
        same for every row where there is no context

    Raises:
        ArgumentError: ``features`` or ``reflections`` is below 1, or ``method`` is unknown.

    Cost: ``features``^2 a row in either direction, and ``features``^3 a call (a row with a
        context) for the factors; exact.

    Source: Hoogeboom, van den Berg, Welling 2019, arXiv:1901.11137.
        Differs: the diagonal is bounded away from zero; a shift.

    Example:
        >>> z, logdet = QR(2)(torch.tensor([1.0, 2.0]))
        >>> z.detach().round(decimals=4)
        tensor([1., 2.])
    """

    def __init__(
        self,
        features: int,
        method: str = "householder",
        reflections: int | None = None,
        shift: bool = True,
        context: int = 0,
        hidden: tuple[int, ...] = (128, 128),
    ) -> None:
        super().__init__()
        n = whole("QR", "features", features)
        self.method = method
        self._declare(
            n,
            context,
            hidden,
            rotation=raw_shape("QR", n, method, reflections),
            upper=(n, n),
            diagonal=(n,),
            shift=(n,) if shift else None,
        )

    def _factors(self, raw: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        diagonal = positive(raw["diagonal"])
        upper = raw["upper"].triu(1) + torch.diag_embed(diagonal)
        return ROTATIONS[self.method](raw["rotation"]), upper, diagonal

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        raw = self._raw(x, context)
        rotation, upper, diagonal = self._factors(raw)
        with full_precision(x):
            matrix = rotation @ upper
        return apply_matrix(x, matrix, raw.get("shift")), spread(diagonal.log().sum(-1), x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        raw = self._raw(z, context)
        rotation, upper, diagonal = self._factors(raw)
        x = unshifted(z, raw.get("shift"))
        return solve_upper(upper, apply_matrix(x, rotation.mT)), spread(-diagonal.log().sum(-1), z)
