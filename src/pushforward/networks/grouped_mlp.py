"""A perceptron whose outputs see only the inputs of the groups before their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.networks.mlp import ACTIVATIONS, check_network
from pushforward.spec import Part

__all__ = ["GroupedMLP"]


class GroupedMLP(Part, nn.Module):
    """Masked perceptron of groups: what belongs to group g depends on the groups before g.

    Other than ``MaskedMLP`` it takes groups of several inputs, such as the ones and zeros that
    stand for a category, and gives each group as many outputs as it needs. A context is seen by
    all.

    Args:
        inputs: the group of each input, from 0 up.
        outputs: the group of each output.
        context: width of the context.
        hidden: widths of the hidden layers; narrower ones are widened to the number of groups.
        activation: ``relu``, ``silu``, ``gelu``, ``elu`` or ``tanh``.
        dropout: share of hidden units dropped in training.
        residual: whether each hidden layer after the first adds to the one before it.

    Shapes:
        x: ``(*batch, inputs)``; context: ``(*batch, context)``; output: ``(*batch, outputs)``, zero
        before training

    Raises:
        ArgumentError: a group below 0, or what every perceptron refuses.

    Source: Germain et al. 2015, arXiv:1502.03509.
        Differs: groups.

    Example:
        >>> network = GroupedMLP(inputs=[0, 0, 1], outputs=[0, 1, 1, 1], hidden=(16,))
        >>> network(torch.ones(5, 3), None).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        inputs: Sequence[int],
        outputs: Sequence[int],
        context: int = 0,
        hidden: Sequence[int] = (128, 128),
        activation: str = "relu",
        dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        check_network("GroupedMLP", hidden, activation, dropout, residual)
        seen, given = (torch.tensor(list(part), dtype=torch.long) for part in (inputs, outputs))
        if any(len(part) and int(part.min()) < 0 for part in (seen, given)):
            raise ArgumentError("GroupedMLP: a group is below 0, expected numbers from 0 up.")
        self.context, self.residual = context, residual
        self.activation, self.dropout = activation, float(dropout)
        groups = 1 + max((int(part.max()) for part in (seen, given) if len(part)), default=0)
        # a unit of degree d sees the inputs of groups below d; of degree 0 it sees the context
        lowest = 0 if context or groups == 1 else 1
        degrees = torch.arange(lowest, groups)
        # the context is seen whatever the degree
        known = torch.cat((seen + 1, torch.zeros(context, dtype=torch.long)))
        self.layers = nn.ModuleList()
        for i, width in enumerate(hidden):
            unit = degrees[torch.arange(max(int(width), len(degrees))) % len(degrees)]
            unit = unit.sort().values
            self.layers.append(nn.Linear(len(known), len(unit)))
            self._mask(f"mask{i}", known <= unit[:, None])
            known = unit
        self.last = nn.Linear(len(known), len(given))
        self._mask("mask_last", known <= given[:, None])
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def _mask(self, name: str, mask: Tensor) -> None:
        self.register_buffer(name, mask.float(), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Map ``(*batch, inputs)`` to ``(*batch, outputs)``."""
        x = x if context is None else torch.cat((x, context), -1)
        before: Tensor | None = None
        for i, layer in enumerate(self.layers):
            sums = self._masked(layer, f"mask{i}", x)
            if self.residual and before is not None:
                sums = before + sums
            x, before = ACTIVATIONS[self.activation](sums), sums
            if self.dropout:
                x = functional.dropout(x, self.dropout, self.training)
        return self._masked(self.last, "mask_last", x)

    def _masked(self, layer: nn.Module, mask: str, x: Tensor) -> Tensor:
        linear: Any = layer
        return functional.linear(x, linear.weight * self.get_buffer(mask), linear.bias)
