"""Continuous normalizing flows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pushforward.flows.flow import Flow
from pushforward.flows.recipes.registry import recipe
from pushforward.flows.recipes.stack import assemble, check_layers
from pushforward.transforms import Continuous

__all__ = ["ffjord"]


@recipe(
    paper="1810.01367",
    year=2018,
    density="30 to 200 (D + 1) calls",
    sampling="30 to 200 (D + 1) calls",
    choose="a differential equation: smooth, no structure to choose; slow both ways",
    lr=0.01,
)
def ffjord(
    features: int,
    context: int = 0,
    *,
    layers: int = 1,
    hidden: Sequence[int] = (64, 64),
    activation: str = "tanh",
    trace: str = "auto",
    tolerance: float | None = None,
    steps: int | None = None,
    gradient: str = "direct",
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Free-form continuous flow: rows follow the velocities that a network gives.

    Ours differs from the paper in the trace, which is exact for few features, and in its tanh
    network, whose rows cannot run away.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of differential equations in a row.
        hidden: widths of the hidden layers of each network.
        activation: activation of the networks: ``tanh``, ``softplus`` or ``silu``.
        trace: ``exact``, ``hutchinson`` or ``auto``, exact up to 8 features.
        tolerance: of the solver; by default 1e-5 in float32, 1e-10 in float64.
        steps: a fixed number of steps, in the place of a tolerance.
        gradient: ``direct`` or ``adjoint``, which needs less memory.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud 2018, arXiv:1810.01367

    Example:
        >>> ffjord(2, seed=0).sample(3).shape
        torch.Size([3, 2])
    """
    check_layers("ffjord", layers)
    solves = [
        Continuous(
            features,
            hidden=hidden,
            activation=activation,
            context=context,
            tolerance=tolerance,
            steps=steps,
            gradient=gradient,
            trace=trace,
        )
        for _ in range(layers)
    ]
    return assemble(features, context, solves, start, base)
