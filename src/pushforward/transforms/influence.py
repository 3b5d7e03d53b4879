"""Which inputs can ever influence which outputs: what a forgotten permutation leaves out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pushforward.transforms.base import Transform
from pushforward.transforms.compose import Compose, Inverse

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


def _patterns(transform: Transform, turned: bool = False) -> Iterator[Tensor | None]:
    """What the steps of a transform let through, in the order in which they touch the data."""
    if isinstance(transform, Inverse):
        yield from _patterns(transform.transform, not turned)
    elif isinstance(transform, Compose):
        steps = transform._all()
        for step in reversed(steps) if turned else steps:
            yield from _patterns(step, turned)
    else:
        pattern = transform.influence()
        yield _turned(pattern) if turned and pattern is not None else pattern


def _turned(pattern: Tensor) -> Tensor:
    """The pattern of the inverse of a map that has this one.

    Up to a permutation it has ones on its diagonal; an inverse then fills in what is reached over
    several steps.
    """
    if not bool(pattern.diagonal().all()):
        return pattern.mT
    reached = pattern
    for _ in range(math.ceil(math.log2(max(2, len(pattern))))):
        reached = (reached.float() @ reached.float()) > 0
    return reached
