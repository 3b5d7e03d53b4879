"""The contract of an objective, and maximum likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Generator, Tensor

from pushforward.errors import ArgumentError

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
    every checkpoint.  An objective that changes in the course of a run has a method
    ``at(progress)`` besides; the loop calls it before every step with the share of the run that
    is behind it, from 0 to 1.
    """

    def __call__(self, flow: Flow, batch: Batch, generator: Generator | None) -> Tensor:
        """Return the number to be made small, a scalar with a gradient."""
        ...


class MaximumLikelihood:
    """Mean negative log-density of the rows, nats a row; with weights, of weight times it.

    With ``smoothing`` h, training (not validation) moves every row by normal noise whose
    covariance is h^2 times that of the batch: a flow then cannot put spikes on single rows of a
    small table. The price is a density blurred by that noise. With ``smoothing=(first, last)`` the
    noise goes from one size to the other, evenly over the run: coarse shapes are learned before
    fine ones, and what is left of the blur in the end is ``last``.

    Numbers that are rounded lie on a lattice, where a flow could put spikes, too. With ``jitter``
    each is moved within the step it was rounded to, in training, evenly.

    Args:
        smoothing: size of the noise, as a share of the spread of the rows, 0 for none; or its
            sizes at the start and at the end of the run.
        only: the numbers of an event that it moves; by default all.
        jitter: step of each number of an event, 0 for none.

    Raises:
        ArgumentError: ``smoothing`` is negative or not finite, or more than two numbers.

    Source: Rothfuss et al. 2019, arXiv:1907.08982. Differs: the noise has the covariance of the
        rows, so that it respects how they are correlated.

    Example:
        >>> import torch
        >>> class Flat:
        ...     def __call__(self, x, context=None):
        ...         return torch.full((len(x),), -2.0)
        >>> batch = Batch(torch.zeros(4, 3), weights=torch.tensor([0.0, 1.0, 1.0, 2.0]))
        >>> MaximumLikelihood()(Flat(), batch)
        tensor(2.)
    """

    def __init__(
        self,
        smoothing: float | Sequence[float] = 0.0,
        *,
        only: Sequence[int] | None = None,
        jitter: Sequence[float] | None = None,
    ) -> None:
        sizes = list(smoothing) if isinstance(smoothing, Sequence) else [smoothing]
        if len(sizes) not in (1, 2) or not all(0.0 <= size < math.inf for size in sizes):
            raise ArgumentError(
                f"MaximumLikelihood: smoothing is {smoothing}, expected a number from 0 up, or two."
            )
        self.smoothing = (float(sizes[0]), float(sizes[-1]))
        self.only = None if only is None else list(only)
        self.jitter = [float(step) for step in jitter or ()] if any(jitter or ()) else []
        # a tensor, since a number that changes would have a compiled step compiled again
        self._progress = torch.zeros((), dtype=torch.float64)

    def at(self, progress: float) -> None:
        """Take the noise that belongs to this share of the run, from 0 to 1."""
        self._progress.fill_(progress)

    def __call__(self, flow: Flow, batch: Batch, generator: Generator | None = None) -> Tensor:
        """Mean negative log-density of ``batch``, a scalar in nats a row.

        Args:
            flow: the density; it is called, not its ``log_prob``, so that hooks see the call.
            batch: rows ``(n, *event)`` with their context and weights.
            generator: source of the smoothing noise.
        """
        x = self._moved(batch.x, generator) if getattr(flow, "training", False) else batch.x
        log_prob: Tensor = flow(x, batch.context)
        if batch.weights is not None:
            # a row without weight may lie where the density is zero, and 0 times -inf is nan
            counts = batch.weights != 0.0
            log_prob = torch.where(counts, log_prob, 0.0) * batch.weights
        return -log_prob.mean()

    def _moved(self, x: Tensor, generator: Generator | None) -> Tensor:
        """The rows with the noise of training."""
        if self.jitter:
            step = torch.tensor(self.jitter, dtype=x.dtype, device=x.device)
            even = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
            x = x + step * (even - 0.5)
        if any(self.smoothing) and self.only != []:
            first, last = self.smoothing
            size = first + (last - first) * self._progress
            if self.only is None:
                x = x + size * _noise_like(x, generator)
            else:
                index = torch.tensor(self.only, device=x.device)
                noise = _noise_like(x.index_select(-1, index), generator)
                x = x.index_add(-1, index, (size * noise).to(x))
        return x

    def __repr__(self) -> str:
        first, last = self.smoothing
        sizes = f"{first}" if first == last else f"({first}, {last})"
        said = [f"smoothing={sizes}"] if first or last else []
        said += [f"only={self.only}"] if self.only is not None and said else []
        said += [f"jitter={self.jitter}"] if self.jitter else []
        return f"MaximumLikelihood({', '.join(said)})"


_REFERENCE = 256  # rows that the covariance of the noise is taken from, at most


def _noise_like(x: Tensor, generator: Generator | None) -> Tensor:
    """Normal noise with the covariance of the rows of x: random mixtures of centred rows."""
    rows = x[:_REFERENCE].reshape(min(len(x), _REFERENCE), -1)
    centred = rows - rows.mean(0)
    mixing = torch.randn(len(x), len(rows), generator=generator, dtype=x.dtype, device=x.device)
    return (mixing @ centred / math.sqrt(len(rows))).reshape(x.shape)
