"""A masked perceptron whose inputs become known one after another: every unit is computed once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from pushforward.networks.masked_mlp import MaskedMLP

__all__ = ["Stepwise"]


class Stepwise:
    """The outputs of a masked perceptron, step by step, as its inputs become known.

    Step t gives the outputs of the features of level t, which see those of the levels before. It
    computes the hidden units that these made known, layer by layer, and no unit twice: all steps
    together multiply at most as much as one call of the network, for an order about half as much.

    What is known grows by concatenation, so that derivatives of any order go through. Writing into
    memory that is reserved once saves a tenth of the time, and no derivative passes.

    Args:
        network: the network.
        like: a tensor ``(rows, ...)`` of the inputs' kind.
        context: ``(rows, context)``, or None.

    Example:
        >>> network = MaskedMLP(2, 3, hidden=(16,))
        >>> steps = Stepwise(network, torch.zeros(5, 2), None)
        >>> first = steps.outputs(None)  # of the first feature, which sees nothing
        >>> first.shape, steps.outputs(torch.ones(5, 1)).shape
        (torch.Size([5, 1, 3]), torch.Size([5, 1, 3]))
    """

    def __init__(self, network: MaskedMLP, like: Tensor, context: Tensor | None) -> None:
        self._network, self._step = network, -1
        # of every layer the rows of weights and the biases of what each step computes
        self._layers = [
            (torch.split(weight, sizes), torch.split(bias.unsqueeze(-1), sizes))
            for weight, bias, sizes in _in_sequence(network)
        ]
        # numbers with the rows last, (units, rows): a step's are then one piece of memory
        self._known = [like.new_empty(0, len(like)) for _ in self._layers]
        if context is not None:
            self._known[0] = context.mT

    def outputs(self, x: Tensor | None) -> Tensor:
        """Of the features of the next step, ``(rows, features of the step, outputs)``.

        Args:
            x: the features of the step before, ``(rows, features of that step)``; None at first.
        """
        self._step += 1
        if x is not None:
            self._know(0, x.mT)
        before: Tensor | None = None
        for i, (weights, biases) in enumerate(self._layers[:-1]):
            weight, bias, below = weights[self._step], biases[self._step], self._known[i]
            if len(weight):
                sums = torch.addmm(bias, weight[:, : len(below)], below)
                new, before = self._network.unit(sums, before)
                self._know(i + 1, new)
        weight, bias = (part[self._step] for part in self._layers[-1])
        below = self._known[-1]
        raw = torch.addmm(bias.mT, below.mT, weight[:, : len(below)].mT)
        return raw.reshape(len(raw), self._network.sizes[self._step], self._network.outputs)

    def _know(self, layer: int, new: Tensor) -> None:
        self._known[layer] = torch.cat((self._known[layer], new))


def _in_sequence(network: MaskedMLP) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Weights and biases, what is known first in front, and how many rows each step computes."""
    features, outputs, sequence = network.features, network.outputs, network.sequence
    layers = network.masked()
    context = torch.arange(features, features + network.context, device=sequence.device)
    layers[0] = (layers[0][0].index_select(1, torch.cat((context, sequence))), layers[0][1])
    last, shift = layers.pop()
    for (weight, bias), known in zip(layers, network.known[1:], strict=True):
        yield weight, bias, [known[0], *(b - a for a, b in pairwise(known))]
    last = last.reshape(features, outputs, last.shape[-1]).index_select(0, sequence)
    shift = shift.reshape(features, outputs).index_select(0, sequence)
    yield last.flatten(0, 1), shift.flatten(), [size * outputs for size in network.sizes]
