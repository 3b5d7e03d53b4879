"""Batch normalization with a density."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError, DataError
from pushforward.numerics.order_statistics import refuse_not_finite
from pushforward.numerics.sketches import Moments
from pushforward.transforms.base import Transform
from pushforward.transforms.linear.matrix import bounded, spread, whole

__all__ = ["BatchNorm"]

_BOUND = 3.0  # of the learned log-scale; the scale of the data is in the statistics


class BatchNorm(Transform):
    """``z = (x - mean) / sqrt(variance + eps) * scale + shift``, statistics of the batch.

    In evaluation mean and variance are fixed numbers, those of all training rows: ``fit`` sets
    them, ``settle`` sets them again after training, and in between each batch moves them a little.
    The map is then affine and its density exact.

    In training they are the batch's, and gradients flow through them. The logdet is that of the
    affine map with these numbers held fixed, the same for every row: what evaluation would say,
    had the batch been the training set. It is neither the determinant of ``x_i -> z_i``, whose
    derivative is smaller by the share ``(1 + d_i^2) / n`` that row i has in its own mean and
    variance (d its standardized distance), nor of the map of all n rows at once, which forgets
    where the batch lay and has none. The loss in training is thus optimistic, by the order of
    ``features / n`` nats a row.

    The inverse has no batch of x to look at, and uses the fixed numbers in either mode; so does a
    batch of fewer than two rows. Inverse and forward therefore undo each other in evaluation only.

    Args:
        features: width of x.
        momentum: how far a batch in training moves the fixed numbers to its own.
        eps: added to the variance.

    Shapes:
        x, z: ``(*batch, features)``; logdet: ``(*batch,)``, the same for every row

    Raises:
        ArgumentError: ``features`` is below 1, ``momentum`` not in (0, 1] or ``eps`` not positive.
        DataError: at ``fit`` and ``settle``, if there are fewer than two rows or a column holds
            values that are not finite.

    Cost: one product a number in either direction; exact in evaluation.

    Source: Papamakarios, Pavlakou, Murray 2017, arXiv:1705.07057, app. B.
        Differs: the log-scale is bounded smoothly at 3; statistics also run along in training.

    Example:
        >>> norm = BatchNorm(1).fit(torch.tensor([[0.0], [2.0]])).eval()
        >>> norm(torch.tensor([[2.0]]))[0].detach().round(decimals=4)
        tensor([[1.]])
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        if not 0.0 < momentum <= 1.0:
            raise ArgumentError(f"BatchNorm: momentum is {momentum}, expected a share in (0, 1].")
        if not eps > 0:
            raise ArgumentError(f"BatchNorm: eps is {eps}, expected a positive number.")
        features = whole("BatchNorm", "features", features)
        self.event_shape = (features,)
        self.momentum, self.eps = float(momentum), float(eps)
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.shift = nn.Parameter(torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def fit(self, x: Tensor, context: Tensor | None = None) -> BatchNorm:
        """Set mean and variance to those of ``(n, features)``."""
        return self._read("BatchNorm.fit", x)

    def settle(self, x: Tensor, context: Tensor | None = None) -> BatchNorm:
        """Set mean and variance to those of ``(n, features)``, all training rows."""
        return self._read("BatchNorm.settle", x)

    def _read(self, who: str, x: Tensor) -> BatchNorm:
        moments = Moments(self.event_shape[0]).update(x.detach().reshape(-1, x.shape[-1]))
        if moments.count < 2:
            raise DataError(f"{who}: x has {moments.count} rows, expected at least 2.")
        refuse_not_finite(who, moments.variance)
        self.mean.copy_(moments.mean)
        self.variance.copy_(moments.variance)
        return self

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance that forward uses; in training the fixed ones move towards them."""
        rows = x.reshape(-1, x.shape[-1])
        if not self.training or len(rows) < 2:
            return self.mean, self.variance
        variance, mean = torch.var_mean(rows, 0, correction=0)
        with torch.no_grad():
            for fixed, seen in ((self.mean, mean), (self.variance, variance)):
                # a row that is not finite spoils its batch, and no more than that
                fixed.add_(torch.where(seen.isfinite(), seen - fixed, 0.0) * self.momentum)
        return mean, variance

    def _log_scale(self, variance: Tensor) -> Tensor:
        return bounded(self.log_scale, _BOUND) - 0.5 * (variance + self.eps).log()

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        mean, variance = self._statistics(x)
        log_scale = self._log_scale(variance)
        return torch.addcmul(self.shift, x - mean, log_scale.exp()), spread(log_scale.sum(), x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        log_scale = -self._log_scale(self.variance)
        x = torch.addcmul(self.mean, z - self.shift, log_scale.exp())
        return x, spread(log_scale.sum(), z)

    @property
    def closed(self) -> tuple[bool, bool]:
        """In training neither undoes the other."""
        return not self.training, not self.training

    def influence(self) -> Tensor:
        """Each feature its own z."""
        return torch.eye(self.event_shape[0], dtype=torch.bool)
