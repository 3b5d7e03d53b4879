"""Recipes made of autoregressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pushforward import maps
from pushforward.flows.flow import Flow
from pushforward.flows.recipes.registry import recipe
from pushforward.flows.recipes.stack import assemble, autoregressions, check_layers, mixed
from pushforward.transforms import BatchNorm

__all__ = ["autoregressive", "iaf", "maf"]


@recipe(
    paper="1705.07057",
    year=2017,
    density="1 call",
    sampling="1 call, in steps",
    choose="any map in autoregressions: the best densities; sampling slows with features",
)
def autoregressive(
    features: int,
    context: int = 0,
    *,
    map: maps.Map | None = None,
    layers: int = 5,
    hidden: Sequence[int] = (128, 128),
    direction: str = "density",
    mix: str = "lu",
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Masked autoregressions with any map; the order turns round from layer to layer.

    Args:
        features: width of x.
        context: width of the context.
        map: the map, ``maps.RationalQuadratic()`` by default.
        layers: number of autoregressions.
        hidden: widths of the hidden layers of each network.
        direction: which way takes one call: ``density`` or ``sampling``.
        mix: ``lu`` puts a learned linear transform around every layer, ``none`` nothing.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights and orders; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Papamakarios, Pavlakou, Murray 2017, arXiv:1705.07057

    Example:
        >>> autoregressive(3, map=maps.Affine(), layers=2, seed=0).sample(4).shape
        torch.Size([4, 3])
    """
    check_layers("autoregressive", layers)
    chosen = maps.RationalQuadratic() if map is None else map
    networks: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    steps = autoregressions(features, context, chosen, layers, direction, **networks)
    return assemble(features, context, mixed(features, steps, mix), start, base)


@recipe(
    paper="1705.07057",
    year=2017,
    density="1 call",
    sampling="1 call, in steps",
    choose="affine autoregressions: good densities for little computation",
)
def maf(
    features: int,
    context: int = 0,
    *,
    layers: int = 5,
    hidden: Sequence[int] = (128, 128),
    batch_norm: bool = False,
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Masked autoregressive flow with affine maps.

    Ours differs from the paper in doing without batch normalization between the layers, unless it
    is asked for: it makes the loss depend on the batch, and rows standardized once do without.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of autoregressions.
        hidden: widths of the hidden layers of each network.
        batch_norm: whether batch normalization follows every layer.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights and orders; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Papamakarios, Pavlakou, Murray 2017, arXiv:1705.07057

    Example:
        >>> maf(2, seed=0).log_prob([[0.0, 0.0]]).detach()
        tensor([-1.8379])
    """
    check_layers("maf", layers)
    networks: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    steps = autoregressions(features, context, maps.Affine(), layers, **networks)
    if batch_norm:
        steps = [part for step in steps for part in (step, BatchNorm(features))]
    return assemble(features, context, steps, start, base)


@recipe(
    paper="1606.04934",
    year=2016,
    density="1 call, in steps",
    sampling="1 call",
    choose="affine autoregressions turned round: fast samples, for variational inference",
)
def iaf(
    features: int,
    context: int = 0,
    *,
    layers: int = 5,
    hidden: Sequence[int] = (128, 128),
    gated: bool = False,
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Inverse autoregressive flow: the layers of a MAF, each turned round.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of autoregressions.
        hidden: widths of the hidden layers of each network.
        gated: the paper's step, an average of what was there and what is new, whose scale stays
            near 1 at most; otherwise a scale bounded both ways.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights and orders; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Kingma et al. 2016, arXiv:1606.04934.
        Differs: the bounded affine map is the default.

    Example:
        >>> iaf(2, seed=0).sample(5).shape
        torch.Size([5, 2])
    """
    check_layers("iaf", layers)
    networks: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    step = maps.Gated() if gated else maps.Affine()
    steps = autoregressions(features, context, step, layers, "sampling", **networks)
    return assemble(features, context, steps, start, base)
