"""A smooth perceptron of numbers and a time, and how it carries directions along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.spec import Part

__all__ = ["SMOOTH", "TimeMLP"]


def _tanh_slope(x: Tensor, y: Tensor) -> Tensor:
    return 1.0 - y.square()


def _softplus_slope(x: Tensor, y: Tensor) -> Tensor:
    return torch.sigmoid(x)


def _silu_slope(x: Tensor, y: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return gate + y * (1.0 - gate)


# Each with its derivative, a function of the input and the output. A kink would cost an adaptive
# solver many steps, and the trace of a Jacobian with jumps is not the derivative of anything.
SMOOTH: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "tanh": (torch.tanh, _tanh_slope),
    "softplus": (functional.softplus, _softplus_slope),
    "silu": (functional.silu, _silu_slope),
}


class TimeMLP(Part, nn.Module):
    """Perceptron whose layers are scaled and shifted by a time; its output starts at zero.

    With t the last input, every layer is ``(W h + b) * 2 sigmoid(g t + d) + s t``.

    Args:
        inputs: width of the input, the time included, which comes last.
        outputs: width of the output.
        hidden: widths of the hidden layers.
        activation: ``tanh``, ``softplus`` or ``silu``: with ``tanh`` the output is bounded.

    Shapes:
        input: ``(*batch, inputs)``; output: ``(*batch, outputs)``

    Raises:
        ArgumentError: an activation that is not smooth, a width below 1 or no input besides time.

    Source: Grathwohl et al. 2018, arXiv:1810.01367 (its ``concatsquash`` layers).
        Differs: the last layer starts at zero, and the scale lies around 1, not 1/2: with three
        layers it learns several times as fast at first.

    Example:
        >>> TimeMLP(3, 2, hidden=(16,))(torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (64, 64),
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        if activation not in SMOOTH:
            names = ", ".join(SMOOTH)
            raise ArgumentError(
                f"TimeMLP: activation is {activation!r}, expected a smooth one: {names}."
            )
        if any(int(width) < 1 for width in hidden):
            raise ArgumentError(
                f"TimeMLP: hidden is {tuple(hidden)}, expected widths of at least 1."
            )
        if inputs < 2:
            raise ArgumentError(f"TimeMLP: inputs is {inputs}, expected the time and one more.")
        self.inputs, self.outputs, self.activation = inputs, outputs, activation
        widths = [inputs - 1, *hidden, outputs]
        self.layers = nn.ModuleList(_Layer(a, b) for a, b in pairwise(widths))
        for parameter in (last := self.layers[-1]).linear.parameters():  # type: ignore[union-attr]
            nn.init.zeros_(parameter)
        nn.init.zeros_(last.shift)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(*batch, inputs)``, time last, to ``(*batch, outputs)``."""
        activate, _ = SMOOTH[self.activation]
        h, t = x[..., :-1], x[..., -1:]
        *hidden, last = self._layers()
        for layer in hidden:
            h = activate(layer(h, t)[0])
        return last(h, t)[0]  # type: ignore[no-any-return]

    def push(self, x: Tensor, tangents: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and its derivative along directions of the inputs besides time.

        It is what forward-mode differentiation would give, in operations that can themselves be
        differentiated, mapped and compiled in every way.

        Args:
            x: ``(*batch, inputs)``, time last.
            tangents: ``(k, *batch, inputs - 1)``, k directions for each row.
        """
        activate, slope = SMOOTH[self.activation]
        h, t = x[..., :-1], x[..., -1:]
        *hidden, last = self._layers()
        for layer in hidden:
            before, gate = layer(h, t)
            h = activate(before)
            tangents = functional.linear(tangents, layer.linear.weight) * (gate * slope(before, h))
        value, gate = last(h, t)
        return value, functional.linear(tangents, last.linear.weight) * gate

    def _layers(self) -> list[_Layer]:
        return list(self.layers)  # type: ignore[arg-type]


class _Layer(nn.Module):
    """One layer, scaled and shifted by the time."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.speed = nn.Parameter(torch.empty(outputs).uniform_(-1.0, 1.0))
        self.offset = nn.Parameter(torch.empty(outputs).uniform_(-1.0, 1.0))
        self.shift = nn.Parameter(torch.empty(outputs).uniform_(-1.0, 1.0))

    def forward(self, h: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """What the layer gives, and by what it scaled."""
        gate = 2.0 * torch.sigmoid(t * self.speed + self.offset)
        return self.linear(h) * gate + t * self.shift, gate
