"""Gradients from a second differential equation, solved backwards, instead of a stored graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.errors import InverseError
from pushforward.numerics.solvers.runge_kutta import Rates

__all__ = ["integrate_with_adjoint"]

# A loss that is a mean over rows has small gradients for each: their error must be smaller still.
_FINER = 1e-3


def integrate_with_adjoint(
    who: str,
    rates: Rates,
    state: Tensor,
    solver: str,
    tolerance: float,
    controlled: int,
    trained: Sequence[Tensor],
) -> Tensor:
    """Integrate from time 0 to 1 by torchdiffeq; the memory does not grow with the steps.

    Args:
        who: who asks, for the error message.
        rates: derivative of the state, of (time, state).
        state: where it starts, ``(*batch, n)``.
        solver: the name of the method.
        tolerance: of each step, absolute and relative.
        controlled: how many of the n numbers, the first ones, count for the error.
        trained: everything besides the state that ``rates`` reads and that needs a gradient.

    Raises:
        InverseError: the solver gave up.
    """
    if state.is_meta or state.numel() == 0:
        return state + rates(torch.zeros_like(state[..., 0]), state)
    from torchdiffeq import odeint_adjoint

    def field(t: Tensor, y: Tensor) -> Tensor:
        return rates(t.expand(y.shape[:-1]), y)

    def norm(y: Tensor) -> Tensor:
        return y[..., :controlled].abs().amax()

    try:
        path: Tensor = odeint_adjoint(
            field,
            state,
            torch.tensor([0.0, 1.0], dtype=state.dtype, device=state.device),
            rtol=tolerance,
            atol=tolerance,
            method=solver,
            options={"norm": norm},
            adjoint_atol=tolerance * _FINER,
            adjoint_options={"norm": "seminorm"},
            adjoint_params=tuple(tensor for tensor in trained if tensor.requires_grad),
        )
    except AssertionError as error:
        raise InverseError(
            f"{who}: torchdiffeq gave up ({error}); the field is not finite or changes too fast: "
            f"train with a smaller learning rate or a penalty on the energies, or set a larger "
            f"tolerance."
        ) from error
    return path[-1]
