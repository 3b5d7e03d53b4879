"""Which inputs can ever influence which outputs: what a forgotten permutation leaves out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch

from pushforward.numerics.dependence import chained
from pushforward.transforms.base import Transform
from pushforward.transforms.compose import Inverse, in_a_row
from pushforward.transforms.support.columns import Columns

__all__ = ["ConnectivityWarning", "warn_if_disconnected"]

_NUMBERS = 1024  # of an event, beyond which the check would take longer than building the flow


class ConnectivityWarning(UserWarning):
    """Some input of a flow can never influence some output."""


def warn_if_disconnected(who: str, transforms: Sequence[Transform]) -> None:
    """Warn if transforms in a row leave out a dependence that none of them forbids on purpose.

    One autoregression alone may do so: it is triangular by intention. A coupling alone leaves what
    it keeps as it is, and several layers that still leave a pair out are most often meant to have
    a permutation between them.
    """
    numbers = math.prod(transforms[0].event_shape)
    if not 1 < numbers <= _NUMBERS:
        return
    steps = [step for transform in transforms for step in in_a_row(transform)]
    total = chained(step.influence() for step in steps)
    missing = [] if total is None else torch.nonzero(~total).tolist()
    layers = [_mixing(step) for step in steps]
    meant = sum(layer.layers for layer in layers) < 2 and all(layer.meant for layer in layers)
    if not missing or meant:
        return
    z, x = missing[0]
    more = f", and {len(missing) - 1} more such pairs are missing" if len(missing) > 1 else ""
    warnings.warn(
        f"{who}: feature {x} of x can never influence feature {z} of z{more}; put a Permutation, "
        f"Reverse or LU between the layers, let couplings keep other features, or add layers.",
        ConnectivityWarning,
        stacklevel=4,
    )


class _Mixing(NamedTuple):
    """How many layers mix features, and whether what they leave out is meant to be left out."""

    layers: int
    meant: bool


def _mixing(step: Transform) -> _Mixing:
    plain = step.transform if isinstance(step, Inverse) else step
    if isinstance(plain, Columns):  # as the deepest of them
        parts = [[_mixing(one) for one in in_a_row(part)] for part in plain._all()]
        count = max(sum(layer.layers for layer in part) for part in parts)
        return _Mixing(count, all(layer.meant for part in parts for layer in part))
    pattern = plain.influence()
    if pattern is None:
        return _Mixing(1, True)
    count = int((pattern.sum(-1) > 1).any())
    return _Mixing(count, not count or plain.ordered or bool(pattern.all()))
