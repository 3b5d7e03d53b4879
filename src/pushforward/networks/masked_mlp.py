"""A perceptron whose outputs see only the features that come before them in an order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import ShapeError
from pushforward.networks.mlp import ACTIVATIONS, check_network
from pushforward.spec import Part

__all__ = ["MaskedMLP"]


class MaskedMLP(Part, nn.Module):
    """Masked perceptron: the outputs of a feature depend on the features before it only.

    Every hidden layer holds units of every degree, so that no dependence is lost; a hidden
    layer narrower than the number of degrees is widened to it. A context is seen by all.

    Args:
        features: number of ordered inputs.
        outputs: numbers produced for each feature.
        order: position of each feature, a permutation of ``range(features)``; default: as given.
        context: width of the context that all outputs see.
        hidden: widths of the hidden layers.
        activation: ``relu``, ``silu``, ``gelu``, ``elu`` or ``tanh``.
        dropout: share of hidden units dropped in training.

    Shapes:
        x: ``(*batch, features)``; context: ``(*batch, context)``;
        output: ``(*batch, features, outputs)``, zero before training

    Raises:
        ShapeError: ``order`` is not a permutation.

    Source: Germain et al. 2015, arXiv:1502.03509

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
    ) -> None:
        super().__init__()
        check_network("MaskedMLP", hidden, activation, dropout)
        places = list(range(features)) if order is None else [int(i) for i in order]
        if sorted(places) != list(range(features)):
            raise ShapeError(
                f"MaskedMLP: order is {tuple(places)}, expected a permutation of "
                f"0 … {features - 1}."
            )
        self.features, self.outputs, self.context = features, outputs, context
        self.activation, self.dropout = activation, float(dropout)
        place = torch.tensor(places) + 1  # degrees count from 1; 0 is the context
        seen = torch.cat((place, torch.zeros(context, dtype=torch.long)))
        # Units of degree 0 see the context alone: they serve the first feature.
        degrees = torch.arange(0 if context else 1, features)
        widths = [max(int(width), len(degrees)) for width in hidden] if len(degrees) else []
        self.layers = nn.ModuleList()
        for i, width in enumerate(widths):
            unit = degrees[torch.arange(width) % len(degrees)].sort().values
            self.layers.append(nn.Linear(len(seen), width))
            self.register_buffer(f"mask{i}", (unit[:, None] >= seen[None, :]).float())
            seen = unit
        self.last = nn.Linear(len(seen), features * outputs)
        mask = (place[:, None] > seen[None, :]).float().repeat_interleave(outputs, 0)
        self.register_buffer("mask_last", mask)
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
