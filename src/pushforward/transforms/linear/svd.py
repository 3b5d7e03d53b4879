"""A full matrix by its singular values."""

from __future__ import annotations

import math

from torch import Tensor

from pushforward.errors import ArgumentError
from pushforward.numerics.precision import full_precision
from pushforward.transforms.linear.matrix import (
    Linear,
    apply_matrix,
    bounded,
    spread,
    unshifted,
    whole,
)
from pushforward.transforms.linear.rotations import ROTATIONS, raw_shape

__all__ = ["SVD"]


class SVD(Linear):
    """Linear transform ``z = U diag(s) V^T x + shift``, U and V rotations.

    ``s = exp(bound * tanh(raw / bound))``: no singular value leaves ``exp(-bound)`` to
    ``exp(bound)``, so that wherever training drives it the matrix can be inverted, and the
    rounding of a round trip grows by at most ``exp(2 * bound)``. It reaches every matrix of
    positive determinant with such singular values. The identity before training.

    Args:
        features: width of x.
        method: how U and V are built: ``householder``, ``exponential`` or ``cayley``, see
            ``Orthogonal``.
        reflections: number of reflections in each, for ``householder``; by default ``features``,
            which reach every rotation.
        bound: largest absolute logarithm of a singular value.
        shift: whether a shift is learned too.
        context: width of the context; with one, a network gives each row its own matrix.
        hidden: widths of the hidden layers of that network.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``, the
        same for every row where there is no context

    Raises:
        ArgumentError: ``features`` or ``reflections`` is below 1, ``method`` is unknown or
            ``bound`` is not positive.

    Cost: ``features``^2 a row in either direction, and ``features``^3 a call (a row with a
        context) for the factors; exact.

    Source: Zhang, Lei, Dhillon 2018, arXiv:1803.09327.
        Differs: the logarithms of the singular values are bounded, around 0; a shift.

    Example:
        >>> import torch
        >>> z, logdet = SVD(2)(torch.tensor([1.0, 2.0]))
        >>> z.detach().round(decimals=4)
        tensor([1., 2.])
    """

    def __init__(
        self,
        features: int,
        method: str = "householder",
        reflections: int | None = None,
        bound: float = 3.0,
        shift: bool = True,
        context: int = 0,
        hidden: tuple[int, ...] = (128, 128),
    ) -> None:
        super().__init__()
        n = whole("SVD", "features", features)
        if not 0.0 < bound < math.inf:
            raise ArgumentError(f"SVD: bound is {bound}, expected a positive number.")
        self.method, self.bound = method, float(bound)
        turn = raw_shape("SVD", n, method, reflections)
        self._declare(
            n, context, hidden, left=turn, right=turn, log_scale=(n,), shift=(n,) if shift else None
        )

    def _matrix(self, raw: dict[str, Tensor], log_scale: Tensor, turned: bool) -> Tensor:
        """``first diag(scale) second^T``, where the inverse has the rotations exchanged."""
        rotate = ROTATIONS[self.method]
        first, second = rotate(raw["left"]), rotate(raw["right"])
        if turned:
            first, second = second, first
        with full_precision(first):
            return (first * log_scale.exp().unsqueeze(-2)) @ second.mT

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        raw = self._raw(x, context)
        log_scale = bounded(raw["log_scale"], self.bound)
        z = apply_matrix(x, self._matrix(raw, log_scale, turned=False), raw.get("shift"))
        return z, spread(log_scale.sum(-1), x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        raw = self._raw(z, context)
        log_scale = -bounded(raw["log_scale"], self.bound)
        moved = unshifted(z, raw.get("shift"))
        x = apply_matrix(moved, self._matrix(raw, log_scale, turned=True))
        return x, spread(log_scale.sum(-1), z)
