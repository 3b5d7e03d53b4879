"""Layers that add something to x: planar, radial, Sylvester and contractive ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pushforward.flows.flow import Flow
from pushforward.flows.recipes.registry import recipe
from pushforward.flows.recipes.stack import assemble, check_layers, facing
from pushforward.transforms import Contractive, Planar, Radial, Sylvester

__all__ = ["planar", "radial", "residual", "sylvester"]


@recipe(
    paper="1505.05770",
    year=2015,
    density="1 step",
    sampling="1 root",
    choose="variational posteriors: one bend a layer, few parameters",
    lr=0.05,
    of_context=("hidden",),
)
def planar(
    features: int,
    context: int = 0,
    *,
    layers: int = 16,
    hidden: Sequence[int] = (64, 64),
    direction: str = "density",
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Planar flow: each layer bends space along one direction.

    Ours differs from the paper in having an inverse, so that it can be trained on data, and in
    which way the formula goes; ``direction="sampling"`` is the paper's.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of layers.
        hidden: widths of the hidden layers of the network that reads a context; refused without
            one, since nothing would have them.
        direction: which way is the formula, and cheaper: ``density`` or ``sampling``.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Rezende, Mohamed 2015, arXiv:1505.05770

    Example:
        >>> planar(2, seed=0).sample(3).shape
        torch.Size([3, 2])
    """
    check_layers("planar", layers)
    steps = [Planar(features, context=context, hidden=hidden) for _ in range(layers)]
    return assemble(features, context, facing(steps, direction), start, base)


@recipe(
    paper="1505.05770",
    year=2015,
    density="1 step",
    sampling="1 step",
    choose="variational posteriors: one bump a layer, exact both ways",
    lr=0.1,
    of_context=("hidden",),
)
def radial(
    features: int,
    context: int = 0,
    *,
    layers: int = 16,
    hidden: Sequence[int] = (64, 64),
    direction: str = "density",
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Radial flow: each layer pulls space towards a point or pushes it away.

    Ours differs from the paper in having an inverse, and in which way the formula goes;
    ``direction="sampling"`` is the paper's.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of layers.
        hidden: widths of the hidden layers of the network that reads a context; refused without
            one, since nothing would have them.
        direction: which way is the formula, and cheaper: ``density`` or ``sampling``.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Rezende, Mohamed 2015, arXiv:1505.05770

    Example:
        >>> radial(2, seed=0).sample(3).shape
        torch.Size([3, 2])
    """
    check_layers("radial", layers)
    steps = [Radial(features, context=context, hidden=hidden) for _ in range(layers)]
    return assemble(features, context, facing(steps, direction), start, base)


@recipe(
    paper="1803.05649",
    year=2018,
    density="1 step",
    sampling="1 root a direction",
    choose="variational posteriors: several bends a layer, conditional ones",
    lr=0.05,
    of_context=("hidden",),
)
def sylvester(
    features: int,
    context: int = 0,
    *,
    layers: int = 8,
    rank: int | None = None,
    kind: str = "orthogonal",
    hidden: Sequence[int] = (64, 64),
    direction: str = "density",
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Sylvester flow: each layer bends space along several directions at once.

    Ours differs from the paper in having an inverse, and in which way the formula goes;
    ``direction="sampling"`` is the paper's.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of layers.
        rank: directions of each layer, at most ``features``; by default all.
        kind: ``orthogonal``, ``householder`` or ``triangular``: what makes the directions.
        hidden: widths of the hidden layers of the network that reads a context; refused without
            one, since nothing would have them.
        direction: which way is the formula, and cheaper: ``density`` or ``sampling``.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: van den Berg, Hasenclever, Tomczak, Welling 2018, arXiv:1803.05649

    Example:
        >>> sylvester(2, seed=0).sample(3).shape
        torch.Size([3, 2])
    """
    check_layers("sylvester", layers)
    many = features if rank is None else rank
    steps = [
        Sylvester(features, rank=many, kind=kind, context=context, hidden=hidden)
        for _ in range(layers)
    ]
    return assemble(features, context, facing(steps, direction), start, base)


@recipe(
    paper="1906.02735",
    year=2019,
    density="1 to D calls",
    sampling="10 to 300 calls",
    choose="free-form layers with an inverse: smooth densities, no structure to choose",
    lr=0.01,
)
def residual(
    features: int,
    context: int = 0,
    *,
    layers: int = 8,
    coefficient: float = 0.97,
    logdet: str = "auto",
    hidden: Sequence[int] = (64, 64),
    direction: str = "density",
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Residual flow: each layer adds a network that contracts.

    Ours differs from the paper in logdet, which is exact for up to 32 features, and in a Lipschitz
    bound that holds at all times. For more features ``log_prob`` is an unbiased estimate, another
    one at each call: ``Flow.estimate`` gives it with its standard error.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of layers.
        coefficient: largest Lipschitz constant of a layer's network, below 1.
        logdet: ``exact``, ``unbiased`` or ``auto``, exact up to 32 features.
        hidden: widths of the hidden layers of each network.
        direction: which way is the formula, and cheaper: ``density`` or ``sampling``.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Chen, Behrmann, Duvenaud, Jacobsen 2019, arXiv:1906.02735

    Example:
        >>> residual(2, seed=0).sample(3).shape
        torch.Size([3, 2])
    """
    check_layers("residual", layers)
    steps = [
        Contractive(
            features, hidden=hidden, coefficient=coefficient, context=context, logdet=logdet
        )
        for _ in range(layers)
    ]
    return assemble(features, context, facing(steps, direction), start, base)
