"""Monotone piecewise quadratic splines: a density of straight lines."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.maps.splines.spline import Bin, Knots, Spline, pinned

__all__ = ["Quadratic"]

_TAIL = 0.8  # how far the slope of a tail is from 1 at most: two slopes of 2 would fill the box


class Quadratic(Spline):
    r"""Piecewise quadratic map of a box: between knots its slope is a straight line.

    Inside a bin of width w with end slopes d0, d1, with xi = (x - x0) / w,

        z = y0 + w (d0 xi + (d1 - d0) xi^2 / 2).

    The slopes at the knots and the widths decide the heights; they are scaled so that these fill
    the box. The density is continuous, at the ends of the box and at the seam of a circle too.

    Args:
        bins: number of bins.
        box: half width of the box, or ``None`` to read it off the data (3.5 until ``fit``).
        tails: outside the box, ``linear`` goes on with a learned slope from 0.2 to 1.8,
            ``identity`` with slope 1, ``circular`` wraps x into the box and makes the two end
            slopes equal, ``none`` has no outside: the log-derivative there is -inf in both
            directions.
        min_width: smallest width of a bin, as a share of the box.
        min_slope: smallest slope at a knot.

    Shapes:
        x, z: ``(*batch, features)``; raw: ``(*batch, features, raw_width)``

    Raises:
        ArgumentError: bins below 1, an unknown kind of tails, circular tails without a box, minima
            that do not fit the box.
        ShapeError: in ``fit``, a number of features that the map is not bound to.
        DataError: in ``fit``, if there is no row, or a column holds values that are not finite.

    Cost: about thirty elementwise operations in either direction; exact, by the quadratic formula.

    Source: Müller et al. 2019, arXiv:1808.03856.
        Differs: the box is the data's and has tails, whose slopes are fixed before the others are
        scaled; the inverse starts from the flat end of a bin, where the root does not cancel.

    Example:
        >>> import torch
        >>> spline = Quadratic(bins=4)
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
        min_slope: float = 1e-3,
    ) -> None:
        super().__init__(bins, box, tails, min_width=min_width, min_slope=min_slope)
        self.raw_width = bins + self._slope_count()

    def _knots(self, raw: Tensor) -> Knots:
        k = self.bins
        widths = torch.softmax(raw[..., :k], -1) * (1.0 - k * self.min_width) + self.min_width
        slopes = self._scaled(raw[..., k:], widths) * (1.0 - self.min_slope) + self.min_slope
        heights = widths * (slopes[..., :-1] + slopes[..., 1:])
        heights = heights / heights.sum(-1, keepdim=True)
        return Knots(pinned(torch.stack((widths, heights), -2)), slopes)

    def _scaled(self, free: Tensor, widths: Tensor) -> Tensor:
        """Slopes at all knots under which the heights of all bins are 1 together.

        Each slope is the height of a hat over two bins (one, at an end), so that the mass of a hat
        is half the width of its foot times its slope. A softmax deals out the masses.
        """
        half = 0.5 * widths
        first, last = half[..., :1], half[..., -1:]
        feet = half[..., :-1] + half[..., 1:]
        if self.tails == "circular":
            slopes = _dealt(free, torch.cat((first + last, feet), -1), 1.0)
            return torch.cat((slopes, slopes[..., :1]), -1)
        if self.tails == "none":
            return _dealt(free, torch.cat((first, feet, last), -1), 1.0)
        ends = torch.ones_like(widths[..., :1]).expand(*widths.shape[:-1], 2)
        if self.tails == "linear":
            ends = ends + _TAIL * torch.tanh(free[..., :: self.bins] / _TAIL)
            free = free[..., 1:-1]
        if self.bins == 1:  # there are no others to scale
            return ends / ends.mean(-1, keepdim=True)
        left, right = ends[..., :1], ends[..., 1:]
        inner = _dealt(free, feet, 1.0 - left * first - right * last)
        return torch.cat((left, inner, right), -1)

    @staticmethod
    def _rise(b: Bin, xi: Tensor) -> tuple[Tensor, Tensor]:
        rest = 1.0 - xi
        start = b.slope / (b.slope + b.next_slope)
        rise = b.height * xi * (2.0 * start * rest + xi)
        return rise, (b.slope * rest + b.next_slope * xi).log()

    @staticmethod
    def _run(b: Bin, rise: Tensor) -> tuple[Tensor, Tensor]:
        # From the flat end, t in [0, 1]: eta = 2 start t + (1 - 2 start) t^2, all of it positive.
        turned = b.next_slope < b.slope
        flat = torch.minimum(b.slope, b.next_slope)
        steep = torch.maximum(b.slope, b.next_slope)
        start = flat / (flat + steep)
        eta = (torch.where(turned, b.height - rise, rise) / b.height).clamp(0.0, 1.0)
        t = eta / (start + (start * start + (1.0 - 2.0 * start) * eta).sqrt())
        return torch.where(turned, 1.0 - t, t), (flat * (1.0 - t) + steep * t).log()


def _dealt(free: Tensor, feet: Tensor, mass: Tensor | float) -> Tensor:
    """Slopes whose hats over these feet have this mass together; where free is 0 all are equal."""
    return mass * torch.softmax(free + feet.log(), -1) / feet
