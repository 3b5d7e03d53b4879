"""What a coupling keeps: booleans of an event's shape, True = kept. ``~keep`` is the other part."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.errors import ShapeError

__all__ = ["alternating", "channels", "checkerboard", "half", "random"]


def half(event: int | Sequence[int]) -> Tensor:
    """Keep the first half of the numbers of an event.

    Args:
        event: width of a vector, or the shape of an event.

    Example:
        >>> half(5)
        tensor([ True,  True, False, False, False])
    """
    shape = shape_of("half", event)
    count = math.prod(shape)
    return (torch.arange(count) < count // 2).reshape(shape)


def alternating(event: int | Sequence[int]) -> Tensor:
    """Keep every other number of an event, beginning with the second.

    Args:
        event: width of a vector, or the shape of an event.

    Example:
        >>> alternating(5)
        tensor([False,  True, False,  True, False])
    """
    shape = shape_of("alternating", event)
    return (torch.arange(math.prod(shape)) % 2 == 1).reshape(shape)


def random(event: int | Sequence[int], seed: int) -> Tensor:
    """Keep a random half of the numbers of an event; torch's own random state is left alone.

    Args:
        event: width of a vector, or the shape of an event.
        seed: the same seed keeps the same half.

    Example:
        >>> int(random(7, seed=0).sum())
        3
    """
    shape = shape_of("random", event)
    count = math.prod(shape)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return (order < count // 2).reshape(shape)


def checkerboard(event: Sequence[int]) -> Tensor:
    """Keep the pixels of an image whose row and column add up to an odd number, in every channel.

    Args:
        event: ``(C, H, W)``; any shape whose last two numbers are rows and columns.

    Example:
        >>> checkerboard((1, 2, 3))
        tensor([[[False,  True, False],
                 [ True, False,  True]]])
    """
    shape = shape_of("checkerboard", event)
    if len(shape) < 2:
        raise ShapeError(
            f"checkerboard: event is {shape}, expected (C, H, W); write alternating({shape[0]})."
        )
    rows, columns = torch.arange(shape[-2]), torch.arange(shape[-1])
    return ((rows[:, None] + columns) % 2 == 1).expand(shape).clone()


def channels(event: Sequence[int]) -> Tensor:
    """Keep the first half of the channels of an image.

    Args:
        event: ``(C, H, W)`` of at least two channels; the first number counts channels.

    Example:
        >>> channels((2, 1, 2))
        tensor([[[ True,  True]],
                [[False, False]]])
    """
    shape = shape_of("channels", event)
    if len(shape) < 2 or shape[0] < 2:
        raise ShapeError(
            f"channels: event is {shape}, expected (C, H, W) of at least 2 channels; of one, "
            f"write checkerboard({shape})."
        )
    first = torch.arange(shape[0]) < shape[0] // 2
    return first.reshape(-1, *[1] * (len(shape) - 1)).expand(shape).clone()


def shape_of(who: str, event: int | Sequence[int]) -> tuple[int, ...]:
    """The shape of an event that is given by its width or its shape."""
    shape = (event,) if isinstance(event, int) else tuple(event)
    if not shape or any(not isinstance(size, int) or size < 1 for size in shape):
        raise ShapeError(
            f"{who}: events of shape {event!r} cannot be, expected a width or sizes of at least 1."
        )
    return shape
