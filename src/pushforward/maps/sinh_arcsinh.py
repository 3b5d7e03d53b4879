"""The sinh-arcsinh map: location, scale, skewness and weight of the tails."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.maps.affine import Affine
from pushforward.maps.base import Map

__all__ = ["SinhArcsinh"]

_SKEW = 2.0  # the sides differ in scale by exp(4) at most, where the power is 1


class SinhArcsinh(Map):
    """``z = sinh(power (asinh(t) + skew))`` with ``t = exp(s) x + m``.

    Far out, z grows as ``|x|`` to the power: above 1 it makes a heavy tail of the data light, below
    1 a light one heavy. The skew is the logarithm by which the right side is stretched and the left
    one compressed. All but m are bounded smoothly: s as in ``Affine``, the skew by 2, and the power
    lies between ``1 / power`` and ``power``, so that a number a million away stays finite in
    float32, in either direction.

    Args:
        power: largest power of the tails.
        bound: largest absolute log-scale.

    Shapes:
        x, z: ``(*batch, features)``; raw: ``(*batch, features, 4)``: s, m, skew, power

    Raises:
        ArgumentError: ``power`` is not above 1, or ``bound`` is not positive.

    Cost: about twenty elementwise operations in either direction; exact.

    Source: Jones, Pewsey 2009, doi:10.1093/biomet/asp053.
        Differs: the skew stands inside the brackets, so that it does not depend on the power, and
        its sign is the other one.

    Example:
        >>> import torch
        >>> z, log_derivative = SinhArcsinh()(torch.tensor([-2.0, 0.0, 3.0]), torch.zeros(3, 4))
        >>> z.allclose(torch.tensor([-2.0, 0.0, 3.0]))
        True
    """

    raw_width = 4

    def __init__(self, power: float = 2.0, bound: float = 3.0) -> None:
        super().__init__()
        if not 1.0 < power < math.inf:
            raise ArgumentError(f"SinhArcsinh: power is {power}, expected a number above 1.")
        if not 0.0 < bound < math.inf:
            raise ArgumentError(f"SinhArcsinh: bound is {bound}, expected a positive number.")
        self.power = float(power)
        self.affine = Affine(bound)

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift, then bend the tails."""
        t, log_scale = self.affine(x, raw[..., :2])
        skew, log_power = self._read(raw)
        far = torch.asinh(t)
        bent = (far + skew) * log_power.exp()
        return bent.sinh(), log_scale + log_power + _log_cosh(bent) - _log_cosh(far)

    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Bend the tails back, then shift and scale back."""
        skew, log_power = self._read(raw)
        bent = torch.asinh(z)
        far = bent * (-log_power).exp() - skew
        x, log_scale = self.affine.inverse(far.sinh(), raw[..., :2])
        return x, log_scale - log_power + _log_cosh(far) - _log_cosh(bent)

    def _read(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        most = math.log(self.power)
        return _SKEW * torch.tanh(raw[..., 2] / _SKEW), most * torch.tanh(raw[..., 3] / most)


def _log_cosh(v: Tensor) -> Tensor:
    """``log cosh v``, smooth at 0 as ``|v|`` is not; e^-40 is below what float64 can add to 1."""
    return v + functional.softplus(-2.0 * v, threshold=40.0) - math.log(2.0)
