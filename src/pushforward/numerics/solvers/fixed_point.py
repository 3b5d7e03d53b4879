"""The inverse of ``x + g(x)`` where g is a contraction."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from pushforward.errors import InverseError
from pushforward.numerics.solvers.root_finding import can_look

__all__ = ["contraction_inverse"]

_PLAIN_STEPS = 16  # that are tried before a Jacobian is worth its price
_UNSEEN_STEPS = {True: 20, False: 128}  # where convergence cannot be looked at: Newton, or not


class Jacobian(Protocol):
    """The derivative of g at some rows."""

    def matrix(self) -> Tensor:
        """J, ``(*batch, features, features)``."""

    def push(self, v: Tensor) -> Tensor:
        """``J v`` for each row."""


Function = Callable[[Tensor], tuple[Tensor, Jacobian]]


def contraction_inverse(
    function: Function, target: Tensor, *, rate: float, newton: bool, who: str
) -> Tensor:
    """Solve ``x + g(x) = target`` for each row, g with Lipschitz constant ``rate`` < 1.

    Banach's iteration ``x <- target - g(x)`` shortens the residual by ``rate`` at least, so the
    number of steps is bounded, and a step that does not shorten it says that only rounding is
    left. Where it is slow, Newton steps go on: a row takes one if it does better than that, and
    Banach's if it does not.

    The gradient is that of the implicit function theorem. With Newton steps, two more of them from
    the solution, found without gradients, carry it: to the third order, in every mode of
    differentiation. Without, the series of ``(I + J)^-1`` carries it, as long as the iteration
    was: first derivatives only.

    Where nobody can look at numbers (compiled, under ``vmap``) the number of steps is fixed.

    Args:
        function: x to g(x) and the Jacobian J of g at x.
        target: ``(*batch, features)``; rows that are not finite come back as they are.
        rate: Lipschitz constant of g.
        newton: whether matrices J are few enough numbers to be worth their price.
        who: who asks, for the message.

    Raises:
        InverseError: some rows did not converge; where nobody can look they are nan instead.

    Example:
        >>> from pushforward.networks import LipschitzMLP
        >>> network, x = LipschitzMLP(2, 2), torch.tensor([[3.0, -6.0]])
        >>> contraction_inverse(network.linearized, x, rate=0.97, newton=True, who="example")
        tensor([[ 3., -6.]], grad_fn=<WhereBackward0>)
    """
    usual = target.isfinite().all(-1, keepdim=True)
    goal = torch.where(usual, target, torch.zeros_like(target))
    with torch.no_grad():
        root, done, steps = _search(function, goal.detach(), rate, newton)
        root = torch.where(done, root, torch.nan).detach()
        jacobian = function(root)[1]
    if can_look(done) and not bool(done.all()):
        raise InverseError(
            f"{who}: the numeric inverse did not converge for {int((~done).sum())} of "
            f"{done.numel()} rows in {steps} steps; use float64, smaller weights or a smaller "
            f"Lipschitz coefficient."
        )
    if newton:
        for _ in range(2):
            value, jacobian = function(root)
            root = root + _newton(jacobian.matrix(), goal - root - value)
    else:
        term = goal - root - function(root)[0]
        root = root + term
        for _ in range(steps):
            term = -jacobian.push(term)
            root = root + term
    return torch.where(usual, root, target)


def _search(
    function: Function, target: Tensor, rate: float, newton: bool
) -> tuple[Tensor, Tensor, int]:
    """The solution, in which rows it is one, and the steps it took.

    The Newton steps that carry gradients square what is left: before them six tenths of the digits
    will do.
    """
    eps = torch.finfo(target.dtype).eps
    tolerance = eps**0.6 if newton else 4.0 * eps
    x, value = target, function(target)[0]
    residual = target - x - value
    looking = can_look(residual)  # it knows the weights, too, which may be mapped over
    bound = 20 + math.ceil(math.log(1e-3 * eps) / math.log(rate))
    most = bound if looking else _UNSEEN_STEPS[newton]
    first = (_PLAIN_STEPS if looking else 0) if newton else most
    done = torch.zeros_like(residual[..., :1], dtype=torch.bool)
    steps = 0
    while steps < first and not (looking and bool(done.all())):
        x_there = x + residual
        value = function(x_there)[0]
        residual_there = target - x_there - value
        before, after = _length(residual), _length(residual_there)
        size = 1.0 + _length(target) + _length(value)
        # Exactly computed, a step always shortens the residual: else rounding is what is left.
        stalled = ~(after <= rate * before) & (after <= eps**0.5 * size)
        x = torch.where(done, x, x_there)
        residual = torch.where(done, residual, residual_there)
        done = done | stalled | (after <= tolerance * size)
        steps += 1
    if newton and not (looking and bool(done.all())):
        x, done, more = _newton_search(function, target, x, rate, most, looking)
        steps += more
    return x, done, steps


def _newton_search(
    function: Function, target: Tensor, x: Tensor, rate: float, most: int, looking: bool
) -> tuple[Tensor, Tensor, int]:
    """By Newton steps, and by Banach's for the rows in which one of them did not do better."""
    eps = torch.finfo(target.dtype).eps
    value, jacobian = function(x)
    residual, matrix = target - x - value, jacobian.matrix()
    done = torch.zeros_like(residual[..., :1], dtype=torch.bool)
    plain = done
    steps = 0
    while steps < most and not (looking and bool(done.all())):
        x_there = x + torch.where(plain, residual, _newton(matrix, residual))
        value, jacobian = function(x_there)
        residual_there = target - x_there - value
        before, after = _length(residual), _length(residual_there)
        size = 1.0 + _length(target) + _length(value)
        better = after <= rate * before
        stalled = plain & ~better & (after <= eps**0.5 * size)
        taken = (better | plain) & ~done
        x = torch.where(taken, x_there, x)
        residual = torch.where(taken, residual_there, residual)
        matrix = torch.where(taken.unsqueeze(-1), jacobian.matrix(), matrix)
        plain = ~better
        done = done | stalled | (taken & (after <= eps**0.6 * size))
        steps += 1
    return x, done, steps


def _newton(matrix: Tensor, residual: Tensor) -> Tensor:
    unit = torch.eye(residual.shape[-1], dtype=residual.dtype, device=residual.device)
    solved: Tensor = torch.linalg.solve_ex(unit + matrix, residual.unsqueeze(-1)).result
    return solved.squeeze(-1)


def _length(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return length
