"""Neural spline flows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pushforward import maps
from pushforward.bases import GaussianMixture, Uniform
from pushforward.errors import ArgumentError
from pushforward.flows.flow import Flow
from pushforward.flows.recipes.registry import recipe
from pushforward.flows.recipes.stack import (
    assemble,
    autoregressions,
    check_layers,
    couplings,
    keeps,
    mixed,
)
from pushforward.transforms import Circle, Compose, Coupling, Interval, Inverse, Transform

__all__ = ["mixture_nsf", "ncsf", "nsf"]

# Largest log-scale of the affine layers: they are there to shift, the splines to scale.
_BOUND = 0.5
_TURN = 2.0 * math.pi  # the period that the layers work with


@recipe(
    paper="1906.04032",
    year=2019,
    density="1 call",
    sampling="1 call",
    choose="the default: sharp, skewed and separated shapes; both directions exact and fast",
)
def nsf(
    features: int,
    context: int = 0,
    *,
    layers: int = 6,
    hidden: Sequence[int] = (128, 128),
    bins: int = 8,
    affine: int = 2,
    autoregressive: bool = False,
    direction: str = "density",
    mix: str = "lu",
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Neural spline flow: rational-quadratic splines in couplings or autoregressions.

    A spline cannot shift what lies outside its box, so a few affine layers come first: on a
    banana-shaped density the distance to the truth falls to a quarter.

    Ours differs from the paper in these affine layers, in the box, which is read off the data, in
    tails of learned slope and in starting at the identity.

    Args:
        features: width of x.
        context: width of the context.
        layers: number of spline layers.
        hidden: widths of the hidden layers of each network.
        bins: bins of each spline.
        affine: number of affine layers before them, 0 for none.
        autoregressive: autoregressions instead of couplings.
        direction: of autoregressions, which way takes one call: ``density`` or ``sampling``;
            couplings take one either way.
        mix: ``lu`` puts a learned linear transform around every layer, ``none`` nothing.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, standard normal by default.
        seed: seed of weights, halves and orders; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Durkan et al. 2019, arXiv:1906.04032

    Example:
        >>> nsf(2, seed=0).log_prob([[0.0, 0.0]]).detach()
        tensor([-1.8379])
    """
    check_layers("nsf", layers)
    if not isinstance(affine, int) or affine < 0:
        raise ArgumentError(f"pf.flows.nsf: affine is {affine!r}, expected 0 or more.")
    build: Any = autoregressions if autoregressive else couplings
    networks: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    if autoregressive:
        networks["direction"] = direction
    elif direction != "density":
        raise ArgumentError(
            f"pf.flows.nsf: direction is {direction!r}, but couplings cost the same both ways; "
            f"add autoregressive=True."
        )
    splines = build(features, context, maps.RationalQuadratic(bins), layers, **networks)
    first = build(features, context, maps.Affine(_BOUND), affine, **networks)
    return assemble(features, context, mixed(features, [*first, *splines], mix), start, base)


@recipe(
    paper="1912.13025",
    year=2019,
    density="1 call",
    sampling="1 call",
    choose="splines on a mixture of normal densities: data in separate groups",
    of_base=("background", "components"),
)
def mixture_nsf(
    features: int,
    context: int = 0,
    *,
    components: int = 48,
    background: float = 0.0,
    layers: int = 6,
    hidden: Sequence[int] = (128, 128),
    bins: int = 8,
    affine: int = 2,
    mix: str = "lu",
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "standardize",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Neural spline flow on a mixture of normal densities, which the data places.

    From one normal density a flow has to leave bridges of density between separate groups.

    Ours differs from the paper in the components: they have full covariances, are trained, and
    are placed by expectation and maximization when training begins.

    Args:
        features: width of x.
        context: width of the context, which the layers read; the mixture does not.
        components: number of components; many small ones also follow shapes that are no lumps. On
            fewer than 25 rows each, or two a feature, they share places: as many as rows allow.
        background: share that one more component starts with, as wide as all rows together.
        layers: number of spline layers.
        hidden: widths of the hidden layers of each network.
        bins: bins of each spline.
        affine: number of affine layers before them, 0 for none.
        mix: ``lu`` puts a learned linear transform around every layer, ``none`` nothing.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``standardize``, ``robust``, ``actnorm``, ``none`` or a transform.
        base: density of z, by default the mixture.
        seed: seed of weights and halves; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range.

    Source: Izmailov, Kirichenko, Finzi, Wilson 2019, arXiv:1912.13025; Durkan et al. 2019,
        arXiv:1906.04032

    Example:
        >>> mixture_nsf(2, components=4, seed=0).sample(3).shape
        torch.Size([3, 2])
    """
    flow: Flow = nsf(
        features,
        context,
        layers=layers,
        hidden=hidden,
        bins=bins,
        affine=affine,
        mix=mix,
        activation=activation,
        dropout=dropout,
        residual=residual,
        start=start,
        base=GaussianMixture(features, components, background) if base is None else base,
    )
    return flow


@recipe(
    paper="2002.02428",
    year=2020,
    density="1 call",
    sampling="1 call",
    choose="angles: columns that come round after a period, by default two pi",
)
def ncsf(
    features: int,
    context: int = 0,
    *,
    layers: int = 6,
    hidden: Sequence[int] = (128, 128),
    bins: int = 8,
    period: float = _TURN,
    activation: str = "relu",
    dropout: float = 0.0,
    residual: bool = False,
    start: Any = "circle",
    base: Any = None,
    seed: int | None = None,
) -> Flow:
    """Neural circular spline flow: a density of angles, with one period for all of them.

    Each layer turns some of the angles and then bends them by a circular spline; how, depends on
    the cosines and sines of the others. The density is one of angles in the data's own unit: over
    one period it integrates to 1, and goes on periodically. Samples lie between -period / 2 and
    period / 2. Angles of several units need a start of their own, as in the second example.

    Args:
        features: number of angles.
        context: width of the context.
        layers: number of layers.
        hidden: widths of the hidden layers of each network.
        bins: bins of each spline.
        period: what angles come round after, in the unit of the data: two pi for radians, 360 for
            degrees, 24 for hours.
        activation: activation of the networks.
        dropout: dropout of the networks.
        residual: whether each hidden layer after the first adds to the one before it.
        start: what comes first: ``circle``, which wraps angles of that period, or a transform whose
            z is an angle between -pi and pi and which knows the period by itself.
        base: density of z on the circle, uniform between -pi and pi by default.
        seed: seed of weights and halves; None uses torch's own state.

    Raises:
        ArgumentError: an argument out of range, or a period beside a start that is a transform.

    Source: Rezende et al. 2020, arXiv:2002.02428

    Example:
        >>> from pushforward import transforms
        >>> degrees = ncsf(2, period=360.0, seed=0).sample(1000)
        >>> bool((degrees.abs() <= 180.0).all()), bool((degrees.abs() > 90.0).any())
        (True, True)
        >>> circles = transforms.Columns(transforms.Circle(1, 360.0), transforms.Circle(1, 24.0))
        >>> import torch
        >>> half = torch.tensor([180.0, 12.0])
        >>> radians = transforms.Interval(2, -half, half, -math.pi, math.pi)
        >>> ncsf(2, start=transforms.Compose(circles, radians), seed=0).sample(4).shape
        torch.Size([4, 2])
    """
    check_layers("ncsf", layers)
    spline = maps.RationalQuadratic(bins, box=math.pi, tails="circular")
    networks: dict[str, Any] = {
        "hidden": hidden,
        "activation": activation,
        "dropout": dropout,
        "residual": residual,
    }
    networks["periodic"] = True
    steps: list[Transform] = [
        Coupling(features, map=map, keep=keep, context=context, **networks)
        for keep in keeps(features, layers)
        for map in (maps.Additive(), spline)
    ]
    first = _circle(features, period, start)
    base = Uniform(features, -math.pi, math.pi) if base is None else base
    # The layers turn angles beyond a half circle; turned round, this brings samples back to it.
    return assemble(features, context, [Inverse(Circle(features)), *steps], first, base)


def _circle(features: int, period: float, start: Any) -> Transform:
    """What wraps angles of a period and gives radians, or the start that was asked for."""
    if not isinstance(period, int | float) or not 0 < period < math.inf:
        raise ArgumentError(
            f"pf.flows.ncsf: period is {period!r}, expected a positive number, such as 360.0 for "
            f"degrees."
        )
    if isinstance(start, Circle) and start.period != _TURN:
        raise ArgumentError(
            f"pf.flows.ncsf: start is a Circle of period {start.period:g}, and the layers take "
            f"radians; write period={start.period:g} in its place."
        )
    if isinstance(start, Transform):
        if period != _TURN:
            raise ArgumentError(
                f"pf.flows.ncsf: period is {period:g} beside a start that is a transform, which it "
                f"would not reach; leave one of them out."
            )
        return start
    if start != "circle":
        raise ArgumentError(
            f"pf.flows.ncsf: start is {start!r}, expected a transform or one of 'circle'; a "
            f"scaling would not know where angles come round."
        )
    circle = Circle(features, float(period))
    if period == _TURN:
        return circle
    half = 0.5 * period
    return Compose(circle, Interval(features, -half, half, -math.pi, math.pi))
