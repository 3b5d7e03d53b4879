"""A perceptron that cannot stretch distances by more than a given factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.spec import Part

__all__ = ["Linearization", "LipschitzMLP"]

_STEEPEST = 1.1  # of x sigmoid(x): its slope stays below 1.0999
_SHARP = 4.9932  # softplus of it is 5: nearly a rectifier, with slopes close to 0 and to 1


@dataclass(frozen=True)
class Linearization:
    """The Jacobian J of a network at some points, as the factors it is a product of.

    Attributes:
        weights: matrices, the first touches the input.
        slopes: of the activations between them, ``(*batch, width)``.
    """

    weights: tuple[Tensor, ...]
    slopes: tuple[Tensor, ...]

    def push(self, v: Tensor) -> Tensor:
        """``J v`` for each row."""
        for weight, slope in zip(self.weights, self.slopes, strict=False):
            v = functional.linear(v, weight) * slope
        return functional.linear(v, self.weights[-1])

    def pull(self, v: Tensor) -> Tensor:
        """``J^T v`` for each row."""
        v = v @ self.weights[-1]
        for weight, slope in zip(self.weights[-2::-1], self.slopes[::-1], strict=True):
            v = (v * slope) @ weight
        return v

    def matrix(self) -> Tensor:
        """J, ``(*batch, outputs, inputs)``."""
        columns = Linearization(self.weights, tuple(slope.unsqueeze(-2) for slope in self.slopes))
        inputs = self.weights[0].shape[-1]
        unit = torch.eye(inputs, dtype=self.weights[0].dtype, device=self.weights[0].device)
        batch = self.slopes[0].shape[:-1] if self.slopes else ()
        return columns.push(unit).expand(*batch, inputs, -1).mT


class LipschitzMLP(Part, nn.Module):
    r"""Multilayer perceptron with ``|g(x) - g(y)| <= coefficient |x - y|``, always.

    Every weight matrix W acts as ``W min(1, k / |W|_2)``, k the root of the coefficient that all
    layers together may have; the norm is the largest singular value itself, computed at every
    call. An estimate by power iteration lies below it, and lags behind after a load or a step: the
    bound would then not hold. For the matrices of a perceptron the exact value costs about as much
    as a few iterations. The activation is LipSwish, ``x sigmoid(b x) / 1.1`` with b > 0 learned,
    whose slope is at most 1.

    The context enters the first layer by a matrix of its own, which is not bounded.

    Args:
        inputs: width of x.
        outputs: width of the output.
        hidden: widths of the hidden layers.
        coefficient: the largest factor, in (0, 1).
        context: width of the context, 0 for none.

    Shapes:
        x: ``(*batch, inputs)``; context: ``(*batch, context)``;
        output: ``(*batch, outputs)``, zero before training

    Raises:
        ArgumentError: no hidden layer, a width below 1 or a coefficient outside (0, 1).

    Source: Behrmann et al. 2019, arXiv:1811.00995; Chen et al. 2019, arXiv:1906.02735.
        Differs: exact singular values in the place of power iterations.

    Example:
        >>> LipschitzMLP(3, 2, hidden=(16,))(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (64, 64),
        coefficient: float = 0.97,
        context: int = 0,
    ) -> None:
        super().__init__()
        if not hidden or any(int(width) < 1 for width in hidden):
            raise ArgumentError(
                f"LipschitzMLP: hidden is {tuple(hidden)}, expected at least one width, each at "
                f"least 1."
            )
        if not 0.0 < coefficient < 1.0:
            raise ArgumentError(
                f"LipschitzMLP: coefficient is {coefficient}, expected a number in (0, 1)."
            )
        self.coefficient = float(coefficient)
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in pairwise([inputs, *hidden, outputs])
        )
        self.from_context = nn.Linear(context, hidden[0], bias=False) if context else None
        self.sharpness = nn.Parameter(torch.full((len(hidden),), _SHARP))
        for layer in self._linear():
            nn.init.orthogonal_(layer.weight)
        last = self._linear()[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map ``(*batch, inputs)`` to ``(*batch, outputs)``."""
        return self.linearized(x, context)[0]

    def linearized(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Linearization]:
        """The output, and the Jacobian of it by x."""
        weights = self._weights()
        biases = [layer.bias for layer in self._linear()]
        slopes = []
        sharp = functional.softplus(self.sharpness)
        for i, weight in enumerate(weights[:-1]):
            x = functional.linear(x, weight, biases[i])
            if i == 0 and self.from_context is not None:
                x = x + self.from_context(context)
            gate = torch.sigmoid(sharp[i] * x)
            swish = x * gate / _STEEPEST
            slopes.append(gate / _STEEPEST + sharp[i] * swish * (1.0 - gate))
            x = swish
        x = functional.linear(x, weights[-1], biases[-1])
        return x, Linearization(weights, tuple(slopes))

    def _weights(self) -> tuple[Tensor, ...]:
        """The matrices, none of them longer than it may be."""
        longest = self.coefficient ** (1.0 / len(self.layers))
        found = []
        for layer in self._linear():
            length = torch.linalg.matrix_norm(layer.weight, 2)
            found.append(layer.weight * (longest / length.clamp_min(longest)))
        return tuple(found)

    def _linear(self) -> list[nn.Linear]:
        return list(self.layers)  # type: ignore[arg-type]
