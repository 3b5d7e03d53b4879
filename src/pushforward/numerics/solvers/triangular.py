"""Solutions of systems of equations each of which has its own number and those before it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pushforward.numerics.solvers.root_finding import can_look

__all__ = ["may_sweep", "swept"]

Sweep = Callable[[Tensor], "tuple[Tensor, Tensor]"]


def swept(sweep: Sweep, start: Tensor, most: int) -> tuple[Tensor, Tensor] | None:
    """Solve ``x_i = sweep(x_before_i)_i`` for all numbers at once, by Jacobi's iteration.

    Each sweep makes one more number final at least, so that as many as there are numbers solve the
    system; where numbers depend weakly on each other, a few do. The result is certified: it is
    returned if a further sweep gives the same, bit by bit, and then solves each equation as exactly
    as ``sweep`` itself is.

    Args:
        sweep: all x to all x, and what else is to be had of them; rows do not see each other.
        start: where to begin, ``(rows, numbers)``.
        most: number of sweeps after which to give up.

    Returns:
        x and what else the last sweep gave; None if it still changed something, as it always does
        where a number is nan.

    Example:
        >>> matrix = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
        >>> line = lambda x: (torch.ones(1, 2) + x @ matrix.mT, x)
        >>> swept(line, torch.zeros(1, 2), most=3)[0]
        tensor([[1., 3.]])
    """
    x = start
    for _ in range(most):
        after, more = sweep(x)
        if bool((after == x).all()):
            return after, more
        x = after
    return None


def may_sweep(x: Tensor) -> bool:
    """Whether numbers may decide when it ends: they can be read, and no derivative is wanted.

    Derivatives would be those of the last sweep alone.
    """
    tangents = torch.autograd.forward_ad._current_level >= 0
    return not torch.is_grad_enabled() and not tangents and can_look(x)
