"""What the recipes share: layers in a row, mixing between them, a start and a base."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from pushforward.bases import Normal
from pushforward.errors import ArgumentError
from pushforward.flows.flow import Flow
from pushforward.maps import Map
from pushforward.networks import Normalize
from pushforward.transforms import (
    LU,
    ActNorm,
    Autoregressive,
    Compose,
    Coupling,
    Inverse,
    Standardize,
    Transform,
)

__all__ = [
    "assemble",
    "autoregressions",
    "check_layers",
    "couplings",
    "facing",
    "keeps",
    "mixed",
    "orders",
]


def assemble(
    features: int, context: int, layers: Sequence[Transform], start: Any, base: Any
) -> Flow:
    """A flow of a start at the data end, layers, and a base; the context is scaled once.

    Raises:
        ArgumentError: ``start`` is none of the kinds it may be.
    """
    embed = Normalize(context) if context else None
    base = Normal(features) if base is None else base
    return Flow(Compose(*_start(features, start), *layers), base, embed)


def _start(features: int, start: Any) -> list[Transform]:
    if isinstance(start, Transform):
        return [start]
    kinds: dict[str, list[Callable[[int], Transform]]] = {
        "standardize": [Standardize],
        "robust": [partial(Standardize, robust=True)],
        "actnorm": [ActNorm],
        "none": [],
    }
    if not isinstance(start, str) or start not in kinds:
        raise ArgumentError(
            f"start is {start!r}, expected a transform or one of {', '.join(map(repr, kinds))}."
        )
    return [kind(features) for kind in kinds[start]]


def check_layers(who: str, layers: int) -> None:
    """Refuse a flow without layers."""
    if layers < 1:
        raise ArgumentError(f"pf.flows.{who}: layers is {layers!r}, expected at least 1.")


def keeps(features: int, layers: int) -> list[list[bool]]:
    """What each coupling keeps: a random half, then the other half, then a new random half.

    Every feature is moved in every pair of layers. One feature alone is always moved.
    """
    if features == 1:
        return [[False]] * layers
    result: list[list[bool]] = []
    for _ in range((layers + 1) // 2):
        keep = torch.zeros(features, dtype=torch.bool)
        keep[torch.randperm(features)[: features // 2]] = True
        result += [keep.tolist(), (~keep).tolist()]
    return result[:layers]


def orders(features: int, layers: int) -> list[list[int]]:
    """Orders of autoregressions: as given, reversed, a random one, its reverse and so on."""
    result: list[list[int]] = []
    for i in range((layers + 1) // 2):
        order = torch.arange(features) if i == 0 else torch.randperm(features)
        result += [order.tolist(), (features - 1 - order).tolist()]
    return result[:layers]


def couplings(
    features: int, context: int, map: Map, layers: int, **networks: Any
) -> list[Transform]:
    """Couplings with one map; ``networks`` goes to ``Coupling``."""
    return [
        Coupling(features, map=map, keep=keep, context=context, **networks)
        for keep in keeps(features, layers)
    ]


def autoregressions(
    features: int,
    context: int,
    map: Map,
    layers: int,
    direction: str = "density",
    first: Sequence[int] | None = None,
    **networks: Any,
) -> list[Transform]:
    """Autoregressions with one map; ``networks`` goes to ``Autoregressive``.

    The order of the first may be given; the others follow ``orders``.
    """
    each = orders(features, layers) if first is None else [first, *orders(features, layers)[1:]]
    steps = [
        Autoregressive(features, map=map, order=order, context=context, **networks)
        for order in each
    ]
    return facing(steps, direction)


def facing(steps: Sequence[Transform], direction: str) -> list[Transform]:
    """Steps that are cheap from data to latent, turned round if samples are to be cheap.

    Raises:
        ArgumentError: ``direction`` is neither ``density`` nor ``sampling``.
    """
    if direction not in ("density", "sampling"):
        raise ArgumentError(f"direction is {direction!r}, expected 'density' or 'sampling'.")
    return list(steps) if direction == "density" else [Inverse(step) for step in steps]


def mixed(features: int, layers: Sequence[Transform], mix: str) -> list[Transform]:
    """Layers with a linear transform before each and behind the last, or as they are.

    Raises:
        ArgumentError: ``mix`` is neither ``lu`` nor ``none``.
    """
    if mix == "none":
        return list(layers)
    if mix != "lu":
        raise ArgumentError(f"mix is {mix!r}, expected 'lu' or 'none'.")
    result: list[Transform] = []
    for layer in layers:
        result += [LU(features), layer]
    return [*result, LU(features)]
