"""The Student-t base, for data with heavy tails."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.bases.base import Base, per_feature, sampled_shape
from pushforward.errors import ArgumentError

__all__ = ["StudentT"]

_LEAST = 0.1  # degrees of freedom: below it moments of any use are gone


class StudentT(Base):
    """Student-t density with independent features, one number of degrees of freedom for each.

    Args:
        features: width of z.
        df: degrees of freedom, a number or ``(features,)``, above 0.1.
        learn: whether the degrees of freedom are trained.

    Shapes:
        z: ``(*batch, features)``; log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: degrees of freedom of 0.1 or less.

    Source: Jaini et al. 2020, arXiv:1907.04481; Laszkiewicz, Lederer, Fischer 2022,
        arXiv:2206.10311 (one tail index for each feature)

    Example:
        >>> StudentT(1, df=1.0).log_prob(torch.zeros(1)).detach().exp()  # 1 / pi
        tensor(0.3183)
    """

    raw_df: Tensor

    def __init__(self, features: int, df: float | Tensor = 10.0, learn: bool = True) -> None:
        super().__init__()
        self.event_shape = (features,)
        given = per_feature("StudentT", "df", df, features)
        if not bool((given > _LEAST).all()):
            raise ArgumentError(
                f"StudentT: df is {given.tolist()}, expected degrees of freedom above {_LEAST}."
            )
        raw = given - _LEAST
        raw = raw + torch.log(-torch.expm1(-raw))  # the inverse of softplus
        if learn:
            self.raw_df = nn.Parameter(raw)
        else:
            self.register_buffer("raw_df", raw)

    @property
    def df(self) -> Tensor:
        """Degrees of freedom, ``(features,)``."""
        return functional.softplus(self.raw_df) + _LEAST

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats."""
        df = self.df
        constant = (
            torch.lgamma(0.5 * (df + 1.0))
            - torch.lgamma(0.5 * df)
            - 0.5 * (df.log() + math.log(math.pi))
        )
        # log1p(z^2 / df) without squaring a z that would overflow
        ratio = z.abs() / df.sqrt()
        far = ratio > 1e4
        near = torch.log1p(torch.where(far, torch.zeros_like(ratio), ratio).square())
        log_term = torch.where(far, 2.0 * ratio.clamp_min(1.0).log(), near)
        return (constant - 0.5 * (df + 1.0) * log_term).sum(-1)

    def rsample(
        self,
        n: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws, ``(*n, *context_batch, features)``; gradients reach the degrees of freedom."""
        shape = sampled_shape(n, context, self.event_shape)
        df = self.df
        noise = torch.randn(shape, generator=generator, dtype=df.dtype, device=df.device)
        half = (0.5 * df).expand(shape)
        gamma = torch._standard_gamma(half, generator=generator)  # implicit reparametrization
        gamma = gamma.clamp_min(torch.finfo(df.dtype).tiny)
        return noise * (half / gamma).sqrt()
