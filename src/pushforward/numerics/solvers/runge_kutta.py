"""Ordinary differential equations, many rows at once, each with steps of its own.

Solvers that share the steps among the rows of a batch make the answer for a row depend on the rows
beside it, and let many easy rows hide the error of a hard one. Here every row has its own time, its
own step and its own acceptance.

The steps are chosen from numbers without derivatives: what is differentiated is the discrete map
at those steps, by every means torch has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pushforward.errors import InverseError

__all__ = ["TABLEAUS", "Rates", "Tableau", "integrate", "integrate_in_steps", "reachable"]

Rates = Callable[[Tensor, Tensor], Tensor]  # (time (*batch,), state (*batch, n)) -> (*batch, n)

_LIMIT = 10_000  # steps; a field that needs more is not one to train
_SAFETY, _LEAST, _MOST = 0.9, 0.2, 5.0  # how the next step may differ from the last
_CROWDED = 0.75  # share of the rows still on their way at which the others are left behind


class Tableau(NamedTuple):
    """An explicit Runge-Kutta method.

    Attributes:
        order: its order; doubling the steps divides the error by ``2 ** order``.
        nodes: the times of the stages, as shares of a step.
        stages: the weights of the earlier rates in the state of each stage.
        weights: the weights of the rates in the step; None if it is the state of the last stage,
            whose rate is then the first of the next step.
        error: the weights of the rates in the estimated error; None where there is no estimate.
    """

    order: int
    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...] | None = None
    error: tuple[float, ...] | None = None


TABLEAUS = {
    "dopri5": Tableau(  # Dormand, Prince 1980, doi:10.1016/0771-050X(80)90013-3
        5,
        (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
        (
            (),
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
        ),
        error=(
            35 / 384 - 5179 / 57600,
            0.0,
            500 / 1113 - 7571 / 16695,
            125 / 192 - 393 / 640,
            -2187 / 6784 + 92097 / 339200,
            11 / 84 - 187 / 2100,
            -1 / 40,
        ),
    ),
    "bosh3": Tableau(  # Bogacki, Shampine 1989, doi:10.1016/0893-9659(89)90079-7
        3,
        (0.0, 1 / 2, 3 / 4, 1.0),
        ((), (1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
        error=(2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),
    ),
    "rk4": Tableau(
        4,
        (0.0, 1 / 2, 1 / 2, 1.0),
        ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    ),
    "midpoint": Tableau(2, (0.0, 1 / 2), ((), (1 / 2,)), (0.0, 1.0)),
    "euler": Tableau(1, (0.0,), ((),), (1.0,)),
}


def integrate_in_steps(rates: Rates, state: Tensor, tableau: Tableau, steps: int) -> Tensor:
    """Integrate from time 0 to 1 in equal steps, without a look at the numbers.

    Args:
        rates: derivative of the state, of (time, state).
        state: where it starts, ``(*batch, n)``.
        tableau: the method.
        steps: how many steps.

    Example:
        >>> grow = lambda t, y: y
        >>> integrate_in_steps(grow, torch.ones(1), TABLEAUS["rk4"], 10)
        tensor([2.7183])
    """
    step = torch.full_like(state[..., 0], 1.0 / steps)
    first = None
    for i in range(steps):
        time = torch.full_like(step, i / steps)
        first = rates(time, state) if first is None or tableau.weights is not None else first
        state, first, _ = _step(rates, time, state, step, first, tableau)
    return state


def integrate(
    who: str,
    rates_of: Callable[[Tensor | None], Rates],
    state: Tensor,
    tableau: Tableau,
    tolerance: float,
    controlled: int,
) -> Tensor:
    """Integrate from time 0 to 1 in steps that keep the estimated error of each row small.

    The error of a step is at most ``tolerance * (1 + |y|)`` for each number y of a row. Rows that
    have arrived are left out of the further steps.

    Args:
        who: who asks, for the error message.
        rates_of: the indices of some rows, or None for all, to the derivative of their states,
            itself a function of (time, state).
        state: where they start, ``(rows, n)``.
        tableau: the method, one with an error estimate.
        tolerance: of each step, absolute and relative.
        controlled: how many of the n numbers, the first ones, count for the error.

    Raises:
        InverseError: a row needs steps too small or too many.

    Example:
        >>> decay = lambda rows: lambda t, y: -y
        >>> integrate("me", decay, torch.ones(2, 1), TABLEAUS["dopri5"], 1e-6, 1)
        tensor([[0.3679],
                [0.3679]])
    """
    rates = rates_of(None)
    if state.is_meta:  # which holds no numbers that could choose steps
        return integrate_in_steps(rates, state, tableau, 1)
    if not len(state):
        return state
    whole, place = state, torch.arange(len(state), device=state.device)
    time = torch.zeros_like(state[:, 0]).detach()
    step = torch.full_like(time, min(0.5, tolerance ** (1.0 / tableau.order)))
    smallest = 4.0 * torch.finfo(state.dtype).eps
    first = rates(time, state)
    for _ in range(_LIMIT):
        left = 1.0 - time
        # A step that almost arrives is made to arrive: no sliver is left over.
        step = torch.where(1.01 * step >= left, left, step)
        if bool(((step < smallest) & (left > smallest)).any()):
            break
        new, last, error = _step(rates, time, state, step, first, tableau)
        ratio = _ratio(error, state, new, controlled) / tolerance
        good = ratio <= 1.0  # not for nan
        state = torch.where(good[:, None], new, state)
        first = torch.where(good[:, None], last, first)
        there = good & (step == left)
        time = torch.where(good, torch.where(there, 1.0, time + step), time)
        factor = _SAFETY * ratio.clamp_min(1e-10) ** (-1.0 / tableau.order)
        step = step * torch.nan_to_num(factor, nan=_LEAST).clamp(_LEAST, _MOST)
        open_rows = (time < 1.0).nonzero()[:, 0]
        if not len(open_rows):
            return whole.index_copy(0, place, state)
        if len(open_rows) <= _CROWDED * len(state):
            whole, place = whole.index_copy(0, place, state), place[open_rows]
            state, first, time, step = (t[open_rows] for t in (state, first, time, step))
            rates = rates_of(place)
    raise InverseError(_stuck(who, time, place))


def reachable(tolerance: float, dtype: torch.dtype) -> float:
    """The tolerance, or the least one that the rounding of a dtype permits."""
    return max(tolerance, 8.0 * torch.finfo(dtype).eps)


def _step(
    rates: Rates, time: Tensor, state: Tensor, step: Tensor, first: Tensor, tableau: Tableau
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The state after a step, the rate of the last stage, and the estimated error."""
    wide = step[..., None]
    found = [first]
    at = state
    for node, weights in zip(tableau.nodes[1:], tableau.stages[1:], strict=True):
        at = state + wide * _combined(found, weights)
        found.append(rates(time + node * step, at))
    new = at if tableau.weights is None else state + wide * _combined(found, tableau.weights)
    error = None
    if tableau.error is not None:
        error = wide * _combined([rate.detach() for rate in found], tableau.error)
    return new, found[-1], error


def _combined(rates: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    terms = [(rate, weight) for rate, weight in zip(rates, weights, strict=True) if weight]
    total = terms[0][0] * terms[0][1]
    for rate, weight in terms[1:]:
        total = torch.add(total, rate, alpha=weight)
    return total


def _ratio(error: Tensor | None, old: Tensor, new: Tensor, controlled: int) -> Tensor:
    """For each row the largest error, in units of ``1 + |y|``."""
    assert error is not None
    size = 1.0 + torch.maximum(old.detach().abs(), new.detach().abs())
    return (error / size)[..., :controlled].abs().amax(-1)


def _stuck(who: str, time: Tensor, place: Tensor) -> str:
    slowest = time.detach().argmin()
    row, share = int(place[slowest]), float(time.detach()[slowest])
    return (
        f"{who}: row {row} came only {share:.3g} of the way before its steps became too small or "
        f"too many; the field there is not finite or changes too fast: train with a smaller "
        f"learning rate or a penalty on the energies, or set a larger tolerance."
    )
