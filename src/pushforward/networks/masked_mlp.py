"""A perceptron whose outputs see only the features that come before them in an order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.kernels.originals import Methods
from pushforward.kernels.plan import Staircase
from pushforward.networks.mlp import ACTIVATIONS, check_network, linear_tensors
from pushforward.numerics.dependence import dependence, levels
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
        residual: whether each hidden layer after the first adds to the one before it; they are
            then of equal widths.

    Attributes:
        sequence: the features, those first that see nothing, then level by level.
        sizes: how many features each level has; their outputs are one step of ``Stepwise``.
        known: of the inputs and of each hidden layer how many are known at each step. Contexts
            come first, and the units of a layer lie in the order in which they get known.

    Shapes:
        x: ``(*batch, features)``; context: ``(*batch, context)``;
        output: ``(*batch, features, outputs)``, zero before training

    Raises:
        ShapeError: ``adjacency`` is not square and boolean.
        ArgumentError: ``adjacency`` has a cycle, or comes with an ``order``; residual layers of
            different widths.

    Source: Germain et al. 2015, arXiv:1502.03509; residual: Durkan, Nash 2019, arXiv:1904.05626.
        Differs: hidden units belong to sets rather than degrees, which for an order is the same.

    Example:
        >>> network = MaskedMLP(3, 2, hidden=(16,))
        >>> network(torch.ones(5, 3), None).shape
        torch.Size([5, 3, 2])
    """

    sequence: Tensor

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
        residual: bool = False,
    ) -> None:
        super().__init__()
        check_network("MaskedMLP", hidden, activation, dropout, residual)
        allowed = dependence("MaskedMLP", features, order, adjacency)
        self.features, self.outputs, self.context = features, outputs, context
        self.activation, self.dropout = activation, float(dropout)
        self.residual = residual
        places = levels(allowed)
        sets = _sets(allowed, places, context > 0)
        within = _within(sets, sets)
        # a context is within every set
        mask = torch.cat((sets, torch.ones(len(sets), context, dtype=torch.bool)), 1)
        last = torch.cat((allowed, torch.ones(features, context, dtype=torch.bool)), 1)
        seen = torch.arange(features + context)
        self.layers = nn.ModuleList()
        steps = [torch.cat((torch.zeros(context, dtype=torch.long), places + 1))]
        for i, width in enumerate(hidden if len(sets) else ()):
            unit = (torch.arange(max(int(width), len(sets))) % len(sets)).sort().values
            self.layers.append(nn.Linear(len(seen), len(unit)))
            self.register_buffer(f"mask{i}", mask[unit][:, seen].float())
            seen, mask, last = unit, within, _within(allowed, sets)
            steps.append(_known_from(sets, places)[unit])
        self.last = nn.Linear(len(seen), features * outputs)
        self.register_buffer("mask_last", last[:, seen].float().repeat_interleave(outputs, 0))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.register_buffer("sequence", places.argsort(stable=True), persistent=False)
        count = range(int(places.max()) + 1)
        self.sizes = [int((places == t).sum()) for t in count]
        self.known = [[int((units <= t).sum()) for t in count] for units in steps]

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Map ``(*batch, features)`` to ``(*batch, features, outputs)``."""
        x = x if context is None else torch.cat((x, context), -1)
        *hidden, last = self.masked()
        before: Tensor | None = None
        for weight, bias in hidden:
            x, before = self.unit(functional.linear(x, weight, bias), before)
        x = functional.linear(x, *last)
        return x.reshape(*x.shape[:-1], self.features, self.outputs)

    def masked(self) -> list[tuple[Tensor, Tensor]]:
        """Weights, zero where nothing is seen, and biases of all layers."""
        layers = [(layer, f"mask{i}") for i, layer in enumerate(self.layers)]
        return [
            (layer.weight * self.get_buffer(mask), layer.bias)  # type: ignore[operator,misc]
            for layer, mask in [*layers, (self.last, "mask_last")]
        ]

    def linear_tensors(self) -> list[Tensor] | None:
        """Weight and bias of each layer in turn, for kernels; None where they cannot be used."""
        if not _METHODS.are_those_of(self):
            return None
        layers = [*self._modules["layers"]._modules.values(), self._modules["last"]]  # type: ignore[union-attr]
        return linear_tensors(self, layers, self.activation, self.dropout)

    def staircases(self) -> list[Staircase] | None:
        """How its layers are masked, with the context first and the features in their sequence.

        None where the masks are no staircases, as those of a graph, or where units that are added
        to each other are not in the same place.
        """
        sequence = self.sequence.cpu()
        columns = torch.cat((torch.arange(self.context) + self.features, sequence))
        blocks = sequence[:, None] * self.outputs + torch.arange(self.outputs)
        found = []
        for i in range(len(self.layers) + 1):
            last = i == len(self.layers)
            mask = self.get_buffer("mask_last" if last else f"mask{i}").cpu() != 0
            limit = mask.sum(1)
            rows = blocks.flatten() if last else limit.argsort(stable=True)
            if self.residual and i > 0 and not last and not torch.equal(rows, columns):
                return None
            limit = limit[rows]
            steps = torch.arange(len(columns)) < limit[:, None]
            if not torch.equal(mask[rows][:, columns], steps) or bool((limit.diff() < 0).any()):
                return None
            found.append(Staircase(limit, rows.contiguous(), columns.contiguous()))
            columns = rows
        return found

    def unit(self, sums: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """What hidden units give for their sums, and these, with what a residual layer adds to."""
        if self.residual and before is not None:
            sums = before + sums
        x = ACTIVATIONS[self.activation](sums)
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x, sums


_METHODS = Methods(MaskedMLP, "forward", "masked", "unit")


def _sets(allowed: Tensor, places: Tensor, empty: bool) -> Tensor:
    """The different rows, in the order in which all of each gets known, then by size.

    The empty one, which sees the context alone, is left out if it is not asked for.
    """
    rows: Tensor = torch.unique(allowed, dim=0)
    size = rows.sum(1)
    first = _known_from(rows, places) * (len(places) + 1) + size
    return rows[first.argsort(stable=True)][0 if empty else int((size == 0).sum()) :]


def _known_from(sets: Tensor, places: Tensor) -> Tensor:
    """The step at which all of a set is known: after the last of its features."""
    return torch.where(sets, places + 1, 0).amax(1)


def _within(wide: Tensor, narrow: Tensor) -> Tensor:
    """Whether a set of ``wide`` (rows) holds all of a set of ``narrow`` (columns)."""
    missing: Tensor = (~wide).float() @ narrow.float().mT
    return missing == 0
