"""The parameters of members side by side as one matrix: a row for each member."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Flat"]


class Flat:
    """Views: the parameters of a module become pieces of one matrix.

    What is done to all of them is then done to one: on small networks an optimizer, a norm and an
    average spend their time on the number of tensors. The first dimension of every parameter is
    that of the members.

    Args:
        module: its parameters are moved, in place.

    Attributes:
        values: ``(members, parameters)``; the module computes with what is written here.
        gradients: the same shape.
        names: of the parameters.
        sizes: how many columns each has.
    """

    def __init__(self, module: nn.Module) -> None:
        named = dict(module.named_parameters())
        self.parameters = list(named.values())
        members = len(self.parameters[0])
        self.names = list(named)
        self.sizes = [parameter.numel() // members for parameter in self.parameters]
        flat = [parameter.detach().reshape(members, -1) for parameter in self.parameters]
        self.values = torch.cat(flat, 1)
        self.gradients = torch.zeros_like(self.values)
        self._pieces = self._split(self.gradients)
        for parameter, value in zip(self.parameters, self._split(self.values), strict=True):
            parameter.data = value

    def _split(self, matrix: Tensor) -> list[Tensor]:
        pieces = torch.split(matrix, self.sizes, 1)
        return [
            piece.view(parameter.shape)
            for piece, parameter in zip(pieces, self.parameters, strict=True)
        ]

    def backward(self, loss: Tensor) -> None:
        """Write the gradients of a loss."""
        torch._foreach_copy_(self._pieces, torch.autograd.grad(loss, self.parameters))

    def columns(self, which: str) -> Tensor:
        """1 in the columns of the parameters whose name holds a word, 0 elsewhere."""
        ones = [
            self.values.new_full((size,), float(which in name))
            for name, size in zip(self.names, self.sizes, strict=True)
        ]
        return torch.cat(ones)
