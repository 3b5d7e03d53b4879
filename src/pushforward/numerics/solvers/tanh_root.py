"""The inverse of ``a + r tanh(q a + c)``, for planar and Sylvester flows."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.errors import InverseError
from pushforward.numerics.solvers.root_finding import can_look

__all__ = ["tanh_root", "tanh_slope"]

_STEPS = 60  # three times what a product r q of a million needs
_UNSEEN_STEPS = 24  # where convergence cannot be looked at


def tanh_root(
    target: Tensor, outer: Tensor, inner: Tensor, shift: Tensor, product: Tensor, *, who: str
) -> Tensor:
    """Solve ``a + outer tanh(inner a + shift) = target`` for each number.

    The curve turns at one place and bends one way on either side of it. So Newton's method, from
    an end of the stretch that the solution lies in, never oversteps it: every step points the same
    way, and one that does not says that only rounding is left. No bracket is needed, as it is in
    ``increasing_root``, which takes twice the steps, each three times as long.

    The gradient is that of the implicit function theorem, to the third order, as there.

    Args:
        target: any shape; nan and infinite numbers come back as they are, and those for which
            anything else is not finite as nan.
        outer: r.
        inner: q.
        shift: c.
        product: r q, above -1; given, since it may be known better than the factors.
        who: who asks, for the message.

    Raises:
        InverseError: some numbers did not converge; where nobody can look they are nan instead.

    Example:
        >>> one = torch.ones(2)
        >>> target = torch.tensor([0.0, 5.0])
        >>> tanh_root(target, 3 * one, one, 0 * one, 3 * one, who="example")
        tensor([0.0000, 2.0903])
    """
    usual = (target + outer + inner + shift + product).isfinite()
    goal = torch.where(usual, target, torch.zeros_like(target))

    def newton(a: Tensor) -> tuple[Tensor, Tensor]:
        """The step, and the residual in units of the numbers that its rounding comes from."""
        bent, s = inner * a, inner * a + shift
        slope = tanh_slope(s)
        residual = goal - a - outer * torch.tanh(s)
        inside = slope * (bent.abs() + shift.abs())
        size = 1.0 + a.abs() + goal.abs() + outer.abs() * (1.0 + inside)
        return residual / (1.0 + product * slope), residual.abs() / size

    with torch.no_grad():
        a, way = _start(goal, outer, inner, shift, product)
        done = ~usual
        eps = torch.finfo(a.dtype).eps
        looking = can_look(done)
        for _ in range(_STEPS if looking else _UNSEEN_STEPS):
            step, left = newton(a)
            a = a + step
            done = done | (left <= eps) | ((step * way <= 0.0) & (left <= eps ** (1 / 3)))
            if looking and bool(done.all()):
                break
        root = torch.where(done, a, torch.nan).detach()
    if looking and not bool(done.all()):
        raise InverseError(
            f"{who}: the inverse did not converge for {int((~done).sum())} of {done.numel()} "
            f"numbers; are all weights finite?"
        )
    for _ in range(2):
        root = root + newton(root)[0]
    return torch.where(usual, root, torch.where(target.isfinite(), torch.nan, target))


def _start(
    target: Tensor, outer: Tensor, inner: Tensor, shift: Tensor, product: Tensor
) -> tuple[Tensor, Tensor]:
    """From where Newton's steps all point one way, and which: +1 or -1."""
    there = inner != 0.0
    turn = torch.where(there, -shift / torch.where(there, inner, 1.0), 0.0)
    side = torch.where(target >= turn, 1.0, -1.0).to(target.dtype)  # of the solution
    saturated = target - outer * side * inner.sign()
    # Steeper in the middle: the solution is beyond both. Flatter: before the saturated end.
    beyond = side * torch.maximum(side * turn, side * saturated)
    steep = product > 0.0
    return torch.where(steep, beyond, saturated), torch.where(steep, side, -side)


def tanh_slope(a: Tensor) -> Tensor:
    """The derivative of tanh, to the last digits in its tails too."""
    return 4.0 * torch.sigmoid(2.0 * a) * torch.sigmoid(-2.0 * a)
