"""The density of one number for each of several rows: equal parts of one-dimensional flows."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from pushforward.maps.base import Map
from pushforward.numerics.gauss_legendre import floating, gauss_legendre
from pushforward.numerics.solvers.root_finding import increasing_root
from pushforward.numerics.tails.student_t_curves import (
    student_t_below,
    student_t_log_density,
    student_t_quantile,
)

__all__ = ["Components"]

_LOG_SCALES = (math.log(1e-3), 5.0)  # least and largest scale of a component, before its map
_POINTS = 48  # of the quadrature of a mean
_LEAST = 1e-300  # in the place of a probability that is none in float64


class Components:
    """For each of n rows, C densities of one number with the weight 1 / C each.

    A component takes u, the number in the unit of training, to ``v = (u - loc) / scale``, and v by
    a monotone map to a latent whose base is Student's t.

    Args:
        map: of one number.
        raw: ``(C, n, 2 + map.raw_width)``: location, logarithm of the scale, and what the map
            reads.
        df: degrees of freedom of each component, ``(C,)``.
        center, scale: a number y of the data is ``center + scale * u``.
        width: of the base.
    """

    def __init__(
        self, map: Map, raw: Tensor, df: Tensor, center: Tensor, scale: Tensor, width: Tensor
    ) -> None:
        self.map, self.raw, self.center, self.scale, self.width = map, raw, center, scale, width
        self.df = df.reshape(-1, 1, 1)

    @cached_property
    def _loc(self) -> Tensor:
        return self.raw[..., :1]

    @cached_property
    def _log_scale(self) -> Tensor:
        return self.raw[..., 1:2].clamp(*_LOG_SCALES)

    def _shape(self, like: Tensor) -> Tensor:
        """What the map reads for numbers ``(C, n, q)`` of each row."""
        return self.raw[..., None, None, 2:].expand(*like.shape, 1, -1)

    def latent(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Latents of numbers ``(C or 1, n, q)``, and the logarithm of their slopes."""
        v = (u - self._loc) * (-self._log_scale).exp()
        z, log_slope = self.map(v.unsqueeze(-1), self._shape(v))
        log_slope = log_slope.squeeze(-1) - self._log_scale
        return z.squeeze(-1) / self.width, log_slope - self.width.log()

    def number(self, z: Tensor) -> Tensor:
        """The numbers u of latents ``(C, n, q)``."""
        z = z * self.width
        v = self.map.inverse(z.unsqueeze(-1), self._shape(z))[0].squeeze(-1)
        return v * self._log_scale.exp() + self._loc

    def each_log_prob(self, u: Tensor) -> Tensor:
        """Log-density of u under every component, ``(C, n, q)``."""
        z, log_slope = self.latent(u)
        return student_t_log_density(z, self.df) + log_slope

    def _inward(self, y: Tensor) -> Tensor:
        """Numbers ``(n, q)`` of the data in the unit of training."""
        return ((y - self.center) / self.scale).unsqueeze(0)

    def log_prob(self, y: Tensor) -> Tensor:
        """Log-density of numbers ``(n, q)``, nats."""
        each = self.each_log_prob(self._inward(y))
        return each.logsumexp(0) - math.log(len(self.raw)) - self.scale.log()

    def cdf(self, y: Tensor) -> Tensor:
        """Probability below numbers ``(n, q)``; without a gradient."""
        return student_t_below(self.latent(self._inward(y))[0], self.df).mean(0)

    def quantile(self, levels: Tensor) -> Tensor:
        """The numbers ``(n, q)`` that probabilities ``(q,)`` lie below; without a gradient."""
        with torch.no_grad():
            each = self.number(self._latents(levels))
            if len(each) == 1:
                return self._outward(each[0])
            return self._outward(self._mixed_quantile(levels.to(each), each))

    def _latents(self, levels: Tensor) -> Tensor:
        """Latents of probabilities ``(q,)``, for every component and row."""
        z = student_t_quantile(levels, self.df).to(self.raw)
        return z.expand(-1, self.raw.shape[1], -1)

    def _mixed_quantile(self, levels: Tensor, each: Tensor) -> Tensor:
        """Where the mean distribution function reaches levels that each component reaches.

        It does so between the least and the largest of their numbers. Solved as a logit, since
        the function itself is flat far out.
        """
        low, high = each.amin(0), each.amax(0)

        def logit(u: Tensor) -> tuple[Tensor, Tensor]:
            # Beyond the bracket it goes on along a line, and what Newton says there is no matter.
            at = torch.maximum(torch.minimum(u, high), low)
            z, log_slope = self.latent(at.unsqueeze(0))
            density = (student_t_log_density(z, self.df) + log_slope).logsumexp(0)
            below = student_t_below(z, self.df).mean(0).clamp_min(_LEAST)
            above = student_t_below(-z, self.df).mean(0).clamp_min(_LEAST)
            log_slope = density - math.log(len(z)) - below.log() - above.log()
            value = below.log() - above.log()
            beyond = u - at
            return value + beyond, torch.where(beyond == 0, log_slope, 0.0)

        goal = (levels.log() - torch.log1p(-levels)).expand_as(low)
        return increasing_root(logit, goal, who="Ensemble.quantile", guess=each.mean(0))

    def _outward(self, u: Tensor) -> Tensor:
        return self.center + self.scale * u

    def mean(self) -> Tensor:
        """The mean of each row, ``(n,)``: of the numbers of all probabilities, by quadrature."""
        nodes, weights = (floating(part, torch.float64) for part in gauss_legendre(_POINTS))
        # Levels crowd at both ends, where the numbers of a heavy tail run away.
        levels = nodes * nodes * (3.0 - 2.0 * nodes)
        weights = (weights * 6.0 * nodes * (1.0 - nodes)).to(self.raw)
        return self._outward((self.number(self._latents(levels)) @ weights).mean(0))

    def pick(self, which: Tensor, z: Tensor) -> Tensor:
        """Numbers of the data from latents, by the component that each is said to be of.

        Args:
            which: components, ``(s, n)``.
            z: latents, ``(s, n)``.
        """
        raw = self.raw[which, torch.arange(self.raw.shape[1], device=which.device)]
        df = self.df.reshape(-1)[:1]  # no matter: the latents are drawn already
        own = Components(self.map, raw, df, self.center, self.scale, self.width)
        return self._outward(own.number(z.unsqueeze(-1)).squeeze(-1))
