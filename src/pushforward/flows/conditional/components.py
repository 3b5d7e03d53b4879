"""The density of one number for each of several rows: equal parts of one-dimensional flows."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from pushforward.maps.splines.spline import Spline
from pushforward.numerics.gauss_legendre import floating, gauss_legendre
from pushforward.numerics.solvers.root_finding import increasing_root
from pushforward.numerics.tails.student_t_curves import (
    student_t_below,
    student_t_log_density,
    student_t_quantile,
)

__all__ = ["LEAST_LEVEL", "Components"]

LEAST_LEVEL = 1e-12  # that a quantile is found for: 1 less it still has digits

_LOG_SCALES = (math.log(1e-3), 5.0)  # least and largest scale of a component, before its map
_POINTS, _FEWER_POINTS = 10, 5  # of the quadrature of a mean, in each bin of a spline
_FEW = 50  # components above which the errors of fewer points average out
_LEAST = 1e-300  # in the place of a probability that is none in float64


class Components:
    """For each of n rows, C densities of one number with the weight 1 / C each.

    A component takes u, the number in the unit of training, to ``v = (u - loc) / scale``, and v by
    a monotone spline to a latent whose base is Student's t.

    Args:
        map: of one number, a spline with lines for tails.
        raw: ``(C, n, 2 + map.raw_width)``: location, logarithm of the scale, and what the map
            reads.
        df: degrees of freedom of each component, ``(C,)``.
        center, scale: a number y of the data is ``center + scale * u``.
        width: of the base.
    """

    def __init__(
        self, map: Spline, raw: Tensor, df: Tensor, center: Tensor, scale: Tensor, width: Tensor
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
        z, log_slope = self._latent((u - self._loc) * (-self._log_scale).exp())
        return z, log_slope - self._log_scale

    def _latent(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Latents of numbers in units of their component, and the logarithm of their slopes."""
        z, log_slope = self.map(v.unsqueeze(-1), self._shape(v))
        return z.squeeze(-1) / self.width, log_slope.squeeze(-1) - self.width.log()

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
        """The numbers ``(n, q)`` that probabilities ``(q,)`` lie below; without a gradient.

        Levels are from ``LEAST_LEVEL`` to one less it.
        """
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
        """The mean of each row, ``(n,)``; without a gradient."""
        with torch.no_grad():
            v = self._mean_within() + self._mean_beyond()
            return self._outward((v * self._log_scale.exp() + self._loc).squeeze(-1).mean(0))

    def _mean_within(self) -> Tensor:
        """What a mean would be, ``(C, n, 1)``, if the tails were as long as they are likely.

        In parts, half the box less the integral of the distribution function over it: that is
        smooth within each bin of the spline, however far apart the modes of a component are.
        """
        few = len(self.raw) <= _FEW
        nodes, weights = (
            floating(part, torch.float64).to(self.raw)
            for part in gauss_legendre(_POINTS if few else _FEWER_POINTS)
        )
        knots = self.map._knots(self._shape(self._loc)).places[..., 0, :].flatten(2)
        box, width = self.map.high.to(self.raw), knots.diff(dim=-1).unsqueeze(-1)
        v = box * (2.0 * (knots[..., :-1, None] + width * nodes).flatten(2) - 1.0)
        below = student_t_below(self._latent(v)[0], self.df)
        return box - 2.0 * box * (below * (width * weights).flatten(2)).sum(-1, keepdim=True)

    def _mean_beyond(self) -> Tensor:
        """What the tails, lines beyond the box, add to that: in closed form."""
        box = self.map.high.to(self.raw)
        far = torch.cat((-2.0 * box, 2.0 * box)).expand(*self.raw.shape[:2], 2)
        left, right = ((-self._latent(far)[1]).exp() / self.width).unsqueeze(-2).unbind(-1)
        edge = box / self.width
        # the mean of what is beyond the edge, times its probability
        moment = student_t_log_density(edge, self.df).exp() * (self.df + edge * edge)
        moment = self.width * moment / (self.df - 1.0)
        beyond: Tensor = moment - box * student_t_below(-edge, self.df)
        return (right - left) * beyond

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
