"""Scalings that are read off the data: Standardize stays as fitted, ActNorm is trained on."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from pushforward.errors import DataError
from pushforward.kernels.chain import LayerCall
from pushforward.kernels.dispatch import fixed, readable
from pushforward.kernels.originals import Methods
from pushforward.kernels.plan import ConstantPlan
from pushforward.numerics.order_statistics import quantiles, refuse_empty, refuse_not_finite
from pushforward.numerics.sketches import Moments
from pushforward.transforms.base import Transform
from pushforward.transforms.fused import Prepared, Weights
from pushforward.transforms.linear.matrix import spread, whole

__all__ = ["ActNorm", "Standardize"]

_LOW = 0.158655  # of a normal density lies a deviation or more below the mean


class Standardize(Transform):
    """``z = (x - mean) / scale`` with mean and standard deviation of the data; its logdet counts.

    The identity until ``fit``. Nothing in it is trained.

    Args:
        features: width of x.
        robust: median, and half the width of the central 68.27 % of each column, in the place of
            mean and standard deviation. They are the same for normal data; where tails are heavy,
            a few rows decide over a standard deviation, or there is none.

    Shapes:
        x, z: ``(*batch, features)``; logdet: ``(*batch,)``, the same for every row

    Raises:
        ArgumentError: ``features`` is below 1.
        DataError: at ``fit``, if there is no row, or a column is constant or not finite.

    Cost: one product a number in either direction; exact.

    Source: none

    Example:
        >>> scale = Standardize(1).fit(torch.tensor([[0.0], [2.0]]))
        >>> z, logdet = scale(torch.tensor([[2.0]]))
        >>> z, logdet
        (tensor([[1.]]), tensor([-0.]))
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, robust: bool = False) -> None:
        super().__init__()
        self.robust = robust
        self.event_shape = (whole("Standardize", "features", features),)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def fit(self, x: Tensor, context: Tensor | None = None) -> Standardize:
        """Read centre and scale off ``(n, features)``."""
        mean, scale = _mean_and_scale("Standardize.fit", x, self.event_shape[0])
        if self.robust:
            low, mean, high = quantiles(x, x.new_tensor([_LOW, 0.5, 1.0 - _LOW])).to(scale)
            # more than two thirds of the rows may have one value
            scale = torch.where(high > low, (high - low) / 2.0, scale)
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        return self

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return _scaled(x, self.mean, self.scale)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return _unscaled(z, self.mean, self.scale)

    def _in_a_row(
        self, method: str, x: Tensor, context: Tensor | None, retraced: bool = False
    ) -> Prepared | None:
        if not _METHODS.are_those_of(self) or x.shape[-1:] != self.event_shape or not x.numel():
            return None
        mean, scale = self.mean, self.scale
        if not (fixed(self.event_shape, mean, scale) and readable((x, mean, scale))):
            return None
        inverse = method == "_inverse"
        apply = _unscaled if inverse else _scaled

        def plain(x: Tensor, context: Tensor | None, none: Weights) -> tuple[Tensor, Tensor]:
            return apply(x, mean, scale)

        return Prepared(LayerCall(_plan(x.shape[-1]), plain, mean, scale, inverse), ())

    def influence(self) -> Tensor:
        """Each feature its own z."""
        return torch.eye(self.event_shape[0], dtype=torch.bool)


_METHODS = Methods(Standardize, "_forward", "_inverse")


@lru_cache(maxsize=256)
def _plan(features: int) -> ConstantPlan:
    return ConstantPlan(features)


def _scaled(x: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    return (x - mean) / scale, spread(-scale.log().sum(), x)


def _unscaled(z: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    return torch.addcmul(mean, z, scale), spread(scale.log().sum(), z)


class ActNorm(Transform):
    """Shift and scale of each feature, set once from data so that z is standard, then trained.

    Args:
        features: width of x.

    Shapes:
        x, z: ``(*batch, features)``; logdet: ``(*batch,)``, the same for every row

    Raises:
        ArgumentError: ``features`` is below 1.
        DataError: at ``fit``, if there is no row, or a column is constant or not finite.

    Cost: one product a number in either direction; exact.

    Source: Kingma, Dhariwal 2018, arXiv:1807.03039 sec. 3.1.
        Differs: it looks at all the data at ``fit``, not at the first batch, and only once.

    Example:
        >>> norm = ActNorm(1).fit(torch.tensor([[0.0], [2.0]]))
        >>> norm(torch.tensor([[2.0]]))[0]
        tensor([[1.]], grad_fn=<MulBackward0>)
    """

    initialized: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.event_shape = (whole("ActNorm", "features", features),)
        self.shift = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.register_buffer("initialized", torch.tensor(False))

    def fit(self, x: Tensor, context: Tensor | None = None) -> ActNorm:
        """Set shift and scale from ``(n, features)``, unless that was done before."""
        if bool(self.initialized):
            return self
        mean, scale = _mean_and_scale("ActNorm.fit", x, self.event_shape[0])
        with torch.no_grad():
            self.shift.copy_(-mean)
            self.log_scale.copy_(-scale.log())
        self.initialized.fill_(True)
        return self

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return (x + self.shift) * self.log_scale.exp(), spread(self.log_scale.sum(), x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z * (-self.log_scale).exp() - self.shift, spread(-self.log_scale.sum(), z)

    def influence(self) -> Tensor:
        """Each feature its own z."""
        return torch.eye(self.event_shape[0], dtype=torch.bool)


def _mean_and_scale(who: str, x: Tensor, features: int) -> tuple[Tensor, Tensor]:
    refuse_empty(who, x)
    moments = Moments(features).update(x.detach().reshape(-1, features))
    mean, scale = moments.mean, moments.variance.clamp_min(0.0).sqrt()
    refuse_not_finite(who, scale)
    for i in range(features):
        if not bool(scale[i] > 0):
            raise DataError(
                f"{who}: column {i} of x is constant ({float(mean[i]):g}); "
                f"a density needs columns that vary: leave it out."
            )
    return mean, scale
