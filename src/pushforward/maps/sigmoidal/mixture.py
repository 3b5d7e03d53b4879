"""Logits of mixtures of sigmoids, whose tails are lines to the last digit."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["add_line", "bounded_exp", "logit_of_mixture", "spread"]

_BOUND = 3.0  # of log-slopes: from 1/20 to 20, as an affine map's
_STEEPER, _WITHIN = 1.65, 0.8  # measured: they leave the least of 3 to 64 sigmoids from x


def logit_of_mixture(log_weight: Tensor, u: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    r"""``z = logit S`` with ``S = sum_j w_j sigmoid(u_j)``, and ``dz/dx`` for ``slope = du/dx``.

    S and 1 - S are sums of positive terms whose largest exponent is taken out, so neither rounds
    to 0 and z is the difference of two logarithms of which at most one is large. The derivative is

        dz/dx = sum_j p_j slope_j sigmoid(u_j) / S,   p = softmax(log w_j + log sigmoid(-u_j)),

    where S > 1/2, and its mirror image elsewhere: a ratio of sums of positive numbers, nowhere the
    difference of large ones.

    Args:
        log_weight: logarithms of weights whose sum is 1.
        u: arguments of the sigmoids.
        slope: derivatives of the arguments, positive.

    Shapes:
        log_weight, u, slope: ``(..., terms)``, broadcast against each other; results: ``(...)``

    Example:
        >>> u = torch.tensor([-1e6, 0.0, 1e6])[:, None]
        >>> logit_of_mixture(torch.zeros(1), u, torch.ones(1))
        (tensor([-1000000.,        0.,  1000000.]), tensor([1., 1., 1.]))
    """
    log_up = functional.logsigmoid(u)
    log_down = log_up - u
    up, top = _scaled_exp(log_weight + log_up)
    down, bottom = _scaled_exp(log_weight + log_down)
    up_sum, down_sum = up.sum(-1), down.sum(-1)
    z = (top - bottom) + (up_sum / down_sum).log()
    right = z > 0.0
    rest = torch.where(right, down_sum, up_sum)
    share = torch.where(right, top.exp() * up_sum, bottom.exp() * down_sum)  # at least 1/2
    on_right = (down * (slope * log_up.exp())).sum(-1)
    on_left = (up * (slope * log_down.exp())).sum(-1)
    return z, torch.where(right, on_right, on_left) / (rest * share)


def _scaled_exp(log: Tensor) -> tuple[Tensor, Tensor]:
    """``exp(log - largest)`` and the largest, which is a constant: any other would do as well."""
    largest = log.detach().amax(-1, keepdim=True)
    return (log - largest).exp(), largest.squeeze(-1)


def bounded_exp(raw: Tensor) -> Tensor:
    """A slope from 1/20 to 20, which is 1 at 0."""
    return (_BOUND * torch.tanh(raw / _BOUND)).exp()


def spread(terms: int) -> tuple[Tensor, Tensor]:
    """Places and slopes of sigmoids with equal weights whose logit is x, but for 0.06 at most.

    Sigmoids that begin equal would stay equal for ever. A logistic distribution is nearly a mixture
    of steeper ones around its quantiles, and its tails are those of the outermost two: they have
    slope 1, and stand where ``exp(place) + exp(-place) = terms``, so that far out z is x exactly.
    """
    if terms < 3:
        return torch.linspace(-0.3, 0.3, terms) if terms == 2 else torch.zeros(1), torch.ones(terms)
    places = _WITHIN * torch.logit((torch.arange(terms, dtype=torch.float64) + 0.5) / terms)
    slopes = torch.full_like(places, _STEEPER)
    places[0], places[-1] = -math.acosh(terms / 2), math.acosh(terms / 2)
    slopes[0] = slopes[-1] = 1.0
    return places.to(torch.get_default_dtype()), slopes.to(torch.get_default_dtype())


def add_line(x: Tensor, z: Tensor, slope: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Mix z with x, so that no slope is below ``share``; value and log-slope."""
    return torch.lerp(z, x, share), torch.lerp(slope, torch.ones_like(slope), share).log()
