"""The normal base with dependent features."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.bases.base import LOG_SQRT_2PI, Base, per_feature, sampled_shape
from pushforward.errors import ArgumentError
from pushforward.networks.mlp import MLP
from pushforward.numerics.conditioning import reach
from pushforward.numerics.precision import full_precision
from pushforward.transforms.base import admit_context

__all__ = ["MultivariateNormal"]

_BOUND = 3.0  # of what a context adds to a logarithm of the diagonal, and below it


class MultivariateNormal(Base):
    r"""Normal density with a full covariance.

    With a mean m and a lower triangular factor L of the covariance,

        p(z) = N(L^-1 (z - m); 0, 1) / |L|.

    With a context, a network of it moves the mean and multiplies L by another lower triangular
    matrix from the right. It starts at zero, so that the base starts as it is without a context.

    Args:
        features: width of z.
        loc: mean, a number or ``(features,)``.
        covariance: ``(features, features)``; None for the unit matrix.
        learn: whether mean and covariance are trained.
        context: width of a context; a network of it then moves both.
        hidden: widths of the hidden layers of that network.

    Shapes:
        z: ``(*batch, features)``; context: ``(*batch, context)``; log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: a mean of the wrong length, or a covariance that is not symmetric, not
            positive definite or of another size.

    Cost: ``features``^2 a row in either direction, and a triangular inverse for all of them; with a
        context a call of its network and a triangular solve a row.

    Source: none

    Example:
        >>> base = MultivariateNormal(2, covariance=[[1.0, 0.5], [0.5, 1.0]])
        >>> base.log_prob(torch.zeros(2))
        tensor(-1.6940)
    """

    loc: Tensor
    log_diagonal: Tensor
    below: Tensor
    places: Tensor

    def __init__(
        self,
        features: int,
        loc: float | Tensor = 0.0,
        covariance: Tensor | list[list[float]] | None = None,
        learn: bool = False,
        context: int = 0,
        hidden: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__()
        self.event_shape = (features,)
        self.context = context
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
        self.network = MLP(context, features * (features + 3) // 2, hidden) if context else None
        # for each entry of a matrix its place among the numbers below the diagonal, 0 for none
        places = torch.zeros(features, features, dtype=torch.long)
        rows, columns = torch.tril_indices(features, features, -1)
        places[rows, columns] = torch.arange(1, len(rows) + 1)
        self.register_buffer("places", places, persistent=False)

    @property
    def scale_tril(self) -> Tensor:
        """The lower triangular factor of the covariance, ``(features, features)``.

        Of a base that reads a context, the factor L before the network's.
        """
        return self.below.tril(-1) + torch.diag_embed(self.log_diagonal.exp())

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats."""
        moved = self._moves("log_prob", z.shape[:-1], context)
        with full_precision(z):
            apart = z - (self.loc if moved is None else self.loc + moved[0])
            factor = self.scale_tril.to(apart.dtype)
            unit = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
            whitening = torch.linalg.solve_triangular(factor, unit, upper=False)
            standard = torch.einsum("ed,...d->...e", whitening, apart)
            if moved is not None:
                column = standard.unsqueeze(-1)
                standard = torch.linalg.solve_triangular(moved[1], column, upper=False).squeeze(-1)
        constant = self.log_diagonal.sum() + self.event_shape[0] * LOG_SQRT_2PI
        if moved is not None:
            constant = constant + moved[1].diagonal(dim1=-2, dim2=-1).log().sum(-1)
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
        batch = () if context is None else tuple(context.shape[:-1])
        moved = self._moves("rsample", batch, context)
        shape = sampled_shape(n, context, self.event_shape)
        noise = torch.randn(
            shape, generator=generator, dtype=self.loc.dtype, device=self.loc.device
        )
        with full_precision(noise):
            if moved is None:
                return self.loc + noise @ self.scale_tril.mT
            noise = (moved[1] @ noise.unsqueeze(-1)).squeeze(-1)
            return self.loc + moved[0] + noise @ self.scale_tril.mT

    def _moves(
        self, method: str, batch: tuple[int, ...], context: Tensor | None
    ) -> tuple[Tensor, Tensor] | None:
        """What a context adds to the mean, and the matrix that it multiplies the factor by."""
        if self.network is None:
            return None
        who = f"{type(self).__name__}.{method}"
        context = admit_context(who, "z", batch, context, self.context)
        raw = self.network(reach(context)).to(self.loc.dtype)
        features = self.event_shape[0]
        loc, rest = raw[..., :features], _BOUND * torch.tanh(raw[..., features:] / _BOUND)
        padded = torch.cat((torch.zeros_like(rest[..., :1]), rest[..., features:]), -1)
        below = padded[..., self.places]
        return loc, below + torch.diag_embed(rest[..., :features].exp())

    def extra_repr(self) -> str:
        """Sizes."""
        context = f", context={self.context}" if self.context else ""
        return f"features={self.event_shape[0]}{context}"


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
