"""Which inputs can ever influence which outputs: what a forgotten permutation leaves out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pushforward.transforms.base import Transform
from pushforward.transforms.compose import in_a_row

__all__ = ["ConnectivityWarning", "warn_if_disconnected"]

_NUMBERS = 1024  # of an event, beyond which the check would take longer than building the flow


class ConnectivityWarning(UserWarning):
    """Some input of a flow can never influence some output."""


def warn_if_disconnected(who: str, transforms: Sequence[Transform]) -> None:
    """Warn if transforms in a row leave out a dependence that none of them forbids on purpose.

    One mixing layer alone may do so: a single autoregression is triangular by intention. Several
    that still leave a pair out are most often meant to have a permutation between them.
    """
    numbers = math.prod(transforms[0].event_shape)
    if not 1 < numbers <= _NUMBERS:
        return
    total = torch.eye(numbers, dtype=torch.bool)
    mixing = 0
    for pattern in (p for t in transforms for p in _patterns(t)):
        if pattern is None:
            return  # everything reaches everything from here on
        mixing += bool((pattern.sum(-1) > 1).any())
        total = (pattern.float() @ total.float()) > 0
    missing = torch.nonzero(~total)
    if mixing > 1 and len(missing):
        z, x = missing[0].tolist()
        warnings.warn(
            f"{who}: feature {x} of x can never influence feature {z} of z, and {len(missing) - 1} "
            f"more of {total.numel()} such pairs are missing; put a Permutation, Reverse or LU "
            f"between the layers, let couplings keep other features, or add layers.",
            ConnectivityWarning,
            stacklevel=4,
        )


def _patterns(transform: Transform) -> Iterator[Tensor | None]:
    """What the steps of a transform let through, in the order in which they touch the data."""
    for step in in_a_row(transform):
        yield step.influence()
