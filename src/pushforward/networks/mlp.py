"""A plain multilayer perceptron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.kernels.originals import Methods, altered
from pushforward.kernels.plan import ACTIVATIONS as KERNEL_ACTIVATIONS
from pushforward.kernels.plan import MOST_LAYERS
from pushforward.spec import Part

__all__ = ["ACTIVATIONS", "MLP", "linear_tensors"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "silu": functional.silu,
    "gelu": functional.gelu,
    "elu": functional.elu,
    "tanh": torch.tanh,
}


class MLP(Part, nn.Module):
    """Multilayer perceptron whose output is zero before training.

    The last layer starts at zero, so that a map which reads the output starts at the identity.

    Args:
        inputs: width of the input; 0 makes the output a trainable constant.
        outputs: width of the output.
        hidden: widths of the hidden layers.
        activation: ``relu``, ``silu``, ``gelu``, ``elu`` or ``tanh``.
        dropout: share of hidden units dropped in training.
        residual: whether each hidden layer after the first adds to the one before it; they are
            then of equal widths.

    Shapes:
        input: ``(*batch, inputs)``; output: ``(*batch, outputs)``

    Raises:
        ArgumentError: an unknown activation, a width below 1, a dropout outside [0, 1), or
            residual layers of different widths.

    Source: none; residual: He et al. 2016, arXiv:1603.05027.

    Example:
        >>> MLP(3, 2, hidden=(16,))(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (128, 128),
        activation: str = "relu",
        dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        check_network("MLP", hidden, activation, dropout, residual)
        self.inputs, self.outputs = inputs, outputs
        self.activation, self.dropout = activation, float(dropout)
        self.residual = residual
        widths = [inputs, *hidden] if inputs else []
        self.hidden_layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        last = widths[-1] if widths else 0
        self.last = nn.Linear(last, outputs) if last else None
        self.constant = None if last else nn.Parameter(torch.zeros(outputs))
        if self.last is not None:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(*batch, inputs)`` to ``(*batch, outputs)``."""
        if self.last is None:
            assert self.constant is not None
            return self.constant.expand(*x.shape[:-1], self.outputs)
        activate = ACTIVATIONS[self.activation]
        before: Tensor | None = None
        for layer in self.hidden_layers:
            sums = layer(x)
            if self.residual and before is not None:
                sums = before + sums
            x, before = activate(sums), sums
            if self.dropout:
                x = functional.dropout(x, self.dropout, self.training)
        return self.last(x)  # type: ignore[no-any-return]

    def linear_tensors(self) -> list[Tensor] | None:
        """Weight and bias of each layer in turn, for kernels; None where they cannot be used."""
        if not _METHODS.are_those_of(self) or self.last is None:
            return None
        layers = [*self._modules["hidden_layers"]._modules.values(), self._modules["last"]]  # type: ignore[union-attr]
        return linear_tensors(self, layers, self.activation, self.dropout)


_METHODS = Methods(MLP, "forward")


def linear_tensors(
    network: nn.Module, layers: Sequence[nn.Module], activation: str, dropout: float
) -> list[Tensor] | None:
    """Weight and bias of each layer in turn, for kernels; None where they cannot take its place.

    They compute what a perceptron says it does: not what a hook, a parametrization or dropout adds.
    """
    if activation not in KERNEL_ACTIVATIONS or len(layers) > MOST_LAYERS:
        return None
    if dropout or altered(network):
        return None
    found: list[Any] = []
    for layer in layers:
        if type(layer) is not nn.Linear or altered(layer):
            return None
        own = layer._parameters
        found += own.get("weight"), own.get("bias")
    for tensor in found:
        if tensor is None or not tensor.is_contiguous():
            return None
    return found if len({id(tensor) for tensor in found}) == len(found) else None  # may be shared


def check_network(
    who: str, hidden: Sequence[int], activation: str, dropout: float, residual: bool = False
) -> None:
    """Check the arguments that every perceptron takes."""
    if activation not in ACTIVATIONS:
        names = ", ".join(ACTIVATIONS)
        raise ArgumentError(f"{who}: activation is {activation!r}, expected one of {names}.")
    if any(int(width) < 1 for width in hidden):
        raise ArgumentError(f"{who}: hidden is {tuple(hidden)}, expected widths of at least 1.")
    if not 0.0 <= dropout < 1.0:
        raise ArgumentError(f"{who}: dropout is {dropout}, expected a share in [0, 1).")
    if residual and len(set(hidden)) > 1:
        raise ArgumentError(
            f"{who}: hidden is {tuple(hidden)} with residual=True, expected equal widths, since "
            f"each layer adds to the one before it."
        )
