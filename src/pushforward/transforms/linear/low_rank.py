"""A diagonal matrix and one of low rank."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.errors import ArgumentError
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
from pushforward.transforms.linear.rotations import exponential, reflect

__all__ = ["LowRank"]


class LowRank(Linear):
    r"""Linear transform ``z = D (I + U V^T) x + shift``, D diagonal, U and V of ``rank`` columns.

    The columns of V are orthonormal, and with W free

        U = (I - V V^T) W + V (M - I),    M = Q R,

    Q a rotation and R upper triangular with a positive diagonal. Since ``V^T (I + U V^T) x`` is
    ``M V^T x``, the determinant is ``|D| |M| > 0`` (the determinant lemma, with a matrix of
    ``rank`` by ``rank``), and the inverse is

        x = y - U M^-1 V^T y,    y = D^-1 (z - shift)

    (Woodbury). Nothing is lost by this form: up to the bound of the diagonals, which are above
    0.001, it reaches every positive diagonal matrix plus one of that rank, where the sum has a
    positive determinant. The identity before training.

    Args:
        features: width of x.
        rank: number of columns of U and V.
        shift: whether a shift is learned too.
        context: width of the context; with one, a network gives each row its own matrix.
        hidden: widths of the hidden layers of that network.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``, the
        same for every row where there is no context

    Raises:
        ArgumentError: ``features`` is below 1 or ``rank`` is not within 1 … ``features``.

    Cost: ``features`` times ``rank`` a row in either direction, and ``features`` times ``rank``^2
        a call (a row with a context); exact.

    Source: none

    Example:
        >>> z, logdet = LowRank(3, rank=1)(torch.tensor([1.0, 2.0, 3.0]))
        >>> z.detach().round(decimals=4)
        tensor([1., 2., 3.])
    """

    def __init__(
        self,
        features: int,
        rank: int,
        shift: bool = True,
        context: int = 0,
        hidden: tuple[int, ...] = (128, 128),
    ) -> None:
        super().__init__()
        n, r = whole("LowRank", "features", features), whole("LowRank", "rank", rank)
        if r > n:
            raise ArgumentError(
                f"LowRank: rank is {r}, expected at most features = {n}; write LU or QR."
            )
        self.rank = r
        shapes = {"diagonal": (n,), "right": (r, n), "left": (n, r), "core": (r, r)}
        self._declare(n, context, hidden, **shapes, shift=(n,) if shift else None)

    def _factors(self, raw: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """U, V, Q and R."""
        core = raw["core"]
        right = reflect(raw["right"], self._frame(core))
        rotation = exponential(core)
        upper = core.triu(1) + torch.diag_embed(positive(core.diagonal(dim1=-2, dim2=-1)))
        one = torch.eye(self.rank, dtype=core.dtype, device=core.device)
        with full_precision(core):
            inside = rotation @ upper - one - right.mT @ raw["left"]
            return raw["left"] + right @ inside, right, rotation, upper

    def _frame(self, like: Tensor) -> Tensor:
        """What V is before training: waves, since each of them reads every feature."""
        n = self.event_shape[0]
        place = torch.arange(n, dtype=like.dtype, device=like.device) + 0.5
        return math.sqrt(2.0 / n) * torch.cos(math.pi / n * place[:, None] * place[: self.rank])

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        raw = self._raw(x, context)
        diagonal = positive(raw["diagonal"])
        left, right, _, upper = self._factors(raw)
        z = diagonal * (x + apply_matrix(apply_matrix(x, right.mT), left))
        logdet = torch.cat((diagonal, upper.diagonal(dim1=-2, dim2=-1)), -1).log().sum(-1)
        return z if (shift := raw.get("shift")) is None else z + shift, spread(logdet, x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        raw = self._raw(z, context)
        diagonal = positive(raw["diagonal"])
        left, right, rotation, upper = self._factors(raw)
        y = unshifted(z, raw.get("shift")) / diagonal
        inner = solve_upper(upper, apply_matrix(apply_matrix(y, right.mT), rotation.mT))
        logdet = torch.cat((diagonal, upper.diagonal(dim1=-2, dim2=-1)), -1).log().sum(-1)
        return y - apply_matrix(inner, left), spread(-logdet, z)
