"""A perceptron whose outputs see only the features that come before them in an order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.kernels.layer import Staircase
from pushforward.networks.mlp import ACTIVATIONS, check_network, linear_tensors
from pushforward.numerics.dependence import dependence
from pushforward.spec import Part

__all__ = ["MaskedMLP"]


class MaskedMLP(Part, nn.Module):
    """Masked perceptron: the outputs of a feature depend on the features before it only.

    What comes before is said by an order or, more generally, by an adjacency. Each hidden unit
    belongs to a set of features that some output may see: it sees these inputs, and the units
    before it whose sets lie within its own. Every hidden layer holds units of every set, so that
    no dependence is lost; one narrower than the number of sets is widened to it. A context is seen
    by all.

    Args:
        features: number of ordered inputs.
        outputs: numbers produced for each feature.
        order: position of each feature, a permutation of ``range(features)``; default: as given.
        context: width of the context that all outputs see.
        hidden: widths of the hidden layers.
        activation: ``relu``, ``silu``, ``gelu``, ``elu`` or ``tanh``.
        dropout: share of hidden units dropped in training.
        adjacency: booleans ``(features, features)``, in the place of an order: the outputs of
            feature i see feature j where ``adjacency[i][j]``, and not what j sees. The diagonal
            says nothing.

    Shapes:
        x: ``(*batch, features)``; context: ``(*batch, context)``;
        output: ``(*batch, features, outputs)``, zero before training

    Raises:
        ShapeError: ``adjacency`` is not square and boolean.
        ArgumentError: ``adjacency`` has a cycle, or comes with an ``order``.

    Source: Germain et al. 2015, arXiv:1502.03509.
        Differs: hidden units belong to sets rather than degrees, which for an order is the same.

    Example:
        >>> network = MaskedMLP(3, 2, hidden=(16,))
        >>> network(torch.ones(5, 3), None).shape
        torch.Size([5, 3, 2])
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        order: Sequence[int] | None = None,
        context: int = 0,
        hidden: Sequence[int] = (128, 128),
        activation: str = "relu",
        dropout: float = 0.0,
        adjacency: Sequence[Sequence[bool]] | Tensor | None = None,
    ) -> None:
        super().__init__()
        check_network("MaskedMLP", hidden, activation, dropout)
        allowed = dependence("MaskedMLP", features, order, adjacency)
        self.features, self.outputs, self.context = features, outputs, context
        self.activation, self.dropout = activation, float(dropout)
        sets = _sets(allowed, context > 0)
        within = _within(sets, sets)
        # a context is within every set
        mask = torch.cat((sets, torch.ones(len(sets), context, dtype=torch.bool)), 1)
        last = torch.cat((allowed, torch.ones(features, context, dtype=torch.bool)), 1)
        seen = torch.arange(features + context)
        self.layers = nn.ModuleList()
        for i, width in enumerate(hidden if len(sets) else ()):
            unit = (torch.arange(max(int(width), len(sets))) % len(sets)).sort().values
            self.layers.append(nn.Linear(len(seen), len(unit)))
            self.register_buffer(f"mask{i}", mask[unit][:, seen].float())
            seen, mask, last = unit, within, _within(allowed, sets)
        self.last = nn.Linear(len(seen), features * outputs)
        self.register_buffer("mask_last", last[:, seen].float().repeat_interleave(outputs, 0))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Map ``(*batch, features)`` to ``(*batch, features, outputs)``."""
        x = x if context is None else torch.cat((x, context), -1)
        activate = ACTIVATIONS[self.activation]
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            mask = self.get_buffer(f"mask{i}")
            x = activate(functional.linear(x, layer.weight * mask, layer.bias))
            if self.dropout:
                x = functional.dropout(x, self.dropout, self.training)
        weight = self.last.weight * self.get_buffer("mask_last")
        x = functional.linear(x, weight, self.last.bias)
        return x.reshape(*x.shape[:-1], self.features, self.outputs)

    def linear_tensors(self) -> list[Tensor] | None:
        """Weight and bias of each layer in turn, for kernels; None where they cannot be used."""
        if type(self) is not MaskedMLP:
            return None
        layers = [*self._modules["layers"]._modules.values(), self._modules["last"]]  # type: ignore[union-attr]
        return linear_tensors(self, layers, self.activation, self.dropout)  # type: ignore[arg-type]

    @property
    def widths(self) -> list[int]:
        """Of its inputs, hidden layers and outputs."""
        inner = [layer.out_features for layer in self.layers]  # type: ignore[union-attr]
        return [self.features + self.context, *inner, self.features * self.outputs]  # type: ignore[list-item]

    def staircases(self, sequence: Tensor) -> list[Staircase] | None:
        """How its layers are masked, with the context first and the features in this sequence.

        None where the masks are no staircases, as those of a graph.
        """
        columns = torch.cat((torch.arange(self.context) + self.features, sequence.cpu()))
        blocks = sequence.cpu()[:, None] * self.outputs + torch.arange(self.outputs)
        found = []
        for i in range(len(self.layers) + 1):
            last = i == len(self.layers)
            mask = self.get_buffer("mask_last" if last else f"mask{i}").cpu() != 0
            limit = mask.sum(1)
            rows = blocks.flatten() if last else limit.argsort(stable=True)
            limit = limit[rows]
            steps = torch.arange(len(columns)) < limit[:, None]
            if not torch.equal(mask[rows][:, columns], steps) or bool((limit.diff() < 0).any()):
                return None
            found.append(Staircase(limit, rows.contiguous(), columns.contiguous()))
            columns = rows
        return found


def _sets(allowed: Tensor, empty: bool) -> Tensor:
    """The different rows, smallest first; the empty one, which sees the context alone, if asked."""
    rows: Tensor = torch.unique(allowed, dim=0)
    size = rows.sum(1)
    return rows[size.argsort(stable=True)][0 if empty else int((size == 0).sum()) :]


def _within(wide: Tensor, narrow: Tensor) -> Tensor:
    """Whether a set of ``wide`` (rows) holds all of a set of ``narrow`` (columns)."""
    missing: Tensor = (~wide).float() @ narrow.float().mT
    return missing == 0
