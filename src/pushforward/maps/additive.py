"""The additive map: a shift, which keeps volume."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.kernels.formula import Formula
from pushforward.maps.base import Map

__all__ = ["Additive"]


class Additive(Map):
    """``z = x + t``, whose log-derivative is zero.

    Shapes:
        x, z: ``(*batch, features)``; raw: ``(*batch, features, 1)``

    Cost: one addition in either direction; exact.

    Source: Dinh, Krueger, Bengio 2014, arXiv:1410.8516

    Example:
        >>> import torch
        >>> Additive()(torch.ones(2), torch.full((2, 1), 3.0))[0]
        tensor([4., 4.])
    """

    raw_width = 1

    def __init__(self) -> None:
        super().__init__()
        if type(self) is Additive:
            self.formula = Formula("additive", 1)

    @property
    def shifts(self) -> bool:
        """Yes."""
        return True

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Shift."""
        z = x + raw[..., 0]
        return z, torch.zeros_like(z)

    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Shift back."""
        x = z - raw[..., 0]
        return x, torch.zeros_like(x)
