"""Monotone rational-quadratic splines, in a form that loses no digits."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.kernels.formula import Formula, formula_of
from pushforward.maps.splines.spline import Bin, Knots, Spline, closed

__all__ = ["RationalQuadratic"]


class RationalQuadratic(Spline):
    r"""Monotone rational-quadratic spline on a box, continued smoothly outside.

    Inside a bin of width w, height h, mean slope s = h / w and end slopes d0, d1, with
    xi = (x - x0) / w and q = xi (1 - xi),

        z = y0 + h (s xi^2 + d0 q) / (s + (d1 + d0 - 2 s) q).

    The box is ``[-box, box]`` for each feature. Left to ``None``, ``fit`` takes it from the data's
    central 99.9 %.

    Args:
        bins: number of bins.
        box: half width of the box, or ``None`` to read it off the data (3.5 until ``fit``).
        tails: outside the box, ``linear`` goes on with a learned slope from 0.21 to 2.6,
            ``identity`` with slope 1, ``circular`` wraps x into the box and makes the two end
            slopes equal, ``none`` has no outside: the log-derivative there is -inf in both
            directions, which a flow reads as a density of 0.
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

    Cost: a few dozen elementwise operations in either direction; exact, by the quadratic formula.

    Source: Durkan et al. 2019, arXiv:1906.04032.
        Differs: the box is the data's; the linear tails have a learned slope, so that far data has
        a gradient; the inverse takes the root without cancellation.

    Example:
        >>> import torch
        >>> spline = RationalQuadratic(bins=4)
        >>> raw = torch.randn(1000, 1, spline.raw_width, generator=torch.manual_seed(0)) / 2
        >>> x = torch.linspace(-9, 9, 1000)[:, None]
        >>> z, log_derivative = spline(x, raw)
        >>> back, _ = spline.inverse(z, raw)
        >>> bool((back - x).abs().max() < 1e-4)
        True
    """

    _made_of = ("raw_width", "bins", "tails", "min_width", "min_height", "min_slope")

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
        self.raw_width = 2 * bins + self._slope_count()
        if type(self) is RationalQuadratic:
            self.formula = self._formula()

    def _formula(self) -> Formula | None:
        if self.raw_width != 2 * self.bins + self._slope_count():
            return None
        return formula_of(
            "rational quadratic",
            self.raw_width,
            terms=self.bins,
            tails=self.tails,
            min_width=self.min_width,
            min_height=self.min_height,
            min_slope=self.min_slope,
            offset=self._slope_offset,
        )

    def _knots(self, raw: Tensor) -> Knots:
        k = self.bins
        return Knots(self._corners(raw[..., : 2 * k]), self._slopes(raw[..., 2 * k :]))

    @staticmethod
    def _rise(b: Bin, xi: Tensor) -> tuple[Tensor, Tensor]:
        s = b.height / b.width
        q = xi * (1.0 - xi)
        below = s + (b.next_slope + b.slope - 2.0 * s) * q
        rise = b.height * (s * xi * xi + b.slope * q) / below
        return rise, RationalQuadratic._log_derivative(b, s, xi, q, below)

    @staticmethod
    def _run(b: Bin, rise: Tensor) -> tuple[Tensor, Tensor]:
        s = b.height / b.width
        bend = rise * (b.next_slope + b.slope - 2.0 * s)
        xi = _root(b.height * (s - b.slope) + bend, b.height * b.slope - bend, -s * rise)
        q = xi * (1.0 - xi)
        below = s + (b.next_slope + b.slope - 2.0 * s) * q
        # One Newton step on numerator - rise * denominator: it takes the last digits back.
        gap = b.height * (s * xi * xi + b.slope * q) - rise * below
        steep = b.height * (2.0 * s * xi + b.slope * (1.0 - 2.0 * xi))
        steep = steep - rise * (b.next_slope + b.slope - 2.0 * s) * (1.0 - 2.0 * xi)
        # On a flat piece the slope may round to 0, where the root is as good as it gets.
        least = torch.finfo(rise.dtype).eps * b.height * (s + b.slope + b.next_slope)
        xi = closed(xi - gap / torch.maximum(steep, least))
        q = xi * (1.0 - xi)
        below = s + (b.next_slope + b.slope - 2.0 * s) * q
        return xi, RationalQuadratic._log_derivative(b, s, xi, q, below)

    @staticmethod
    def _log_derivative(b: Bin, s: Tensor, xi: Tensor, q: Tensor, below: Tensor) -> Tensor:
        rest = 1.0 - xi
        above = b.next_slope * xi * xi + 2.0 * s * q + b.slope * rest * rest
        # = 2 log s + log above - 2 log below, with one logarithm
        ratio = s / below
        return (ratio * ratio * above).log()


def _root(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Root in [0, 1] of ``a xi^2 + b xi + c``, on the branch that does not cancel.

    2c / (-b - sqrt(disc)) loses all digits where b < 0, (-b + sqrt(disc)) / 2a where b > 0.
    """
    # Rounding may take the discriminant below 0, and the root's gradient is infinite at 0.
    kind = torch.finfo(b.dtype)
    least = (kind.eps * b).square() + kind.tiny
    disc = torch.maximum(b * b - 4.0 * a * c, least.detach())
    far = b.abs() + disc.sqrt()
    positive = b >= 0
    above = torch.where(positive, -2.0 * c, far)
    below = torch.where(positive, far, 2.0 * a)
    safe = below.abs() > torch.finfo(b.dtype).tiny
    root = above / torch.where(safe, below, torch.ones_like(below))
    return torch.where(safe, root, torch.zeros_like(root)).clamp(0.0, 1.0)
