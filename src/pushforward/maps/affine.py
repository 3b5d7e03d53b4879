"""The affine map: scale and shift."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.errors import ArgumentError
from pushforward.kernels.elementwise import move
from pushforward.kernels.formula import Formula, formula_of
from pushforward.maps.base import Map

__all__ = ["Affine"]


class Affine(Map):
    """``z = exp(s) x + t`` with ``s = bound * tanh(raw / bound)``.

    The bound keeps one step from scaling by more than ``exp(bound)`` either way, so that deep
    stacks neither overflow nor become singular.

    Args:
        bound: largest absolute log-scale.

    Shapes:
        x, z: ``(*batch, features)``; raw: ``(*batch, features, 2)``

    Raises:
        ArgumentError: ``bound`` is not positive.

    Cost: a few operations in either direction; exact.

    Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803.
        Differs: the log-scale is bounded smoothly.

    Example:
        >>> import torch
        >>> z, log_derivative = Affine()(torch.ones(3), torch.zeros(3, 2))
        >>> z, log_derivative
        (tensor([1., 1., 1.]), tensor([0., 0., 0.]))
    """

    raw_width = 2
    _made_of = ("bound",)

    def __init__(self, bound: float = 3.0) -> None:
        super().__init__()
        if not 0.0 < bound < math.inf:
            raise ArgumentError(f"Affine: bound is {bound}, expected a positive number.")
        self.bound = float(bound)
        if type(self) is Affine:
            self.formula = self._formula()

    def _formula(self) -> Formula | None:
        return formula_of("affine", 2, bound=self.bound)

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Scale, then shift."""
        return move(self._plain_forward, self.formula, x, raw)

    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Shift back, then scale back."""
        return move(self._plain_inverse, self.formula, z, raw, inverse=True)

    def _plain_forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._read(raw)
        return torch.addcmul(shift, x, log_scale.exp()), log_scale

    def _plain_inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._read(raw)
        return (z - shift) * (-log_scale).exp(), -log_scale

    def _read(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = raw.unbind(-1)
        return self.bound * torch.tanh(log_scale / self.bound), shift
