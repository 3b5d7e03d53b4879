"""Maximum likelihood of rows blurred by noise of every size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from pushforward.errors import ArgumentError
from pushforward.flows.blurred.rows import size_as_context
from pushforward.objectives.likelihood import Batch, MaximumLikelihood

if TYPE_CHECKING:
    from pushforward.flows.flow import Flow

__all__ = ["BlurredLikelihood"]


class BlurredLikelihood(MaximumLikelihood):
    """Mean negative log-density of rows with normal noise, nats a row, over all its sizes.

    Each row gets noise of a size of its own, log-uniform, in training and in validation. The flow
    sees the noisy row at unit variance, and as its context the size; a context of the batch is not
    looked at. It is what trains the flows of ``Blurred``.

    Args:
        variance: of the rows along each of their axes, of which they are the places.
        sizes: least and largest size of the noise.

    Raises:
        ArgumentError: a variance is negative, or the sizes are no two numbers above zero.

    Source: Kim et al. 2020, arXiv:2006.04604

    Example:
        >>> from pushforward.flows import nsf
        >>> flow = nsf(2, 1, layers=1, hidden=(8,), start="none", seed=0)
        >>> batch = Batch(torch.zeros(4, 2))
        >>> BlurredLikelihood([1.0, 1.0])(flow, batch, torch.manual_seed(0)).detach()
        tensor(2.0213)
    """

    def __init__(
        self, variance: Sequence[float] | Tensor, sizes: Sequence[float] = (0.02, 1.5)
    ) -> None:
        super().__init__()
        self.variance = torch.as_tensor(variance, dtype=torch.float64)
        self.sizes = (float(sizes[0]), float(sizes[-1]))
        if not bool((self.variance >= 0.0).all()) or not 0.0 < self.sizes[0] < self.sizes[1]:
            raise ArgumentError(
                f"BlurredLikelihood: variance is {variance!r:.80} and sizes {sizes}, expected "
                f"numbers from 0 up, and two sizes above 0, the second the larger."
            )

    def __call__(self, flow: Flow, batch: Batch, generator: Generator | None = None) -> Tensor:
        """The figure of ``batch``, a scalar in nats a row."""
        x, (least, most) = batch.x, self.sizes
        share = torch.rand(len(x), 1, generator=generator, dtype=x.dtype, device=x.device)
        size = least * (most / least) ** share
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        deviation = (self.variance.to(x) + size * size).sqrt()
        noisy = (x + size * noise) / deviation
        log_prob: Tensor = flow(noisy, size_as_context(size, self.sizes))
        log_prob = log_prob - deviation.log().sum(-1)
        if batch.weights is not None:
            log_prob = torch.where(batch.weights != 0.0, log_prob, 0.0) * batch.weights
        return -log_prob.mean()

    def __repr__(self) -> str:
        return f"BlurredLikelihood({self.variance.tolist()}, sizes={self.sizes})"
