"""Student's t: its density, the probability below a number, and the numbers of probabilities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["student_t_below", "student_t_log_density", "student_t_quantile"]


def student_t_log_density(z: Tensor, df: Tensor) -> Tensor:
    """Log-density of the standard Student t, nats; both arguments broadcast.

    The constant is taken in float64, where the difference of two ``lgamma`` keeps its digits for
    any number of degrees of freedom that can be learned; z is never squared, so it cannot overflow.

    Example:
        >>> student_t_log_density(torch.tensor([0.0, 1e200]).double(), torch.tensor(1.0)).exp()
        tensor([0.3183, 0.0000], dtype=torch.float64)
    """
    exact = df.double()
    half = 0.5 * (exact + 1.0)
    constant = half.lgamma() - (0.5 * exact).lgamma() - 0.5 * (exact * math.pi).log()
    root = torch.hypot(z * df.rsqrt(), torch.ones_like(z))  # of 1 + z^2 / df
    return constant.to(z.dtype) - (df + 1.0).to(z.dtype) * root.log()


def student_t_below(z: Tensor, df: Tensor) -> Tensor:
    """Probability below z, in float64; without a gradient.

    The probability above z is that below -z, to all digits.

    Example:
        >>> student_t_below(torch.tensor([0.0, 1.0]), torch.tensor(1.0))
        tensor([0.5000, 0.7500], dtype=torch.float64)
    """
    from scipy.special import stdtr

    return torch.as_tensor(stdtr(_array(df), _array(z)), device=z.device)


def student_t_quantile(level: Tensor, df: Tensor) -> Tensor:
    """The number that a probability lies below, in float64; without a gradient.

    Example:
        >>> student_t_quantile(torch.tensor([0.25, 0.75]), torch.tensor(1.0)).float()
        tensor([-1.,  1.])
    """
    from scipy.special import stdtrit

    # of the lower half, so that levels and one less them give the same numbers but for the sign
    level = level.double()
    upper = level > 0.5
    low = torch.where(upper, 1.0 - level, level)
    found = torch.as_tensor(stdtrit(_array(df), _array(low)), device=level.device)
    return torch.where(upper, -found, found)


def _array(value: Tensor) -> object:
    return value.detach().to("cpu", torch.float64).numpy()
