"""The normal base with dependent features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pushforward.bases.base import LOG_SQRT_2PI, Base, per_feature, sampled_shape
from pushforward.errors import ArgumentError
from pushforward.numerics.precision import full_precision

__all__ = ["MultivariateNormal"]


class MultivariateNormal(Base):
    r"""Normal density with a full covariance.

    With a mean m and a lower triangular factor L of the covariance,

        p(z) = N(L^-1 (z - m); 0, 1) / |L|.

    Args:
        features: width of z.
        loc: mean, a number or ``(features,)``.
        covariance: ``(features, features)``; None for the unit matrix.
        learn: whether mean and covariance are trained.

    Shapes:
        z: ``(*batch, features)``; log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: a mean of the wrong length, or a covariance that is not symmetric, not
            positive definite or of another size.

    Cost: ``features``^2 a row in either direction, and a triangular inverse for all of them.

    Source: none

    Example:
        >>> base = MultivariateNormal(2, covariance=[[1.0, 0.5], [0.5, 1.0]])
        >>> base.log_prob(torch.zeros(2))
        tensor(-1.6940)
    """

    loc: Tensor
    log_diagonal: Tensor
    below: Tensor

    def __init__(
        self,
        features: int,
        loc: float | Tensor = 0.0,
        covariance: Tensor | list[list[float]] | None = None,
        learn: bool = False,
    ) -> None:
        super().__init__()
        self.event_shape = (features,)
        mean = per_feature("MultivariateNormal", "loc", loc, features)
        factor = _factor(covariance, mean)
        values = {
            "loc": mean,
            "log_diagonal": factor.diagonal().log(),
            "below": factor.tril(-1),
        }
        for name, value in values.items():
            if learn:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    @property
    def scale_tril(self) -> Tensor:
        """The lower triangular factor of the covariance, ``(features, features)``."""
        return self.below.tril(-1) + torch.diag_embed(self.log_diagonal.exp())

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats."""
        with full_precision(z):
            apart = z - self.loc
            factor = self.scale_tril.to(apart.dtype)
            unit = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
            whitening = torch.linalg.solve_triangular(factor, unit, upper=False)
            standard = torch.einsum("ed,...d->...e", whitening, apart)
        constant = self.log_diagonal.sum() + self.event_shape[0] * LOG_SQRT_2PI
        log_p: Tensor = -0.5 * standard.square().sum(-1) - constant
        # an infinite number times one of the zeros of a matrix would be nan
        return log_p.masked_fill(z.isinf().any(-1), -math.inf)

    def rsample(
        self,
        n: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws, ``(*n, *context_batch, features)``."""
        shape = sampled_shape(n, context, self.event_shape)
        noise = torch.randn(
            shape, generator=generator, dtype=self.loc.dtype, device=self.loc.device
        )
        with full_precision(noise):
            return self.loc + noise @ self.scale_tril.mT

    def extra_repr(self) -> str:
        """Size."""
        return f"features={self.event_shape[0]}"


def _factor(covariance: Tensor | list[list[float]] | None, mean: Tensor) -> Tensor:
    """The lower triangular factor of a covariance, checked, in the dtype of the mean."""
    features = len(mean)
    if covariance is None:
        return torch.eye(features, dtype=mean.dtype, device=mean.device)
    given = torch.as_tensor(covariance).detach()
    if given.shape != (features, features):
        raise ArgumentError(
            f"MultivariateNormal: covariance has shape {tuple(given.shape)}, expected "
            f"({features}, {features})."
        )
    given = given.to(torch.float64)
    factor, failed = torch.linalg.cholesky_ex(given)
    even = torch.allclose(given, given.mT, rtol=1e-5, atol=0.0)
    if bool(failed) or not even or not bool(factor.isfinite().all()):
        raise ArgumentError(
            f"MultivariateNormal: covariance is {given.tolist()}, expected a symmetric, positive "
            f"definite matrix."
        )
    lower: Tensor = factor.to(mean)
    return lower
