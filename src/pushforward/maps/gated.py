"""The gated step of inverse autoregressive flows."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.maps.base import Map

__all__ = ["Gated"]

_MOST = 20.0
_BOUND = 4.0  # of what the gate reads; with the usual offset at least an eighth gets through


class Gated(Map):
    r"""Average of x and a new value, ``z = g x / g0 + (1 - g) m`` with a gate g between 0 and 1.

    The gate is ``g = sigmoid(raw + offset)`` and ``g0`` its value at raw = 0, so that raw = 0 is
    the identity. The map can forget x but not blow it up: its slope is at most ``1 / g0``.

    Args:
        offset: where the gate begins; the larger, the more of x is kept.

    Shapes:
        x, z: ``(*batch, features)``; raw: ``(*batch, features, 2)``

    Raises:
        ArgumentError: ``offset`` is beyond 20 either way, where a gate would no longer move.

    Cost: a few operations in either direction; exact.

    Source: Kingma et al. 2016, arXiv:1606.04934, algorithm 1.
        Differs: the gate is divided by its start, and raw enters through a bound, so that no gate
        closes altogether.

    Example:
        >>> import torch
        >>> z, log_derivative = Gated()(torch.ones(3), torch.zeros(3, 2))
        >>> z, log_derivative
        (tensor([1., 1., 1.]), tensor([0., 0., 0.]))
    """

    raw_width = 2

    def __init__(self, offset: float = 2.0) -> None:
        super().__init__()
        if not -_MOST <= offset <= _MOST:
            raise ArgumentError(f"Gated: offset is {offset}, expected a number from -20 to 20.")
        self.offset = float(offset)

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Keep some of x."""
        log_scale, shift = self._read(raw)
        return torch.addcmul(shift, x, log_scale.exp()), log_scale

    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Take the new value away."""
        log_scale, shift = self._read(raw)
        return (z - shift) * (-log_scale).exp(), -log_scale

    def _read(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        gate, new = raw.unbind(-1)
        gate = _BOUND * torch.tanh(gate / _BOUND) + self.offset
        at_start = math.log1p(math.exp(-self.offset))
        return functional.logsigmoid(gate) + at_start, torch.sigmoid(-gate) * new
