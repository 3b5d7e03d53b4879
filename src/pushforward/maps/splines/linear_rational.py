"""Monotone linear-rational splines: two hyperbolas a bin, inverted by two others."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.maps.splines.spline import Bin, Knots, Spline

__all__ = ["LinearRational"]

_LEAST = 0.025  # of a bin, on either side of its midpoint


class LinearRational(Spline):
    r"""Monotone linear-rational spline on a box, continued smoothly outside.

    A midpoint splits each bin, of width w and height h, at the share lambda of its width. With end
    slopes d0, d1, their geometric mean g, s = h / w and xi = (x - x0) / w,

        z = y0 + h lambda d0 xi / (s (lambda - xi) + (lambda d0 + (1 - lambda) g) xi)

    for xi <= lambda, and the same from the right end beyond. No term is negative.

    Args:
        bins: number of bins.
        box: half width of the box, or ``None`` to read it off the data (3.5 until ``fit``).
        tails: outside the box, ``linear`` goes on with a learned slope from 0.21 to 2.6,
            ``identity`` with slope 1, ``circular`` wraps x into the box and makes the two end
            slopes equal, ``none`` has no outside: the log-derivative there is -inf in both
            directions.
        min_width: smallest width of a bin, as a share of the box.
        min_height: smallest height of a bin, as a share of the box.
        min_slope: smallest slope at a knot.

    Shapes:
        x, z: ``(*batch, features)``; raw: ``(*batch, features, raw_width)``

    Raises:
        ArgumentError: bins below 1, an unknown kind of tails, circular tails without a box, minima
            that do not fit the box.
        ShapeError: in ``fit``, a number of features that the map is not bound to.
        DataError: in ``fit``, if there is no row, or a column holds values that are not finite.

    Cost: a few dozen elementwise operations in either direction, and no root; exact.

    Source: Dolatabadi, Erfani, Leckie 2020, arXiv:2001.05168.
        Differs: the box is the data's; the linear tails have a learned slope; the midpoint keeps
        a fortieth of the bin on either side; the weights are multiplied out.

    Example:
        >>> import torch
        >>> spline = LinearRational(bins=4)
        >>> raw = torch.randn(1000, 1, spline.raw_width, generator=torch.manual_seed(0)) / 2
        >>> x = torch.linspace(-9, 9, 1000)[:, None]
        >>> z, log_derivative = spline(x, raw)
        >>> back, _ = spline.inverse(z, raw)
        >>> bool((back - x).abs().max() < 1e-4)
        True
    """

    def __init__(
        self,
        bins: int = 8,
        box: float | None = None,
        tails: str = "linear",
        min_width: float = 1e-3,
        min_height: float = 1e-3,
        min_slope: float = 1e-3,
    ) -> None:
        super().__init__(
            bins, box, tails, min_width=min_width, min_height=min_height, min_slope=min_slope
        )
        self.raw_width = 3 * bins + self._slope_count()

    def _knots(self, raw: Tensor) -> Knots:
        k = self.bins
        corners, slopes = self._corners(raw[..., : 2 * k]), self._slopes(raw[..., 2 * k : -k])
        return Knots(corners, slopes, _LEAST + (1.0 - 2.0 * _LEAST) * torch.sigmoid(raw[..., -k:]))

    @staticmethod
    def _rise(b: Bin, xi: Tensor) -> tuple[Tensor, Tensor]:
        assert b.lean is not None  # every knot of this spline has one
        s = b.height / b.width
        left = xi <= b.lean
        span, slope, middle = _side(b, b.lean, left)
        t = torch.where(left, xi, 1.0 - xi)
        below = s * (xi - b.lean).abs() + middle * t
        part = span * slope * t / below
        rise = b.height * torch.where(left, part, 1.0 - part)
        return rise, (slope * (s * span / below).square()).log()

    @staticmethod
    def _run(b: Bin, rise: Tensor) -> tuple[Tensor, Tensor]:
        assert b.lean is not None
        s = b.height / b.width
        # Below the midpoint lies the share lambda d0 / (lambda d0 + (1 - lambda) g) of the height.
        mean = b.slope.sqrt() * b.next_slope.sqrt()
        under = b.lean * b.slope
        left = rise * (under + (1.0 - b.lean) * mean) <= b.height * under
        span, slope, middle = _side(b, b.lean, left)
        from_end = (torch.where(left, rise, b.height - rise) / b.height).clamp(min=0.0) * s
        from_middle = (span * slope - from_end * (middle / s)).clamp(min=0.0)
        total = from_end + from_middle
        t, gap = span * (from_end / total), span * (from_middle / total)
        # The midpoint may be steep: near it xi is reckoned from there, elsewhere from the knot.
        near = from_middle < from_end
        xi = torch.where(
            left, torch.where(near, b.lean - gap, t), torch.where(near, b.lean + gap, 1.0 - t)
        )
        below = s * gap + middle * t
        return xi, (slope * (s * span / below).square()).log()


def _side(b: Bin, lean: Tensor, left: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Span and end slope on one side of the midpoint, and the denominator at the midpoint."""
    span = torch.where(left, lean, 1.0 - lean)
    slope = torch.where(left, b.slope, b.next_slope)
    # the roots apart: a product of two slopes may leave the range of float32
    middle = span * slope + (1.0 - span) * (b.slope.sqrt() * b.next_slope.sqrt())
    return span, slope, middle
