"""Sylvester flows, both ways."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.errors import ArgumentError
from pushforward.numerics.precision import full_precision
from pushforward.numerics.solvers.tanh_root import tanh_root, tanh_slope
from pushforward.transforms.residual.conditioned import Conditioned
from pushforward.transforms.residual.constraint import above_minus_one, shrink
from pushforward.transforms.residual.orthonormal import exponential, reflected

__all__ = ["Sylvester"]

KINDS = ("orthogonal", "householder", "triangular")


class Sylvester(Conditioned):
    r"""Sylvester transform: a planar one along several directions at once.

        z = x + Q R tanh(R~ Q^T x + b),    logdet = sum_i log(1 + tanh'_i R_ii R~_ii),

    Q with ``rank`` orthonormal columns, R and R~ upper triangular. R_ii R~_ii > -0.999 for all
    weights, so it is invertible. The identity before training.

    The inverse is exact: in the coordinates y = Q^T x the map is triangular, and one number after
    the other, the last first, solves ``y_i + R_ii tanh(R~_ii y_i + ...) = ...``. What is
    orthogonal to Q stays as it is.

    The paper writes its formula for the way from latent to data; that is
    ``Inverse(Sylvester(...))``.

    Args:
        features: width of x.
        rank: number of directions, at most ``features``; by default all.
        kind: what Q is. ``orthogonal``: the exponential of an antisymmetric matrix;
            ``householder``: a product of ``rank`` reflections; ``triangular``: the first ``rank``
            features themselves, with a ``Reverse`` between layers.
        context: width of the context; with one, a network moves all parameters.
        hidden: widths of the hidden layers of that network.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``

    Raises:
        ArgumentError: an unknown kind, or a rank that is not between 1 and ``features``.
        InverseError: the inverse did not converge, which finite weights do not make happen.

    Cost: forward ``features rank`` a row, and the making of Q: ``features``^3 or, by reflections,
        ``features rank``^2, once a call or, with a context, once a row; inverse ``rank`` Newton
        iterations in turn; both exact.

    Source: van den Berg, Hasenclever, Tomczak, Welling 2018, arXiv:1803.05649.
        Differs: ``orthogonal`` is a matrix exponential, not an iterative orthogonalization;
        R_ii R~_ii may be any number above -0.999, and is not bounded above by 1; the directions
        are exchanged.

    Example:
        >>> t = Sylvester(3, rank=2)
        >>> x = torch.tensor([[1e6, -3.0, 0.5]])
        >>> torch.allclose(t.inverse(t(x)[0])[0], x)
        True
    """

    def __init__(
        self,
        features: int,
        rank: int | None = None,
        kind: str = "orthogonal",
        context: int = 0,
        hidden: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__()
        self.rank = features if rank is None else rank
        self.kind = kind
        if kind not in KINDS:
            raise ArgumentError(f"Sylvester: kind is {kind!r}, expected one of {', '.join(KINDS)}.")
        if not 1 <= self.rank <= features:
            raise ArgumentError(
                f"Sylvester: rank is {rank}, expected a number from 1 to features, {features}."
            )
        m = self.rank
        columns = 0 if kind == "triangular" else features * m
        start = (torch.zeros(m * m), torch.ones(m), torch.randn(m), torch.randn(columns))
        self._condition(torch.cat(start), features, context, hidden)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            frame, outer, inner, b, product = self._read(x, context)
            s = _times(inner, _times(frame.mT, x)) + b
            z = x + _times(frame, _times(outer, torch.tanh(s)))
            return z, torch.log1p(product * tanh_slope(s)).sum(-1)

    @property
    def closed(self) -> tuple[bool, bool]:
        """The inverse is searched for."""
        return True, False

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            frame, outer, inner, b, product = self._read(z, context)
            s = self._substitute(_times(frame.mT, z), outer, inner, b, product)
            x = z - _times(frame, _times(outer, torch.tanh(s)))
            return x, -torch.log1p(product * tanh_slope(s)).sum(-1)

    def _substitute(
        self, y: Tensor, outer: Tensor, inner: Tensor, b: Tensor, product: Tensor
    ) -> Tensor:
        """What stands in the tanh where ``x_i + sum_j R_ij tanh(s_j) = y_i``, the last first."""
        x: list[Tensor] = []
        s: list[Tensor] = []
        for i in reversed(range(self.rank)):
            offset, target = b[..., i], y[..., i]
            if x:
                offset = offset + (inner[..., i, i + 1 :] * torch.stack(x, -1)).sum(-1)
                bent = torch.tanh(torch.stack(s, -1))
                target = target - (outer[..., i, i + 1 :] * bent).sum(-1)
            r, q = outer[..., i, i], inner[..., i, i]
            x.insert(0, tanh_root(target, r, q, offset, product[..., i], who="Sylvester.inverse"))
            s.insert(0, q * x[0] + offset)
        return torch.stack(s, -1)

    def _read(
        self, x: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Q, R, R~, b and the products of the diagonals of R and R~."""
        m, n = self.rank, self.event_shape[0]
        raw = self._parameters_for(x, context)
        sizes = [m * m, m, m, raw.shape[-1] - m * m - 2 * m]
        both, q, b, columns = torch.split(raw, sizes, -1)
        # One square holds R above its diagonal, R~ below it, and what R_ii is made of on it.
        both = both.reshape(*both.shape[:-1], m, m)
        r = both.diagonal(dim1=-2, dim2=-1)
        dot = r * q
        outer = both.triu(1) + torch.diag_embed(r * shrink(dot))
        inner = both.tril(-1).mT + torch.diag_embed(q)
        return self._frame(columns, n, m), outer, inner, b, above_minus_one(dot)

    def _frame(self, columns: Tensor, n: int, m: int) -> Tensor:
        if self.kind == "triangular":
            return torch.eye(n, m, dtype=columns.dtype, device=columns.device)
        columns = columns.reshape(*columns.shape[:-1], n, m)
        return exponential(columns) if self.kind == "orthogonal" else reflected(columns)

    def influence(self) -> Tensor | None:
        """All, unless Q is the features themselves: then each those behind it."""
        if self.kind != "triangular":
            return None
        seen = torch.eye(self.event_shape[0], dtype=torch.bool)
        seen[: self.rank, : self.rank] |= torch.ones(self.rank, self.rank).triu().bool()
        return seen


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """A matrix, or one a row, times each row."""
    return (x.unsqueeze(-2) @ matrix.mT).squeeze(-2)
