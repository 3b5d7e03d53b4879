"""Flows for data with heavy tails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pushforward import maps
from pushforward.bases import StudentT
from pushforward.flows.flow import Flow
from pushforward.flows.recipes.registry import recipe
from pushforward.flows.recipes.stack import assemble, check_layers, couplings

__all__ = ["heavy_tailed"]

_BOX = 3.0  # scales of the data: outside it the tail index has the rows to itself


@recipe(
    paper="2206.10311",
    year=2022,
    density="1 call",
    sampling="1 call",
    choose="heavy tails: far rows and rare values count; a tail index for each feature",
    of_base=("df",),
)
def heavy_tailed(
    features: int,
    context: int = 0,
    *,
    layers: int = 4,
    hidden: Sequence[int] = (128, 128),
    bins: int = 8,
    df: float = 10.0,
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "robust",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Tail-adaptive flow: spline couplings on Student-t densities of learned degrees of freedom.

    A map that is Lipschitz cannot make heavy tails of light ones, so the base must have them. The
    splines are linear outside a box, and nothing mixes the features linearly: so the degrees of
    freedom of a feature's base, ``flow.base.df``, are its own tail index. For features whose far
    rows do not depend on others, nor on the context, it is right within 15 % (50 000 rows, index
    3). Where others shift a feature by a bounded amount, or the context does, the farthest rows
    tell it roughly, within a third or a half; with less than 6 000 rows to train on it is then too
    large, as is an index of light tails. Where far rows of one feature move another in proportion,
    it says little; nor does it change with the context.

    Ours differs from the paper in learning the degrees of freedom with the rest, from a start by
    maximum likelihood or, where these are heavier, by the farthest rows, instead of keeping what
    was estimated beforehand.

    Args:
        features: width of x.
        context: width of the context, which the layers read; the base does not.
        layers: number of couplings.
        hidden: widths of the hidden layers of each network.
        bins: bins of each spline.
        df: degrees of freedom before ``fit`` looks at the data.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, by default Student-t densities.
        seed: seed of weights and of the choice of halves; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Laszkiewicz, Lederer, Fischer 2022, arXiv:2206.10311; Jaini, Kobyzev, Yu, Brubaker
        2020, arXiv:1907.04481

    Example:
        >>> heavy_tailed(2, seed=0).base.df.detach().round()
        tensor([10., 10.])
    """
    check_layers("heavy_tailed", layers)
    networks: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    spline = maps.RationalQuadratic(bins, box=_BOX)
    steps = couplings(features, context, spline, layers, **networks)
    base = StudentT(features, df) if base is None else base
    return assemble(features, context, steps, start, base)
