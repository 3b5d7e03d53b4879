"""Pushing many rows through a transform, a piece at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pushforward.transforms.base import Transform

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["in_evaluation", "of_each_row", "push"]

_CHUNK = 65536  # rows that are pushed at a time


@contextmanager
def in_evaluation(step: Transform) -> Iterator[None]:
    """Evaluate inside the ``with`` block, and let each part be in its mode afterwards."""
    modes = [(module, module.training) for module in step.modules()]
    step.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def of_each_row(x: Tensor, context: Tensor | None) -> Tensor | None:
    """A context that is broadcast to rows, written out, so that both can be cut alike."""
    return None if context is None else context.expand(len(x), context.shape[-1])


def push(step: Transform, x: Tensor, context: Tensor | None) -> Tensor:
    """Push rows through a step in evaluation, a piece at a time so that memory stays flat."""
    context = of_each_row(x, context)
    out = []
    with torch.no_grad(), in_evaluation(step):
        for i in range(0, len(x), _CHUNK):
            rows = slice(i, i + _CHUNK)
            out.append(step(x[rows], None if context is None else context[rows])[0])
    return out[0] if len(out) == 1 else torch.cat(out)
