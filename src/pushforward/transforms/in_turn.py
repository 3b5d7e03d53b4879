"""Steps one after the other; as many as can in one kernel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.kernels.chain import padded
from pushforward.kernels.dispatch import eager
from pushforward.kernels.layer import run_layers
from pushforward.kernels.library import MOST_CHAINED
from pushforward.transforms.fused import Prepared, Taken

__all__ = ["in_turn", "saved_bytes"]

# Bytes that a row of layers keeps for backward in one piece, just below the 32 MiB up to which the
# C library learns to hold on to what was given back. More goes to the system and is asked for again
# at every step, page by page; with much less it holds on to too little for many layers.
_MOST_SAVED = (1 << 25) - (1 << 21)


def in_turn(steps: Sequence[Taken], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Take steps one after the other: where they end, and the sum of their logdets.

    Steps that kernels know are taken in rows: one call, one operation of autograd and one team of
    threads for all of a row.
    """
    total: Tensor | None = None
    kernels = eager()
    at = 0
    while at < len(steps):
        row = _row(steps[at : at + MOST_CHAINED], x, context) if kernels else []
        if row:
            weights = [tensor for one in row for tensor in one.weights]
            x, logdet = run_layers([one.call for one in row], x, context, weights)
        else:
            x, logdet = steps[at].take(x, context)
        at += len(row) or 1
        total = logdet if total is None else total + logdet
    assert total is not None  # there is at least one step
    return x, total


def _row(steps: Sequence[Taken], x: Tensor, context: Tensor | None) -> list[Prepared]:
    """The first steps that a kernel can take together.

    Autograd goes along with all of them, or with none: what is not trained is not kept for it. But
    there is nothing to keep of a scaling but where it ends.
    """
    row: list[Prepared] = []
    graph = torch.is_grad_enabled()
    saved, before, light = 0, False, True
    for step in steps:
        one = step.in_a_row(x, context)
        if one is None:
            break
        now = graph and (before or _followed(one, x, context))
        saved += saved_bytes(one, x) if now else 0
        if row and (saved > _MOST_SAVED or (now != before and not light)):
            break
        before, light = now, light and not one.call.plan.tensors
        row.append(one)
    return row


def saved_bytes(one: Prepared, x: Tensor) -> int:
    """Of what a layer keeps for backward, and of where it ends."""
    return (one.call.plan.saved + x.shape[-1]) * padded(x.shape[:-1].numel()) * x.element_size()


def _followed(one: Prepared, x: Tensor, context: Tensor | None) -> bool:
    """Whether autograd follows a step that takes x."""
    return (
        x.requires_grad
        or any(tensor.requires_grad for tensor in one.weights)
        or (context is not None and one.call.plan.context > 0 and context.requires_grad)
    )
