"""Five bent arms."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from pushforward.data.toys.base import Toy, normal

__all__ = ["Pinwheel"]

_ARMS, _RATE, _SCALE = 5, 0.25, 2.0
_RADIAL, _TANGENTIAL = 0.3, 0.05
_STEP = 2 * math.pi / _ARMS
_PREIMAGES = 512  # counted on one monotone piece
_FAR = 12.0


class Pinwheel(Toy):
    """Five arms: x = 2 · Rot(2πk/5 + ¼ eʳ) (r, t), r ~ N(1, 0.3²), t ~ N(0, 0.05²), k uniform.

    Rot turns counter-clockwise. The factor 2 is that of the density-estimation literature, of
    which this is the mirror image.

    **Exact density.** With p = x / 2 = ρ (cos ψ, sin ψ) and (r, t) = ρ (cos α, sin α), the points
    that arm k takes to p are the α with α + ¼ e^(ρ cos α) + 2πk/5 = ψ mod 2π. So all arms together
    have the solutions of g(α) = α + ¼ e^(ρ cos α) = ψ mod 2π/5 in (−π, π]; the Jacobian of
    (r, t) → p is 1 − ¼ t eʳ = g′(α), and

        p(x) = ¼ · ⅕ Σ_α N(ρ cos α; 1, 0.3²) N(ρ sin α; 0, 0.05²) / |g′(α)|.

    r < 0 is α beyond π/2, and where the map folds (far out, t eʳ > 4) the sum has more terms. g
    rises, falls and rises again, on each piece every solution is bracketed and bisected.

    Beyond |x| = 24, 36 standard deviations out, more solutions matter than are counted, and the
    average over all angles takes their place.

    Example:
        >>> density = Pinwheel()
        >>> float(density.log_prob(density.sample(1000)).mean().round(decimals=1))
        -1.6
    """

    name = "pinwheel"
    _rows = 1 << 14

    def _draw(self, n: int, generator: Generator) -> Tensor:
        arm = torch.randint(_ARMS, (n,), generator=generator)
        r, t = normal(n, generator).unbind(-1)
        r, t = 1 + _RADIAL * r, _TANGENTIAL * t
        angle = _STEP * arm + _RATE * r.exp()
        x = torch.stack([r * angle.cos() - t * angle.sin(), r * angle.sin() + t * angle.cos()], -1)
        return _SCALE * x

    def _log_prob(self, x: Tensor) -> Tensor:
        # By symmetry the gradient at the origin is zero, where that of the radius would be NaN.
        origin = (x.detach() == 0).all(-1, keepdim=True)
        p = torch.where(origin, x.new_tensor([1e-30, 0.0]), x / _SCALE)
        radius, angle = torch.hypot(p[:, 0], p[:, 1]), torch.atan2(p[:, 1], p[:, 0])
        far = radius.detach() > _FAR
        near = _log_sum(torch.where(far, 1.0, radius), angle)
        density = torch.where(far, _log_average(torch.where(far, radius, _FAR)), near)
        return density - 2 * math.log(_SCALE)


def _phase(alpha: Tensor, radius: Tensor) -> Tensor:
    return alpha + _RATE * (radius * alpha.cos()).exp()


def _bend(alpha: Tensor, radius: Tensor) -> Tensor:
    """1 − g′(α)."""
    return _RATE * radius * alpha.sin() * (radius * alpha.cos()).exp()


def _log_source(alpha: Tensor, radius: Tensor) -> Tensor:
    """Log density of (r, t) at ρ (cos α, sin α)."""
    r, t = radius * alpha.cos(), radius * alpha.sin()
    square = ((r - 1) / _RADIAL).square() + (t / _TANGENTIAL).square()
    return -0.5 * square - math.log(2 * math.pi * _RADIAL * _TANGENTIAL)


def _log_sum(radius: Tensor, angle: Tensor) -> Tensor:
    """The sum over all preimages; ``(n,)`` and ``(n,)`` give ``(n,)``."""
    pieces = _pieces(radius.detach())
    first, count = _targets(pieces, radius.detach(), angle.detach())
    result = torch.empty_like(radius)
    # Rows with few preimages, nearly all of them, do not pay for those with many.
    size = (count.amax(-1) - 1).clamp_min(1).log2().floor().long()
    for level in range(int(size.max()) + 1 if len(size) else 0):
        rows = torch.nonzero(size == level).flatten()
        if len(rows):
            terms = _terms(radius[rows], angle[rows], pieces[rows], first[rows], count[rows])
            result = result.index_put((rows,), terms.logsumexp(-1))
    return result - math.log(_ARMS)


def _pieces(radius: Tensor) -> Tensor:
    """Ends of the intervals on which g rises, falls, rises, ``(n, 4)``: −π, fold, fold, π."""
    steepest = (2 * radius / (1 + (1 + 4 * radius.square()).sqrt())).acos()
    folds = _bend(steepest, radius) > 1
    low, high = torch.zeros_like(radius), steepest
    first = _bisect(lambda a: _bend(a, radius) < 1, low, high)
    last = _bisect(lambda a: _bend(a, radius) > 1, steepest, torch.full_like(radius, math.pi))
    ends = torch.full_like(radius, math.pi)
    inner = [torch.where(folds, fold, steepest) for fold in (first, last)]
    return torch.stack([-ends, *inner, ends], -1)


def _targets(pieces: Tensor, radius: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """The j of the first preimage counted on each piece, and how many there are, ``(n, 3)``."""
    values = (_phase(pieces, radius[:, None]) - angle[:, None]) / _STEP
    low = torch.minimum(values[:, :-1], values[:, 1:]).floor()
    high = torch.maximum(values[:, :-1], values[:, 1:]).floor()
    # The densest source lies at α = 0: counting starts at the end of a piece that is next to it.
    first = torch.stack([high[:, 0], high[:, 1], low[:, 2] + 1], -1)
    return first, (high - low).clamp_max(_PREIMAGES)


def _terms(radius: Tensor, angle: Tensor, pieces: Tensor, first: Tensor, count: Tensor) -> Tensor:
    """Log terms of the sum, ``(n, 3 m)``; -inf where there are fewer than m preimages."""
    index = torch.arange(max(int(count.max()), 1), device=radius.device)
    turn = first.new_tensor([-1.0, -1.0, 1.0])[:, None]
    j = first[..., None] + turn * index  # (n, piece, m)
    there = index < count[..., None]
    rho, psi = radius[:, None, None], angle[:, None, None]
    target = (psi + _STEP * j).detach()
    rising = torch.tensor([True, False, True], device=radius.device)[:, None]
    low, high = (ends[..., None].expand_as(j) for ends in (pieces[:, :-1], pieces[:, 1:]))
    root = _bisect(lambda a: (_phase(a, rho.detach()) < target) == rising, low, high)
    root = torch.where(there, root, 0.0)
    # One Newton step leaves the root where it is and carries its gradient.
    slope = (1 - _bend(root, rho.detach())).abs().clamp_min(1e-150)
    slope = torch.where(rising, slope, -slope)
    alpha = root - (_phase(root, rho) - _phase(root, rho).detach() - psi + psi.detach()) / slope
    jacobian = (1 - _bend(alpha, rho)).abs().clamp_min(1e-150)
    terms = _log_source(alpha, rho) - jacobian.log()
    return torch.where(there, terms, -torch.inf).flatten(1)


def _bisect(is_below: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """The point between ``low`` and ``high`` up to which ``is_below`` holds, to the last bit."""
    for _ in range(54):
        middle = (low + high) / 2
        below = is_below(middle)
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def _log_average(radius: Tensor) -> Tensor:
    """The average over angles by Laplace's method, where many windings lie in one tangential sd."""
    curvature = (radius / _TANGENTIAL).square() - radius * (radius - 1) / _RADIAL**2
    peak = _log_source(torch.zeros_like(radius), radius)
    return peak - 0.5 * (2 * math.pi * curvature).log()
