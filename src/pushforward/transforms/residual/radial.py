"""Radial flows, both ways."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.transforms.residual.conditioned import Conditioned
from pushforward.transforms.residual.constraint import above_minus_one

__all__ = ["Radial"]

_SMALLEST = 1e-3  # alpha: the radius within which the slope changes
_ONE = math.log(math.expm1(1.0 - _SMALLEST))  # alpha is 1 at raw = 0


class Radial(Conditioned):
    r"""Radial transform: space around a centre is drawn out or together.

        z = x + beta (x - c) / (alpha + r),    r = |x - c|,
        logdet = (features - 1) log(1 + beta / (alpha + r))
                 + log(1 + alpha beta / (alpha + r)^2).

    It is invertible as long as alpha > 0 and beta > -alpha, which holds for all weights: 1 +
    beta / alpha, the slope at the centre, is what is learned, and it stays above 1/1000. The
    identity before training.

    The inverse is closed: r is the positive root of a quadratic, taken in the form without
    cancellation.

    The paper writes its formula for the way from latent to data; that is ``Inverse(Radial(...))``.

    Args:
        features: width of x.
        context: width of the context; with one, a network moves the centre, alpha and beta.
        hidden: widths of the hidden layers of that network.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``

    Cost: a norm a row in either direction; exact.

    Source: Rezende, Mohamed 2015, arXiv:1505.05770.
        Differs: beta is alpha times a smooth function that keeps it above -0.999 alpha and is
        zero before training; the directions are exchanged.

    Example:
        >>> t = Radial(2)
        >>> x = torch.tensor([[1e6, -3.0]])
        >>> torch.allclose(t.inverse(t(x)[0])[0], x)
        True
    """

    def __init__(self, features: int, context: int = 0, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        centre = torch.randn(features)
        self._condition(torch.cat((centre, torch.zeros(2))), features, context, hidden)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        centre, alpha, stretch = self._read(x, context)
        away = x - centre
        r = _length(away)
        pull = alpha * stretch / (alpha + r)
        return x + away * pull.unsqueeze(-1), self._logdet(r, alpha, stretch)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        centre, alpha, stretch = self._read(z, context)
        away = z - centre
        far = _length(away)
        # far = r (1 + alpha stretch / (alpha + r)): a quadratic for r
        at_rest = alpha * (1.0 + stretch)
        p = far - at_rest
        size = p.detach().abs().clamp_min(1.0)  # so that no square overflows
        root = size * ((p / size).square() + 4.0 * (alpha / size) * (far / size)).sqrt()
        r = torch.where(p < 0.0, 2.0 * alpha * far / (root + p.abs()), 0.5 * (root + p.abs()))
        share = (alpha + r) / (at_rest + r)
        return centre + away * share.unsqueeze(-1), -self._logdet(r, alpha, stretch)

    def _logdet(self, r: Tensor, alpha: Tensor, stretch: Tensor) -> Tensor:
        share = alpha / (alpha + r)
        around = torch.log1p(stretch * share)
        return (self.event_shape[0] - 1) * around + torch.log1p(stretch * share * share)

    def _read(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Centre, alpha and beta / alpha."""
        raw = self._parameters_for(x, context)
        centre, alpha, stretch = torch.split(raw, [self.event_shape[0], 1, 1], -1)
        alpha = functional.softplus(alpha + _ONE) + _SMALLEST
        return centre, alpha.squeeze(-1), above_minus_one(stretch.squeeze(-1))


def _length(away: Tensor) -> Tensor:
    """Euclid's length of the last dimension, whose gradient at zero is taken to be zero."""
    size = away.detach().abs().amax(-1)  # so that no square overflows, or vanishes
    there = size > torch.finfo(size.dtype).tiny
    size = torch.where(there, size, 1.0)
    square = (away / size.unsqueeze(-1)).square().sum(-1)
    return size * torch.where(there, torch.where(there, square, 1.0).sqrt(), 0.0)
