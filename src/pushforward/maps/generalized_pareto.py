"""The tail transform: normal tails on the side of the latent, Pareto tails on that of the data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.errors import ArgumentError, ShapeError
from pushforward.maps.base import Map
from pushforward.numerics.order_statistics import quantiles, refuse_empty, refuse_not_finite
from pushforward.numerics.tails.hill import hill
from pushforward.numerics.tails.normal import log_hazard, rarity, rarity_inverse

__all__ = ["GeneralizedPareto"]

_BOUND = 3.0  # of what raw adds to a logarithm: tails and scale change by exp(3) at most
_LARGEST = 50.0  # logarithm of the x, in scales, where the map ends and a line goes on
_UNFITTED = 0.1  # tails until the data says others
_TAILS = (0.05, 1.0)  # that are read off data: lighter and heavier ones are left to training
_FAR = 0.005  # share of the rows that are a tail


class GeneralizedPareto(Map):
    r"""Tail transform: what is standard normal in z has generalized Pareto tails in x.

    With y = (x - m) / s, t = |y| and the tail l of the side of y, ``forward`` is

        z = sign(y) r^-1(log(1 + l t) / l),    r(z) = -log erfc(z / sqrt(2)),

    and its inverse, in the paper's terms, ``x = m + s sign(z) (erfc(|z| / sqrt(2))^-l - 1) / l``.
    The chance of a far x falls as ``|x|^(-1 / l)``: l = 1/3 has the tails of Student's t with three
    degrees of freedom, and its upper and its lower tail are free of each other.

    ``fit`` takes m from the median, the tails from the farthest half per cent of the rows on
    either side, by Hill's estimator, and s so that in z these rows begin where those of a normal
    density do. It so standardizes, and no single row disturbs it: the first transform of a flow
    for heavy tails, which leaves later ones the body to shape. From there, raw adds to m (in units
    of s) and to the logarithms of s and of the tails, at most 3 either way.

    Until ``fit``, the map touches the identity at the origin, in value and slope, at raw = 0, and
    bends away from it: x = 1, 2, 4 go to 0.73, 1.21, 1.86. Pareto tails with l to 0 are
    exponential, never normal, so it cannot come closer. Where later layers go on along lines of
    slope a, the tail of the data is ``l / a^2``: it is l itself where they have
    ``tails="identity"`` and nothing else scales.

    Args:
        tail: the tails l at raw = 0, from which training can take them to 20 times less or more;
            None to read them off the data (0.1 until ``fit``).

    Shapes:
        x, z: ``(*batch, features)``; raw: ``(*batch, features, 4)``

    Raises:
        ArgumentError: ``tail`` is not positive.
        ShapeError: in ``fit``, a number of features that the map is not bound to.
        DataError: in ``fit``, if there is no row or a column holds values that are not finite.

    Cost: about thirty elementwise operations in either direction; exact. Beyond |x| of about
        ``exp(50)`` scales a line goes on, so that every number has an image and an origin.

    Source: Hickling, Prangle 2024, arXiv:2406.16971.
        Differs: the median and the quantiles where the tails begin set place and scale; bounds;
        the line beyond ``exp(50)``.

    Example:
        >>> import torch
        >>> tails = GeneralizedPareto()
        >>> x = torch.tensor([[-1e6], [0.0], [1e6]])
        >>> z, log_derivative = tails(x, torch.zeros(3, 1, 4))
        >>> z
        tensor([[-14.8287],
                [  0.0000],
                [ 14.8287]])
    """

    raw_width = 4
    loc: Tensor
    scale: Tensor
    tails: Tensor

    def __init__(self, tail: float | None = None) -> None:
        super().__init__()
        if tail is not None and not 0.0 < tail < math.inf:
            raise ArgumentError(f"GeneralizedPareto: tail is {tail}, expected a positive number.")
        self.tail = tail
        self.register_buffer("loc", torch.tensor(0.0))
        self.register_buffer("scale", torch.tensor(math.sqrt(0.5 * math.pi)))  # slope 1 at 0
        self.register_buffer("tails", torch.full((2,), _UNFITTED if tail is None else float(tail)))

    def bind(self, features: int) -> GeneralizedPareto:
        """A copy with a place for each of ``features`` numbers."""
        bound = super().bind(features)
        bound.loc = self.loc.expand(features).clone()
        bound.scale = self.scale.expand(features).clone()
        bound.tails = self.tails.expand(features, 2).clone()
        return bound

    def part(self, index: slice | Tensor) -> GeneralizedPareto:
        """This map with the place and the tails of some of the features."""
        return self._with(loc=self.loc[index], scale=self.scale[index], tails=self.tails[index])

    def fit(self, x: Tensor) -> GeneralizedPareto:
        """Take place and tails from ``(n, features)``."""
        if x.shape[-1] != self.loc.numel():
            raise ShapeError(
                f"GeneralizedPareto.fit: x has {x.shape[-1]} features, the map is bound to "
                f"{self.loc.numel()}; call bind({x.shape[-1]}) first."
            )
        refuse_empty("GeneralizedPareto.fit", x)
        shares = torch.tensor([_FAR, 0.5, 1.0 - _FAR], dtype=torch.float64)
        low, median, high = quantiles(x, shares)
        if self.tail is None:
            self.tails.copy_(hill(x, _FAR).clamp(*_TAILS))
        tails = self.tails.to(high)
        # as far in scales as an equally rare normal number is by the map
        scales = torch.expm1(-math.log(2.0 * _FAR) * tails) / tails
        scale = (torch.stack((median - low, high - median), -1) / scales).mean(-1)
        refuse_not_finite("GeneralizedPareto.fit", median + scale)
        self.loc.copy_(median)
        self.scale.copy_(torch.where(scale > 0, scale, torch.ones_like(scale)))
        return self

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """From Pareto tails to normal ones."""
        loc, log_scale, tails = self._read(raw)
        y = (x - loc) * (-log_scale).exp()
        sign, tail = _side(y, tails)
        t = sign * y
        last = rarity(_end(tail))
        e = torch.log1p(tail * t) / tail
        beyond = torch.where(e > last, t - torch.expm1(tail * last) / tail, 0.0)
        e = torch.minimum(e, last)
        z = rarity_inverse(e)
        log_slope = tail * e + log_hazard(z)
        return sign * (z + beyond * (-log_slope).exp()), -(log_slope + log_scale)

    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """From normal tails to Pareto ones."""
        loc, log_scale, tails = self._read(raw)
        sign, tail = _side(z, tails)
        t = sign * z
        within = torch.minimum(t, _end(tail))
        e = rarity(within)
        log_slope = tail * e + log_hazard(within)
        y = torch.expm1(tail * e) / tail + (t - within) * log_slope.exp()
        return torch.addcmul(loc, sign * y, log_scale.exp()), log_slope + log_scale

    def tails_at(self, raw: Tensor) -> Tensor:
        """The tails l below and above, ``(*batch, features, 2)``: 1 / l are the tail indices."""
        return self.tails * _bounded(raw[..., 2:]).exp()

    def _read(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Location, log-scale, and the tails."""
        loc = torch.addcmul(self.loc, self.scale, raw[..., 0])
        return loc, self.scale.log() + _bounded(raw[..., 1]), self.tails_at(raw)


def _bounded(raw: Tensor) -> Tensor:
    return _BOUND * torch.tanh(raw / _BOUND)


def _side(y: Tensor, tails: Tensor) -> tuple[Tensor, Tensor]:
    """The sign of y, 1 at zero, where a derivative is wanted too; and the tail of that side."""
    above = y >= 0
    below, over = tails.unbind(-1)
    return torch.where(above, 1.0, -1.0).to(y.dtype), torch.where(above, over, below)


def _end(tail: Tensor) -> Tensor:
    """The |z| from which a line goes on: there x is about ``exp(_LARGEST)`` scales."""
    return (2.0 * _LARGEST / tail).sqrt()
