"""What linear transforms share: their parameters, and products and solves for each row."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.networks.mlp import MLP
from pushforward.numerics.conditioning import reach
from pushforward.numerics.precision import full_precision
from pushforward.transforms.base import Transform

__all__ = [
    "OFFSET",
    "SMALLEST",
    "Linear",
    "apply_matrix",
    "bounded",
    "positive",
    "solve",
    "solve_lower",
    "solve_upper",
    "spread",
    "unshifted",
    "whole",
]

SMALLEST = 1e-3  # of a diagonal, so that the matrix stays invertible
OFFSET = math.log(math.expm1(1.0 - SMALLEST))  # a diagonal is 1 at raw = 0


class Linear(Transform):
    """A linear transform whose matrix is built from named, unconstrained tensors.

    All are zero before training. With a context, a network of it gives each row its own.
    """

    network: MLP | None
    _shapes: dict[str, tuple[int, ...]]

    def _declare(
        self, features: int, context: int, hidden: tuple[int, ...], **shapes: tuple[int, ...] | None
    ) -> None:
        """Say what the parameters are called and their shapes; None leaves one out."""
        self.event_shape = (features,)
        self.context = context
        self._shapes = {name: shape for name, shape in shapes.items() if shape is not None}
        outputs = sum(map(math.prod, self._shapes.values()))
        self.network = MLP(context, outputs, hidden) if context else None
        for name, shape in shapes.items():
            values = None if context or shape is None else nn.Parameter(torch.zeros(shape))
            self.register_parameter(name, values)

    def _raw(self, x: Tensor, context: Tensor | None) -> dict[str, Tensor]:
        """The tensors by name; each has the shape it was declared with, behind that of a batch."""
        if self.network is None:
            return {name: getattr(self, name) for name in self._shapes}
        assert context is not None
        flat = self.network(reach(context)).to(x.dtype)
        pieces = flat.split([math.prod(shape) for shape in self._shapes.values()], -1)
        named = zip(self._shapes.items(), pieces, strict=True)
        return {name: piece.unflatten(-1, shape) for (name, shape), piece in named}


def whole(who: str, name: str, value: Any) -> int:
    """Check a width or a number of things: a whole number from 1 up."""
    if not hasattr(value, "__index__") or isinstance(value, bool) or value < 1:
        raise ArgumentError(f"{who}: {name} is {value!r}, expected a whole number from 1 up.")
    return operator.index(value)


def positive(raw: Tensor) -> Tensor:
    """A positive number, bounded away from zero; 1 at zero."""
    return functional.softplus(raw + OFFSET) + SMALLEST


def bounded(raw: Tensor, bound: float) -> Tensor:
    """``raw`` near zero, within ``bound`` everywhere."""
    return bound * torch.tanh(raw / bound)


def apply_matrix(x: Tensor, matrix: Tensor, shift: Tensor | None = None) -> Tensor:
    """``matrix @ x + shift`` for each row, never in half precision: it is part of a density.

    One matrix serves all rows, or each row has its own.
    """
    with full_precision(x):
        if matrix.ndim == 2:
            return functional.linear(x, matrix, shift)
        product = (matrix @ x.unsqueeze(-1)).squeeze(-1)
        return product if shift is None else product + shift


def unshifted(z: Tensor, shift: Tensor | None) -> Tensor:
    """``z - shift``, where there is one."""
    return z if shift is None else z - shift


def solve(matrix: Tensor, x: Tensor) -> Tensor:
    """``matrix^-1 @ x`` for each row, with any one matrix."""
    flat = x.reshape(-1, x.shape[-1])
    solved: Tensor = torch.linalg.solve(matrix.mT, flat, left=False)
    return solved.reshape(x.shape)


def solve_lower(matrix: Tensor, x: Tensor) -> Tensor:
    """``matrix^-1 @ x`` for each row, with a unit lower triangle."""
    return _solve(matrix, x, upper=False, unit=True)


def solve_upper(matrix: Tensor, x: Tensor) -> Tensor:
    """``matrix^-1 @ x`` for each row, with an upper triangle."""
    return _solve(matrix, x, upper=True, unit=False)


def _solve(matrix: Tensor, x: Tensor, *, upper: bool, unit: bool) -> Tensor:
    if matrix.ndim > 2:
        column: Tensor = torch.linalg.solve_triangular(
            matrix, x.unsqueeze(-1), upper=upper, unitriangular=unit
        )
        return column.squeeze(-1)
    # Rows times the transposed triangle from the right: the batch is one dimension of the solve.
    flat = x.reshape(-1, x.shape[-1])
    solved: Tensor = torch.linalg.solve_triangular(
        matrix.mT, flat, upper=not upper, left=False, unitriangular=unit
    )
    return solved.reshape(x.shape)


def spread(logdet: Tensor, x: Tensor) -> Tensor:
    """A logdet for every row of x, be it one for all."""
    return logdet.expand(x.shape[:-1])
