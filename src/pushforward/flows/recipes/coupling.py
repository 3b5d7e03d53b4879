"""Recipes made of couplings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from pushforward import maps
from pushforward.flows.flow import Flow
from pushforward.flows.recipes.registry import recipe
from pushforward.flows.recipes.stack import assemble, check_layers, couplings, mixed
from pushforward.transforms import Diagonal

__all__ = ["coupling", "flowpp", "nice", "realnvp"]


@recipe(
    paper="1605.08803",
    year=2016,
    density="1 call",
    sampling="1 call",
    choose="any map in couplings: both directions fast; coupling(map=…) to compose your own",
)
def coupling(
    features: int,
    context: int = 0,
    *,
    map: maps.Map | None = None,
    layers: int = 6,
    hidden: Sequence[int] = (128, 128),
    network: Callable[[int, int], nn.Module] | None = None,
    mix: str = "lu",
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Couplings with any map; each pair of layers moves every feature.

    Args:
        features: width of x.
        context: width of the context.
        map: the map, ``maps.RationalQuadratic()`` by default.
        layers: number of couplings.
        hidden: widths of the hidden layers of each network.
        network: a function of (inputs, outputs) giving another network.
        mix: ``lu`` puts a learned linear transform around every layer, ``none`` nothing.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights and of the choice of halves; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803

    Example:
        >>> coupling(3, map=maps.Affine(), layers=2, seed=0).sample(4).shape
        torch.Size([4, 3])
    """
    check_layers("coupling", layers)
    chosen = maps.RationalQuadratic() if map is None else map
    networks: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    if network is not None:
        networks = {"network": network}
    steps = couplings(features, context, chosen, layers, **networks)
    return assemble(features, context, mixed(features, steps, mix), start, base)


@recipe(
    paper="1410.8516",
    year=2014,
    density="1 call",
    sampling="1 call",
    choose="volume-preserving couplings: the simplest flow, a baseline",
)
def nice(
    features: int,
    context: int = 0,
    *,
    layers: int = 4,
    hidden: Sequence[int] = (128, 128),
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Additive couplings and one diagonal scaling.

    Ours differs from the paper in its base, which is normal rather than logistic.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of couplings.
        hidden: widths of the hidden layers of each network.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights and of the choice of halves; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Dinh, Krueger, Bengio 2014, arXiv:1410.8516

    Example:
        >>> nice(2, seed=0).log_prob([[0.0, 0.0]]).detach()
        tensor([-1.8379])
    """
    check_layers("nice", layers)
    networks = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    steps = couplings(features, context, maps.Additive(), layers, **networks)
    return assemble(features, context, [*steps, Diagonal(features)], start, base)


@recipe(
    paper="1605.08803",
    year=2016,
    density="1 call",
    sampling="1 call",
    choose="affine couplings: cheap and fast both ways; weak on sharp or separated shapes",
)
def realnvp(
    features: int,
    context: int = 0,
    *,
    layers: int = 8,
    hidden: Sequence[int] = (128, 128),
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Affine couplings with bounded scales.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of couplings.
        hidden: widths of the hidden layers of each network.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights and of the choice of halves; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803

    Example:
        >>> realnvp(2, context=1, seed=0).sample(3, [[0.5]]).shape
        torch.Size([3, 1, 2])
    """
    check_layers("realnvp", layers)
    networks = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    steps = couplings(features, context, maps.Affine(), layers, **networks)
    return assemble(features, context, steps, start, base)


@recipe(
    paper="1902.00275",
    year=2019,
    density="1 call",
    sampling="1 call, 1 root",
    choose="mixture couplings: multimodal conditionals without a box; slower samples",
)
def flowpp(
    features: int,
    context: int = 0,
    *,
    layers: int = 6,
    components: int = 8,
    hidden: Sequence[int] = (128, 128),
    mix: str = "lu",
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Flow++: couplings with the distribution function of a mixture of logistic densities.

    Ours differs from the paper, which is about images, in its networks, which are perceptrons
    without attention; the paper's dequantization is not part of it.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of couplings.
        components: of each mixture.
        hidden: widths of the hidden layers of each network.
        mix: ``lu`` puts a learned linear transform around every layer, ``none`` nothing.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights and of the choice of halves; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Ho, Chen, Srinivas, Duan, Abbeel 2019, arXiv:1902.00275

    Example:
        >>> flowpp(2, layers=2, seed=0).sample(3).shape
        torch.Size([3, 2])
    """
    check_layers("flowpp", layers)
    networks: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    steps = couplings(features, context, maps.LogisticMixture(components), layers, **networks)
    return assemble(features, context, mixed(features, steps, mix), start, base)
