"""What stays and what turns, as booleans that a user gives, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import ArgumentError

__all__ = ["flags_of", "some_of_all"]


def flags_of(name: str, event: tuple[int, ...], given: Sequence[Any] | Tensor) -> Tensor:
    """Booleans of the event's shape, flat."""
    try:
        flags = given.detach().cpu() if isinstance(given, Tensor) else torch.tensor(given)
        fits = flags.dtype == torch.bool and tuple(flags.shape) == event
    except (TypeError, ValueError):  # no numbers at all, or lists of different lengths
        fits = False
    if not fits:
        tensor = isinstance(given, Tensor)
        shown = f"{tuple(given.shape)} of {given.dtype}" if tensor else f"{given!r}"  # type: ignore[union-attr]
        means = {"keep": "what stays", "periodic": "angles"}[name]
        raise ArgumentError(
            f"Coupling: {name} is {shown:.80}, expected booleans of shape {event}, True for "
            f"{means}."
        )
    return flags.flatten()


def some_of_all(flags: Tensor) -> Tensor:
    """What is kept, if it is neither all nor nothing."""
    count = int(flags.sum())
    if count == len(flags):
        raise ArgumentError(
            f"Coupling: keep keeps all of {count} features, expected at least one of them False."
        )
    if count == 0 and len(flags) > 1:  # one feature alone has no other to be moved by
        raise ArgumentError(
            f"Coupling: keep keeps none of {len(flags)} features, expected at least one of them "
            f"True; write Elementwise to move each by itself."
        )
    return flags
