"""Autoregressions with maps that a network of their own or a polynomial makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pushforward import maps
from pushforward.flows.flow import Flow
from pushforward.flows.recipes.registry import recipe
from pushforward.flows.recipes.stack import assemble, autoregressions, check_layers, facing, orders
from pushforward.transforms import BlockAutoregressive

__all__ = ["bernstein", "bnaf", "naf", "sospf", "umnn"]


@recipe(
    paper="1804.00779",
    year=2018,
    density="1 call",
    sampling="1 root a feature",
    choose="a monotone network a feature: sharp and multimodal conditionals",
)
def naf(
    features: int,
    context: int = 0,
    *,
    layers: int = 3,
    units: int = 8,
    hidden: Sequence[int] = (64, 64),
    direction: str = "density",
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Neural autoregressive flow: each feature goes through a monotone network.

    Ours differs from the paper in having one hidden layer of 8 sigmoids by default (16 in the
    paper), in slopes that are bounded, and in an inverse, which the paper has not.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of autoregressions.
        units: sigmoids of each monotone network.
        hidden: widths of the hidden layers of each network.
        direction: which way takes one call: ``density`` or ``sampling``.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights and orders; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Huang, Krueger, Lacoste, Courville 2018, arXiv:1804.00779

    Example:
        >>> naf(2, seed=0).sample(3).shape
        torch.Size([3, 2])
    """
    check_layers("naf", layers)
    networks: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    map = maps.DeepSigmoidal(units)
    steps = autoregressions(features, context, map, layers, direction, **networks)
    return assemble(features, context, steps, start, base)


@recipe(
    paper="1908.05164",
    year=2019,
    density="1 call",
    sampling="1 root a feature",
    choose="integrals of positive networks: smooth conditionals of any shape",
)
def umnn(
    features: int,
    context: int = 0,
    *,
    layers: int = 3,
    units: int = 8,
    points: int = 24,
    hidden: Sequence[int] = (64, 64),
    direction: str = "density",
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Unconstrained monotonic neural network: each feature goes through an integral.

    Ours differs from the paper in the network that is integrated: all its weights depend on the
    features before, and it is small.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of autoregressions.
        units: hidden units of each network that is integrated.
        points: where it is evaluated for that.
        hidden: widths of the hidden layers of each network.
        direction: which way takes one call: ``density`` or ``sampling``.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights and orders; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Wehenkel, Louppe 2019, arXiv:1908.05164

    Example:
        >>> umnn(2, seed=0).sample(3).shape
        torch.Size([3, 2])
    """
    check_layers("umnn", layers)
    networks: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    map = maps.Integral(units, points)
    steps = autoregressions(features, context, map, layers, direction, **networks)
    return assemble(features, context, steps, start, base)


@recipe(
    paper="1905.02325",
    year=2019,
    density="1 call",
    sampling="1 root a feature",
    choose="polynomials: smooth conditionals, few parameters",
)
def sospf(
    features: int,
    context: int = 0,
    *,
    layers: int = 3,
    polynomials: int = 2,
    degree: int = 4,
    hidden: Sequence[int] = (64, 64),
    direction: str = "density",
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Sum-of-squares polynomial flow: each feature goes through an increasing polynomial.

    Ours differs from the paper in going on linearly outside a box around the data, so that no
    row overflows.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of autoregressions.
        polynomials: how many are squared and summed.
        degree: of each.
        hidden: widths of the hidden layers of each network.
        direction: which way takes one call: ``density`` or ``sampling``.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights and orders; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Jaini, Selby, Yu 2019, arXiv:1905.02325

    Example:
        >>> sospf(2, seed=0).sample(3).shape
        torch.Size([3, 2])
    """
    check_layers("sospf", layers)
    networks: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    map = maps.SumOfSquares(polynomials, degree)
    steps = autoregressions(features, context, map, layers, direction, **networks)
    return assemble(features, context, steps, start, base)


@recipe(
    paper="2004.00464",
    year=2020,
    density="1 call",
    sampling="1 root a feature",
    choose="Bernstein polynomials: smooth conditionals, robust to fit",
)
def bernstein(
    features: int,
    context: int = 0,
    *,
    layers: int = 3,
    degree: int = 16,
    hidden: Sequence[int] = (64, 64),
    direction: str = "density",
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Bernstein polynomial flow: each feature goes through an increasing polynomial on a box.

    Ours differs from the paper in being deep and multivariate, and in going on linearly outside
    the box.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of autoregressions.
        degree: of the polynomials.
        hidden: widths of the hidden layers of each network.
        direction: which way takes one call: ``density`` or ``sampling``.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights and orders; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Sick, Hothorn, Duerr 2020, arXiv:2004.00464

    Example:
        >>> bernstein(2, seed=0).sample(3).shape
        torch.Size([3, 2])
    """
    check_layers("bernstein", layers)
    networks: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    map = maps.Bernstein(degree)
    steps = autoregressions(features, context, map, layers, direction, **networks)
    return assemble(features, context, steps, start, base)


@recipe(
    paper="1904.04676",
    year=2019,
    density="1 call",
    sampling="1 root a feature",
    choose="one network for all features, whole: compact, strong densities",
)
def bnaf(
    features: int,
    context: int = 0,
    *,
    layers: int = 3,
    hidden: Sequence[int] = (16, 16),
    direction: str = "density",
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Block neural autoregressive flow: networks whose weights are block triangular.

    Ours differs from the paper in an inverse, which the paper has not.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of autoregressions.
        hidden: hidden units a feature, of each hidden layer.
        direction: which way takes one call: ``density`` or ``sampling``.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights and orders; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: De Cao, Titov, Aziz 2019, arXiv:1904.04676

    Example:
        >>> bnaf(2, seed=0).sample(3).shape
        torch.Size([3, 2])
    """
    check_layers("bnaf", layers)
    steps = facing(
        [
            BlockAutoregressive(features, order=order, hidden=hidden, context=context)
            for order in orders(features, layers)
        ],
        direction,
    )
    return assemble(features, context, steps, start, base)
