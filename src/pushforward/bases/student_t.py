"""The Student-t base, for data with heavy tails."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.bases.base import LOG_SQRT_2PI, per_feature
from pushforward.bases.location_scale import LocationScale
from pushforward.errors import ArgumentError
from pushforward.numerics.tails.student_t import heavier_where_far, log_gamma_ratio, most_likely

__all__ = ["StudentT"]

_LEAST = 0.1  # degrees of freedom: below it moments of any use are gone


class StudentT(LocationScale):
    """Student-t density with independent features, one number of degrees of freedom for each.

    The degrees of freedom are the tail index: the density falls as ``|z|^-(df + 1)``. A transform
    with linear tails, whatever their slope, keeps it, while from a normal base no such transform
    reaches it. ``fit`` places all parameters by maximum likelihood on the latents that the data
    has when training begins, but from 6 000 rows by the farthest 0.5 % of them where these are
    heavier than that: training, which may as well shape the tails by what comes before, hardly
    moves a number of degrees of freedom. ``pf.fit`` does so, and trains them with the rest.

    Args:
        features: width of z.
        df: degrees of freedom, a number or ``(features,)``, above 0.1.
        learn: whether degrees of freedom, location and scale are placed and trained.
        loc: location, a number or ``(features,)``.
        scale: a number or ``(features,)``.
        context: width of a context; a network of it then moves all three.
        hidden: widths of the hidden layers of that network.

    Shapes:
        z: ``(*batch, features)``; context: ``(*batch, context)``; log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: degrees of freedom of 0.1 or less, a scale that is not positive, or a wrong
            length; in ``fit``, fewer than two rows.
        ContextError: no context for a base that reads one.

    Cost: about ten elementwise operations a number for a density, a gamma variate for a draw; with
        a context one network call a row.

    Source: Jaini et al. 2020, arXiv:1907.04481; Laszkiewicz, Lederer, Fischer 2022,
        arXiv:2206.10311 (one tail index for each feature)

    Example:
        >>> StudentT(1, df=1.0).log_prob(torch.zeros(1)).detach().exp()  # 1 / pi
        tensor(0.3183)
    """

    raw_df: Tensor

    def __init__(
        self,
        features: int,
        df: float | Tensor = 10.0,
        learn: bool = True,
        loc: float | Tensor = 0.0,
        scale: float | Tensor = 1.0,
        context: int = 0,
        hidden: Sequence[int] = (128, 128),
    ) -> None:
        given = per_feature("StudentT", "df", df, features)
        if not bool((given > _LEAST).all()):
            raise ArgumentError(
                f"StudentT: df is {given.tolist()}, expected degrees of freedom above {_LEAST}."
            )
        shape = {"raw_df": (given - _LEAST).log()}
        super().__init__(features, loc, scale, learn, context, hidden, shape)

    @property
    def df(self) -> Tensor:
        """Degrees of freedom, ``(features,)``; a context moves them from here."""
        return _degrees(self.raw_df)

    def fit(self, z: Tensor, context: Tensor | None = None) -> StudentT:
        """Place degrees of freedom, location and scale on latents ``(n, features)``.

        The degrees of freedom are the tail index of each column as it is, whatever it depends on.
        """
        if len(z) < 2:
            raise ArgumentError(f"StudentT.fit: got {len(z)} rows, expected at least 2.")
        if not self.learn:
            return self
        df, loc, scale = heavier_where_far(z, *most_likely(z))
        with torch.no_grad():
            self.loc.copy_(loc)
            self.log_scale.copy_(scale.log())
            self.raw_df.copy_((df - _LEAST).log())
        return self

    def _standard_log_prob(self, h: Tensor, *shape: Tensor) -> Tensor:
        df = _degrees(shape[0])
        # log1p(h^2 / df) without squaring an h that would overflow
        ratio = h.abs() * df.rsqrt()
        far = ratio > 1e4
        near = torch.log1p(torch.where(far, torch.zeros_like(ratio), ratio).square())
        log_term = torch.where(far, 2.0 * ratio.clamp_min(1.0).log(), near)
        return log_gamma_ratio(0.5 * df) - LOG_SQRT_2PI - 0.5 * (df + 1.0) * log_term

    def _standard_draws(
        self, like: Tensor, generator: torch.Generator | None, *shape: Tensor
    ) -> Tensor:
        half = (0.5 * _degrees(shape[0])).expand(like.shape)
        noise = torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
        share = torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)
        share = share.clamp_min(0.25 * torch.finfo(like.dtype).eps)
        # Gamma(a) is Gamma(a + 1) times share^(1 / a). As a logarithm it does not underflow, and
        # the implicit gradient of Gamma(a + 1) is better conditioned than that of a small a.
        gamma = torch._standard_gamma(half + 1.0, generator=generator)
        log_gamma = gamma.log() + share.log() / half
        most = math.log(torch.finfo(like.dtype).max) - 8.0  # of what a float can hold
        return noise * (0.5 * (half.log() - log_gamma)).clamp_max(most).exp()


def _degrees(raw: Tensor) -> Tensor:
    return raw.exp() + _LEAST
