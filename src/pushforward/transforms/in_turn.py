"""Steps one after the other; as many as can in one kernel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.kernels.dispatch import eager
from pushforward.kernels.layer import run_layers
from pushforward.transforms.fused import Prepared
from pushforward.transforms.replay import Step

__all__ = ["in_turn"]

# Bytes that a row of layers saves for backward in one piece. More would be given back to the system
# and asked for again at every step, and is better freed as backward goes on.
_MOST_SAVED = 1 << 24


def in_turn(steps: Sequence[Step], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Take steps one after the other: where they end, and the sum of their logdets.

    Layers that kernels know are taken in rows: one call, one operation of autograd and one team of
    threads for all of them.
    """
    total: Tensor | None = None
    kernels = eager()
    at = 0
    while at < len(steps):
        row = _row(steps, at, x, context) if kernels else []
        if row:
            weights = [tensor for one in row for tensor in one.weights]
            some = context if any(one.call.plan.context for one in row) else None
            x, logdet = run_layers([one.call for one in row], x, some, weights)
        else:
            x, logdet = steps[at].take(x, context)
        at += len(row) or 1
        total = logdet if total is None else total + logdet
    assert total is not None  # there is at least one step
    return x, total


def _row(steps: Sequence[Step], first: int, x: Tensor, context: Tensor | None) -> list[Prepared]:
    """The steps from one on that a kernel can take together."""
    row: list[Prepared] = []
    each = x.shape[:-1].numel() * x.element_size()
    saved = 0
    for step in steps[first:]:
        one = step.in_a_row(x, context)
        if one is None:
            break
        saved += one.call.plan.saved * each if torch.is_grad_enabled() else 0
        if row and saved > _MOST_SAVED:
            break
        row.append(one)
    return row
