"""Neural spline flows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pushforward import maps
from pushforward.flows.flow import Flow
from pushforward.flows.recipes.autoregressive import autoregressive as autoregressions
from pushforward.flows.recipes.coupling import coupling as couplings
from pushforward.flows.recipes.registry import recipe

__all__ = ["nsf"]


@recipe(
    paper="1906.04032",
    year=2019,
    density="1 call",
    sampling="1 call; autoregressive=True: 1 a feature",
    choose="the default: sharp, skewed and separated shapes; both directions exact and fast",
)
def nsf(
    features: int,
    context: int = 0,
    *,
    layers: int = 6,
    hidden: Sequence[int] = (128, 128),
    bins: int = 8,
    autoregressive: bool = False,
    mix: str = "lu",
    activation: str = "relu",
    dropout: float = 0.0,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Neural spline flow: rational-quadratic splines in couplings or autoregressions.

    Ours differs from the paper in the box, which is read off the data, in tails of learned slope
    and in starting at the identity.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of layers.
        hidden: widths of the hidden layers of each network.
        bins: bins of each spline.
        autoregressive: autoregressions instead of couplings.
        mix: ``lu`` puts a learned linear transform around every layer, ``none`` nothing.
        activation: activation of the networks.
        dropout: dropout of the networks.
        start: what comes first: ``standardize``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights, halves and orders; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Durkan et al. 2019, arXiv:1906.04032

    Example:
        >>> nsf(2, seed=0).log_prob([[0.0, 0.0]]).detach()
        tensor([-1.8379])
    """
    build = autoregressions if autoregressive else couplings
    return build(
        features,
        context,
        map=maps.RationalQuadratic(bins=bins),
        layers=layers,
        hidden=hidden,
        mix=mix,
        activation=activation,
        dropout=dropout,
        start=start,
        base=base,
    )
