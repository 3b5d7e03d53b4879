"""Two interleaving half circles."""

from __future__ import annotations

import math

import numpy
import torch
from torch import Generator, Tensor

from pushforward.data.toys.base import Toy, normal, uniform

__all__ = ["TwoMoons"]

_SD = 0.1
_NODES = 48
_DEPTH = 42.0  # the part of an integrand below exp(-42) of its largest value is left out


class TwoMoons(Toy):
    """Unit half circles with isotropic normal noise, sd 0.1, equally likely.

    The first is (cos t, sin t), the second (1 − cos t, 0.5 − sin t), t uniform on [0, π]: the
    second half circle of scikit-learn's ``make_moons``. The density is the integral over t of
    the noise around the arc; Gauss-Legendre nodes lie where the integrand does, so that the log
    density is right to 1e-8 at any distance.

    Example:
        >>> density = TwoMoons()
        >>> bool(density.log_prob(torch.tensor([[100.0, 100.0]])) < -9e5)
        True
    """

    name = "two_moons"
    _rows = 1 << 12

    def _draw(self, n: int, generator: Generator) -> Tensor:
        second = torch.randint(2, (n, 1), generator=generator)
        t = math.pi * uniform(n, generator)
        arc = torch.stack([t.cos(), t.sin()], -1)
        turned = torch.tensor([1.0, 0.5], dtype=torch.float64) - arc
        return torch.where(second == 1, turned, arc) + _SD * normal(n, generator)

    def _log_prob(self, x: Tensor) -> Tensor:
        # Seen from (1, 0.5) and turned by π, the second moon is the first.
        turned = x.new_tensor([1.0, 0.5]) - x
        both = torch.stack([_log_arc(x), _log_arc(turned)], -1).logsumexp(-1)
        return both - math.log(2)


def _log_arc(x: Tensor) -> Tensor:
    """Log density of noise around (cos t, sin t), t uniform on [0, π]."""
    t, log_weight = _nodes(x.detach())
    away = (x[:, None, 0] - t.cos()).square() + (x[:, None, 1] - t.sin()).square()
    exponent = log_weight - away / (2 * _SD**2)
    return exponent.logsumexp(-1) - math.log(math.pi) - math.log(2 * math.pi * _SD**2)


def _nodes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes t and log weights on [0, π], close where exp(−|x − (cos t, sin t)|² / 2 sd²) is large.

    With x = r (cos φ, sin φ) the integrand is exp(κ cos(t − φ)) up to a constant, κ = r / sd². The
    arc falls into two pieces in which the distance δ = |t − φ| grows from its least value:
    both sides of φ where φ is on the arc, else both sides of the point opposite to φ.
    """
    angle = torch.atan2(x[:, 1], x[:, 0])
    on = angle >= 0
    zero, half = torch.zeros_like(angle), torch.full_like(angle, math.pi)
    start = torch.stack([torch.where(on, zero, -angle), torch.where(on, zero, angle + half)], -1)
    stop = torch.stack([torch.where(on, angle, half), torch.where(on, half - angle, half)], -1)
    # t = origin + side * δ
    side = torch.where(on[:, None], x.new_tensor([-1.0, 1.0]), x.new_tensor([1.0, -1.0]))
    origin = torch.stack([angle, torch.where(on, angle, angle + 2 * half)], -1)
    sharpness = x.norm(dim=-1, keepdim=True) / _SD**2
    reach = (start.cos() - _DEPTH / sharpness).clamp(-1, 1).acos()
    length = (torch.minimum(stop, reach) - start).clamp_min(0)
    unit, weight = numpy.polynomial.legendre.leggauss(_NODES)
    share = torch.from_numpy((unit + 1) / 2).to(x.device)
    distance = start[..., None] + length[..., None] * share  # (n, piece, node)
    t = origin[..., None] + side[..., None] * distance
    log_weight = (length[..., None] * torch.from_numpy(weight / 2).to(x.device)).log()
    return t.flatten(1), log_weight.flatten(1)
