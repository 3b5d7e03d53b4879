"""Masked autoencoders for distribution estimation: one network gives every conditional density."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pushforward import maps
from pushforward.bases import Logistic
from pushforward.errors import ArgumentError
from pushforward.flows.flow import Flow
from pushforward.flows.recipes.registry import recipe
from pushforward.flows.recipes.stack import assemble, autoregressions, check_layers

__all__ = ["made"]


@recipe(
    paper="1502.03509",
    year=2015,
    density="1 call",
    sampling="1 call, in steps",
    choose="one autoregression, Gaussian or mixture conditionals: small tables, a strong baseline",
)
def made(
    features: int,
    context: int = 0,
    *,
    layers: int = 1,
    components: int = 1,
    order: Sequence[int] | None = None,
    hidden: Sequence[int] = (128, 128),
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Product of conditional densities, all from one masked network.

    With one component each conditional is a normal density, and the flow is one affine
    autoregression. With more, each is a mixture of logistic densities: the flow applies its
    cumulative distribution function and a logistic base.

    Ours differs from the paper, which is about binary data, in these densities; they are those of
    the MADE in arXiv:1705.07057, with logistic components for normal ones.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of autoregressions: one is the paper's; more make a MAF of it.
        components: of each conditional density.
        order: position of each feature in the product of the first layer; by default as given.
        hidden: widths of the hidden layers of the network.
        activation: activation of the network.
        dropout: dropout of the network.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, by default standard normal, with several components logistic.
        seed: seed of weights; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Germain, Gregor, Murray, Larochelle 2015, arXiv:1502.03509

    Example:
        >>> made(3, components=5, seed=0).sample(4).shape
        torch.Size([4, 3])
    """
    check_layers("made", layers)
    if not isinstance(components, int) or components < 1:
        raise ArgumentError(f"pf.flows.made: components is {components!r}, expected at least 1.")
    networks: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    several = components > 1
    map = maps.LogisticMixture(components) if several else maps.Affine()
    base = Logistic(features) if base is None and several else base
    steps = autoregressions(features, context, map, layers, first=order, **networks)
    return assemble(features, context, steps, start, base)
