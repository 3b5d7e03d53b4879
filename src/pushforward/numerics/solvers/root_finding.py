"""The inverse of increasing functions that have no closed one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pushforward.errors import InverseError

__all__ = ["can_look", "increasing_root"]

_STEPS = {torch.float32: 120, torch.float64: 240}  # far more than bisection needs
_UNSEEN_STEPS = 48  # where convergence cannot be looked at: a Newton iteration needs about eight
_GROWTH = 8.0  # of the longest step from one iteration to the next, until a bracket holds

Function = Callable[[Tensor], "tuple[Tensor, Tensor]"]


def increasing_root(
    function: Function, target: Tensor, *, who: str, guess: Tensor | None = None
) -> Tensor:
    """Solve ``function(x) = target`` for each number, function increasing and onto the real line.

    Newton steps, inside a bracket that the visited points make. A step that does not halve the
    one before it is replaced: by the middle of the bracket or, as long as one side is open, by a
    longer step to that side. Nothing is clipped: a bracket grows as far as it has to.

    The gradient is that of the implicit function theorem, to the third order: the solution is
    found without gradients, and two more Newton steps from there, which no longer move it, carry
    them. So it holds in every mode of differentiation, for all that ``function`` depends on.

    Where nobody can look at numbers (compiled, under ``vmap``) the number of steps is fixed.

    Args:
        function: gives value and log-slope; numbers do not see each other.
        target: any shape; nan and infinite numbers come back as they are.
        who: who asks, for the message.
        guess: where to start; by default at the target, since maps start as the identity.

    Raises:
        InverseError: some numbers did not converge; where nobody can look they are nan instead.

    Example:
        >>> cube = lambda x: (x + x**3, torch.log1p(3.0 * x**2))
        >>> increasing_root(cube, torch.tensor([10.0, -2.0]), who="cube")
        tensor([ 2., -1.])
    """
    usual = target.isfinite()
    goal = torch.where(usual, target, torch.zeros_like(target))
    with torch.no_grad():
        start = goal if guess is None else guess
        root, done = _search(function, goal.detach(), start.detach())
        root = torch.where(done, root, torch.nan).detach()
    if can_look(done) and not bool(done.all()):
        raise InverseError(
            f"{who}: the numeric inverse did not converge for {int((~done).sum())} of "
            f"{done.numel()} numbers; its slope there may be zero in {str(root.dtype)[6:]}: "
            f"use float64, or smaller weights."
        )
    for _ in range(2):
        value, log_slope = function(root)
        root = root + (goal - value) * (-log_slope).exp()
    return torch.where(usual, root, target)


def _search(function: Function, target: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """The solution and where it is one."""
    tolerance = 4.0 * torch.finfo(target.dtype).eps
    x = start
    low, high = torch.full_like(x, -torch.inf), torch.full_like(x, torch.inf)
    before = torch.full_like(x, torch.inf)  # length of the last step
    done = torch.zeros_like(x, dtype=torch.bool)
    reach = 1.0 + start.abs()
    small = 2.0 * tolerance * (1.0 + target.abs())  # what a value is rounded by
    longest = 1.0
    looking = True
    for i in range(_STEPS.get(target.dtype, max(_STEPS.values()))):
        value, log_slope = function(x)
        residual = target - value
        low = torch.where(residual >= 0.0, x, low)
        high = torch.where(residual <= 0.0, x, high)
        newton = residual * (-log_slope).exp()
        slow = ~(newton.abs() <= 0.5 * before)  # nan and inf are slow, too
        close = tolerance * (1.0 + x.abs())
        here = (newton.abs() <= close) | (high - low <= close) | (residual.abs() <= small)
        # A tiny step that no longer shrinks is rounding: a bisection from here would only go back.
        here = here | (slow & (newton.abs() <= 32.0 * close))
        step = _safe_step(newton, slow, residual, x, low, high, before, longest * reach)
        done = done | (here & x.isfinite())
        step = torch.where(done, torch.zeros_like(step), step)
        x, before = x + step, step.abs()
        longest *= _GROWTH
        looking = looking and can_look(done)
        if looking and bool(done.all()):
            break
        if not looking and i == _UNSEEN_STEPS:
            break
    return x, done


def _safe_step(
    newton: Tensor,
    slow: Tensor,
    residual: Tensor,
    x: Tensor,
    low: Tensor,
    high: Tensor,
    before: Tensor,
    longest: Tensor,
) -> Tensor:
    closed = (low > -torch.inf) & (high < torch.inf)
    ahead = x + newton
    outside = ~((ahead > low) & (ahead < high))
    middle = 0.5 * low + 0.5 * high - x
    # Away from the only end known: as far as Newton says, at least twice as far as last time.
    twice = torch.where(before < torch.inf, 2.0 * before, torch.ones_like(before))
    far = torch.maximum(newton.abs().nan_to_num(torch.inf), twice)
    open_step = torch.minimum(torch.where(slow, far, newton.abs()), longest).copysign(residual)
    return torch.where(closed, torch.where(slow | outside, middle, newton), open_step)


def can_look(flags: Tensor) -> bool:
    """Whether Python may read the numbers: not while compiling, not under vmap, not on meta."""
    if torch.compiler.is_compiling() or flags.device.type == "meta":
        return False
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(flags):
        if functorch.is_batchedtensor(flags):
            return False
        flags = functorch.get_unwrapped(flags)
    return True
