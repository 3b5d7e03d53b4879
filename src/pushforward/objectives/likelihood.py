"""The contract of an objective, and maximum likelihood."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from torch import Generator, Tensor

if TYPE_CHECKING:
    from pushforward.flows.flow import Flow

__all__ = ["Batch", "MaximumLikelihood", "Objective"]


class Batch(NamedTuple):
    """Rows that a step of training looks at.

    Args:
        x: data, ``(n, *event)``.
        context: what the density is conditioned on, ``(n, context)``, or None.
        weights: weight of each row, ``(n,)``, or None where every row counts the same.
            The training loop hands them over with mean one over all training rows.

    Example:
        >>> import torch
        >>> Batch(torch.zeros(4, 2)).rows
        4
    """

    x: Tensor
    context: Tensor | None = None
    weights: Tensor | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.x)

    def each(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Apply a function to every tensor that is there."""
        context = None if self.context is None else function(self.context)
        weights = None if self.weights is None else function(self.weights)
        return Batch(function(self.x), context, weights)


class Objective(Protocol):
    """A callable ``(flow, batch, generator) -> scalar`` that training makes small.

    Where each row has a term of its own it returns the *sum of weight times term, divided by
    the number of rows*.  So the gradient of a batch is unbiased whatever the weights in it, and
    figures of batches of unequal size combine to the exact figure of the whole set.

    ``generator`` is the source of whatever the objective draws; the loop saves its state with
    every checkpoint.
    """

    def __call__(self, flow: Flow, batch: Batch, generator: Generator | None) -> Tensor:
        """Return the number to be made small, a scalar with a gradient."""
        ...


class MaximumLikelihood:
    """Mean negative log-density of the rows, nats a row; with weights, of weight times it.

    Example:
        >>> import torch
        >>> class Flat:
        ...     def __call__(self, x, context=None):
        ...         return torch.full((len(x),), -2.0)
        >>> batch = Batch(torch.zeros(4, 3), weights=torch.tensor([0.0, 1.0, 1.0, 2.0]))
        >>> MaximumLikelihood()(Flat(), batch)
        tensor(2.)
    """

    def __call__(self, flow: Flow, batch: Batch, generator: Generator | None = None) -> Tensor:
        """Mean negative log-density of ``batch``, a scalar in nats a row.

        Args:
            flow: the density; it is called, not its ``log_prob``, so that hooks see the call.
            batch: rows ``(n, *event)`` with their context and weights.
            generator: not read, since nothing is drawn.
        """
        log_prob: Tensor = flow(batch.x, batch.context)
        if batch.weights is not None:
            log_prob = log_prob * batch.weights
        return -log_prob.mean()

    def __repr__(self) -> str:
        return "MaximumLikelihood()"
