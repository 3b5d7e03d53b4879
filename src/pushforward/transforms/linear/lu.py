"""A full matrix by its LU factors."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from pushforward.kernels.chain import LayerCall
from pushforward.kernels.dispatch import eager, readable
from pushforward.kernels.originals import Methods
from pushforward.kernels.plan import TrianglesPlan
from pushforward.numerics.precision import full_precision
from pushforward.transforms.fused import Prepared, Weights, fused
from pushforward.transforms.linear.matrix import (
    OFFSET,
    SMALLEST,
    Linear,
    apply_matrix,
    positive,
    solve_lower,
    solve_upper,
    spread,
    unshifted,
    whole,
)

__all__ = ["LU"]


class LU(Linear):
    """Linear transform ``z = L U x + shift``, L unit lower and U upper triangular.

    The diagonal of U is positive: with a ``Permutation`` before it, it reaches every matrix of
    positive determinant that elimination can factor. The identity before training.

    Args:
        features: width of x.
        shift: whether a shift is learned too.
        context: width of the context; with one, a network gives each row its own matrix.
        hidden: widths of the hidden layers of that network.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``, the
        same for every row where there is no context

    Raises:
        ArgumentError: ``features`` is below 1.

    Cost: one product of ``features``^2 a row in either direction (``features``^3 / 3 more with a
        context); exact.

    Source: Oliva et al. 2018, arXiv:1801.09819; Kingma, Dhariwal 2018, arXiv:1807.03039.
        Differs: the diagonal is bounded away from zero.

    Example:
        >>> z, logdet = LU(2)(torch.tensor([1.0, 2.0]))
        >>> z.detach().round(decimals=4)
        tensor([1., 2.])
    """

    def __init__(
        self,
        features: int,
        shift: bool = True,
        context: int = 0,
        hidden: tuple[int, ...] = (128, 128),
    ) -> None:
        super().__init__()
        n = whole("LU", "features", features)
        shapes = {"lower": (n, n), "upper": (n, n), "diagonal": (n,)}
        self._declare(n, context, hidden, **shapes, shift=(n,) if shift else None)

    def _factors(self, raw: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        diagonal = positive(raw["diagonal"])
        one = torch.eye(self.event_shape[0], dtype=diagonal.dtype, device=diagonal.device)
        upper = raw["upper"].triu(1) + torch.diag_embed(diagonal)
        return raw["lower"].tril(-1) + one, upper, diagonal

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        found = fused(self._in_a_row("_forward", x, context), x, None) if eager() else None
        return self._multiplied(x, self._raw(x, context)) if found is None else found

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        found = fused(self._in_a_row("_inverse", z, context), z, None) if eager() else None
        return self._solved(z, self._raw(z, context)) if found is None else found

    def _multiplied(self, x: Tensor, raw: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        lower, upper, diagonal = self._factors(raw)
        with full_precision(x):
            matrix = lower @ upper
        return apply_matrix(x, matrix, raw.get("shift")), spread(diagonal.log().sum(-1), x)

    def _solved(self, z: Tensor, raw: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        lower, upper, diagonal = self._factors(raw)
        x = unshifted(z, raw.get("shift"))
        return solve_upper(upper, solve_lower(lower, x)), spread(-diagonal.log().sum(-1), z)

    def _in_a_row(
        self, method: str, x: Tensor, context: Tensor | None, retraced: bool = False
    ) -> Prepared | None:
        if self.network is not None or not _METHODS.are_those_of(self):
            return None
        names = [name for name in _IN_TURN if name in self._shapes]
        tensors: list[Any] = [self._parameters.get(name) for name in names]
        (n,) = self.event_shape
        if x.shape[-1] != n or x.numel() == 0:
            return None
        for name, tensor in zip(names, tensors, strict=True):
            if tensor is None or tensor.shape != self._shapes[name] or not tensor.is_contiguous():
                return None
        if not readable((x, *tensors)):
            return None
        inverse = method == "_inverse"
        apply = self._solved if inverse else self._multiplied

        def plain(x: Tensor, context: Tensor | None, tensors: Weights) -> tuple[Tensor, Tensor]:
            return apply(x, dict(zip(names, tensors, strict=True)))

        return Prepared(LayerCall(_plan(n, len(tensors) > 3), plain, None, None, inverse), tensors)


_IN_TURN = ("lower", "diagonal", "upper", "shift")  # what multiplies, what is added
_METHODS = Methods(LU, "_forward", "_inverse", "_multiplied", "_solved", "_factors", "_raw")


@lru_cache(maxsize=256)
def _plan(features: int, shift: bool) -> TrianglesPlan:
    return TrianglesPlan(features, offset=OFFSET, least=SMALLEST, shift=shift)
