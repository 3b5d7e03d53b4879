"""What autograd keeps of a kernel's inputs until backward, and whether it still is what it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

__all__ = [
    "in_memory",
    "refuse",
    "refuse_changed",
    "refuse_exchanged",
    "refuse_others",
    "same_memory",
    "sizes",
]

Tensors = Sequence["Tensor | None"]


def same_memory(tensors: Tensors) -> Iterator[Tensor | None]:
    """The same numbers, to be kept: who gives a parameter others by ``.data`` leaves these alone.

    Changes in place are still seen by autograd.
    """
    return (None if one is None else one.detach() for one in tensors)


def sizes(tensors: Tensors) -> list[tuple[int, torch.dtype | None]]:
    """Bytes and types."""
    return [(0, None) if one is None else (one.nbytes, one.dtype) for one in tensors]


def in_memory(grad: Tensor) -> Tensor:
    """A gradient that comes to backward, as numbers in memory."""
    if grad._is_zerotensor():  # zeros that autograd has not written down
        return torch.zeros(grad.shape, dtype=grad.dtype, device=grad.device)
    return grad.resolve_neg()


def refuse_exchanged(given: Tensors, kept: Tensors) -> None:
    """Refuse to differentiate in tensors that hold other numbers than were kept of them.

    Raises:
        RuntimeError: they do.
    """
    for now, then in zip(given, kept, strict=True):
        if now is None or then is None:
            continue
        if now.shape != then.shape or now.dtype is not then.dtype:
            refuse()
        if now.data_ptr() != then.data_ptr() and not torch.equal(now.detach(), then):
            refuse()


def refuse_changed(given: Tensor, version: int) -> None:
    """Refuse to differentiate again in a tensor that was changed in place.

    Of what backward itself does not read, autograd does not tell it.

    Raises:
        RuntimeError: it was.
    """
    if given._version != version:
        raise RuntimeError(
            "A second derivative needs a tensor that was modified by an inplace operation between "
            "forward and backward; change it afterwards, or a copy of it."
        )


def refuse() -> None:
    """Refuse to go on with what is not what the kernel was given.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(
        "A tensor that pushforward's kernels were given was exchanged between forward and "
        "backward, by `.data` or by a hook for saved tensors; exchange it afterwards, or write "
        "`with pushforward.kernels.disabled():` around both."
    )


def refuse_others(map: object, low: Tensor | None, high: Tensor | None) -> None:
    """Refuse to differentiate a map whose constants are not those it was applied with.

    Raises:
        RuntimeError: they were replaced between forward and backward.
    """
    now = getattr(map, "constants", (low, high))
    if now[0] is not low or now[1] is not high:
        raise RuntimeError(
            f"{type(map).__name__}: its constants were replaced between forward and backward; "
            f"write `with pushforward.kernels.disabled():` around both."
        )
