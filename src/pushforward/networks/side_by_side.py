"""Several perceptrons at once, by batched products of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import ArgumentError, ShapeError
from pushforward.networks.mlp import check_network
from pushforward.spec import Part

__all__ = ["SideBySideMLP"]

_GAIN = 1.4  # of the hidden layers: about what keeps the size of numbers through a SiLU
_LAST = 0.1  # of the last one: outputs begin near zero, yet each member elsewhere
_SHIFT = 0.5  # of the first biases, so that members bend at different places


class SideBySideMLP(Part, nn.Module):
    """Perceptrons of the same widths, each with its own weights, computed together.

    A small network spends its time on being called, not on its sums: five side by side take hardly
    longer than one. Other than ``MLP`` they begin near zero and not at it, since members that begin
    alike would be one.

    Args:
        members: number of perceptrons.
        inputs: width of the input.
        outputs: width of the output.
        hidden: widths of the hidden layers, which have SiLU activations.

    Shapes:
        input: ``(n, inputs)``, the same for all, or ``(members, n, inputs)``; output:
        ``(members, n, outputs)``

    Raises:
        ArgumentError: no member, or a width below 1.
        ShapeError: an input of another shape.

    Source: none

    Example:
        >>> SideBySideMLP(5, inputs=3, outputs=2, hidden=(16,))(torch.ones(7, 3)).shape
        torch.Size([5, 7, 2])
    """

    def __init__(
        self, members: int, inputs: int, outputs: int, hidden: Sequence[int] = (128, 128)
    ) -> None:
        super().__init__()
        check_network("SideBySideMLP", [members, inputs, outputs, *hidden], "silu", 0.0)
        if members < 1:
            raise ArgumentError(f"SideBySideMLP: members is {members}, expected at least 1.")
        self.members, self.inputs, self.outputs = members, inputs, outputs
        widths = [inputs, *hidden, outputs]
        gains = [_GAIN] * len(hidden) + [_LAST]
        self.weights = nn.ParameterList(
            torch.randn(members, a, b) * (gain / math.sqrt(a))
            for (a, b), gain in zip(pairwise(widths), gains, strict=True)
        )
        self.biases = nn.ParameterList(torch.zeros(members, 1, b) for b in widths[1:])
        with torch.no_grad():
            self.biases[0].normal_(std=_SHIFT)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, inputs)`` or ``(members, n, inputs)`` to ``(members, n, outputs)``."""
        if x.shape[-1] != self.inputs or x.shape[:-2] not in ((), (self.members,)):
            raise ShapeError(
                f"SideBySideMLP: input has shape {tuple(x.shape)}, expected (n, {self.inputs}) or "
                f"({self.members}, n, {self.inputs})."
            )
        x = x.expand(self.members, -1, -1)
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            x = x if i == last else functional.silu(x)
        return x
