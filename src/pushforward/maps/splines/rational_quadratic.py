"""Monotone rational-quadratic splines, in a form that loses no digits."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.maps.box import Boxed

__all__ = ["RationalQuadratic"]

_TAILS = ("linear", "identity", "circular", "none")
# Bound of what softplus sees for a tail: slopes from 0.21 to 2.6. Far from the data a network
# extrapolates, and a few unbounded tails in a row would send a far row to infinity.
_TAIL = 2.0


class _Bin(NamedTuple):
    """The bin each number falls in, in units of the box: left corner, width, height, slopes."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    slope: Tensor  # dy/dx at the left knot
    next_slope: Tensor  # and at the right one


class RationalQuadratic(Boxed):
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

    def __init__(
        self,
        bins: int = 8,
        box: float | None = None,
        tails: str = "linear",
        min_width: float = 1e-3,
        min_height: float = 1e-3,
        min_slope: float = 1e-3,
    ) -> None:
        super().__init__(box)
        if bins < 1:
            raise ArgumentError(f"RationalQuadratic: bins is {bins}, expected at least 1.")
        if tails not in _TAILS:
            raise ArgumentError(
                f"RationalQuadratic: tails is {tails!r}, expected one of {', '.join(_TAILS)}."
            )
        if tails == "circular" and box is None:
            raise ArgumentError(
                "RationalQuadratic: tails='circular' needs box, half the period (math.pi for "
                "angles); a circle cannot be read off the data."
            )
        if not (0 < min_width * bins < 1 and 0 < min_height * bins < 1 and 0 < min_slope < 1):
            raise ArgumentError(
                f"RationalQuadratic: the minima ({min_width}, {min_height}, {min_slope}) leave no "
                f"room for {bins} bins; bins times a minimum must lie between 0 and 1."
            )
        self.bins, self.tails = bins, tails
        self.min_width, self.min_height, self.min_slope = min_width, min_height, min_slope
        slopes = {"linear": bins + 1, "identity": bins - 1, "circular": bins, "none": bins + 1}
        self.raw_width = 2 * bins + slopes[tails]
        # softplus(raw + offset) + min_slope is 1 at raw = 0, at every knot alike
        self._slope_offset = math.log(math.expm1(1.0 - min_slope))

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``h(x)`` and its log-derivative."""
        u, inside = self._enter(x)
        slopes = self._slopes(raw)
        b = self._find(u, raw, slopes, 0)
        s = b.height / b.width
        xi = ((u - b.x) / b.width).clamp(0.0, 1.0)
        q = xi * (1.0 - xi)
        below = s + (b.next_slope + b.slope - 2.0 * s) * q
        v = b.y + b.height * (s * xi * xi + b.slope * q) / below
        log_derivative = self._log_derivative(b, s, xi, q, below)
        return self._leave(x, v, log_derivative, inside, slopes)

    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``h^-1(z)`` and its log-derivative."""
        v, inside = self._enter(z)
        slopes = self._slopes(raw)
        b = self._find(v, raw, slopes, 1)
        s = b.height / b.width
        rise = v - b.y
        bend = rise * (b.next_slope + b.slope - 2.0 * s)
        xi = _root(b.height * (s - b.slope) + bend, b.height * b.slope - bend, -s * rise)
        q = xi * (1.0 - xi)
        below = s + (b.next_slope + b.slope - 2.0 * s) * q
        # One Newton step on numerator - rise * denominator: it takes the last digits back.
        gap = b.height * (s * xi * xi + b.slope * q) - rise * below
        steep = b.height * (2.0 * s * xi + b.slope * (1.0 - 2.0 * xi))
        steep = steep - rise * (b.next_slope + b.slope - 2.0 * s) * (1.0 - 2.0 * xi)
        # On a flat piece the slope may round to 0, where the root is as good as it gets.
        least = torch.finfo(z.dtype).eps * b.height * (s + b.slope + b.next_slope)
        xi = (xi - gap / torch.maximum(steep, least)).clamp(0.0, 1.0)
        q = xi * (1.0 - xi)
        below = s + (b.next_slope + b.slope - 2.0 * s) * q
        log_derivative = self._log_derivative(b, s, xi, q, below)
        return self._leave(z, b.x + xi * b.width, -log_derivative, inside, slopes.reciprocal())

    @staticmethod
    def _log_derivative(b: _Bin, s: Tensor, xi: Tensor, q: Tensor, below: Tensor) -> Tensor:
        rest = 1.0 - xi
        above = b.next_slope * xi * xi + 2.0 * s * q + b.slope * rest * rest
        # = 2 log s + log above - 2 log below, with one logarithm
        ratio = s / below
        return (ratio * ratio * above).log()

    def _enter(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Position in the box as a number in [0, 1], and whether it was in there.

        The clamp comes before any spline arithmetic: outside the box the arithmetic would make
        numbers whose gradient is nan even where ``where`` discards the value.
        """
        u = (x - self.low) / (self.high - self.low)
        if self.tails == "circular":
            return (u - u.floor()).clamp(0.0, 1.0), torch.ones_like(u, dtype=torch.bool)
        return u.clamp(0.0, 1.0), (u >= 0.0) & (u <= 1.0)

    def _find(self, u: Tensor, raw: Tensor, slopes: Tensor, axis: int) -> _Bin:
        """Bin of each u along x (axis 0) or y (axis 1)."""
        knots = self._knots(raw)
        index = (u.unsqueeze(-1) >= knots[..., axis, 1:-1]).sum(-1, keepdim=True)
        pair = torch.cat((index, index + 1), -1)  # (*batch, features, 2)
        ends = knots.gather(-1, pair.unsqueeze(-2).expand(*pair.shape[:-1], 2, 2))
        slope, next_slope = slopes.gather(-1, pair).unbind(-1)
        left, right = ends.unbind(-1)
        (x, y), (width, height) = left.unbind(-1), (right - left).unbind(-1)
        return _Bin(x, y, width, height, slope, next_slope)

    def _knots(self, raw: Tensor) -> Tensor:
        """Knots as shares of the box, ``(*batch, features, 2, bins + 1)``: x, then y."""
        k = self.bins
        logits = raw[..., : 2 * k].reshape(*raw.shape[:-1], 2, k)
        share = torch.softmax(logits, -1)
        if self.min_width == self.min_height:
            sizes = share * (1.0 - k * self.min_width) + self.min_width
        else:
            pairs = zip(share.unbind(-2), (self.min_width, self.min_height), strict=True)
            sizes = torch.stack([one * (1.0 - k * least) + least for one, least in pairs], -2)
        inner = sizes[..., :-1].cumsum(-1)
        zero = torch.zeros_like(sizes[..., :1])
        return torch.cat((zero, inner, zero + 1.0), -1)  # pinned: exactly 0 and exactly 1

    def _slopes(self, raw: Tensor) -> Tensor:
        """Slopes at all knots, ``(*batch, features, bins + 1)``; at raw = 0 they are 1."""
        k = self.bins
        free = raw[..., 2 * k :]
        if self.tails == "identity":
            free = functional.pad(free, (1, 1))
        elif self.tails == "circular":
            free = torch.cat((free, free[..., :1]), -1)
        elif self.tails == "linear":
            ends = _TAIL * torch.tanh(free[..., ::k] / _TAIL)
            free = torch.cat((ends[..., :1], free[..., 1:-1], ends[..., 1:]), -1)
        return functional.softplus(free + self._slope_offset) + self.min_slope

    def _leave(
        self, x: Tensor, v: Tensor, log_derivative: Tensor, inside: Tensor, slopes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Back to the units of the box, with the tails outside it, of the outermost slopes."""
        z = self.low + (self.high - self.low) * v
        if self.tails == "circular":
            return z, log_derivative
        if self.tails == "none":
            return z, torch.where(inside, log_derivative, -math.inf)
        below, above = (x - self.low).clamp(max=0.0), (x - self.high).clamp(min=0.0)
        if self.tails == "identity":
            tail = torch.zeros_like(log_derivative)
            return z + below + above, torch.where(inside, log_derivative, tail)
        first, last = slopes[..., 0], slopes[..., -1]
        tail = torch.where(above > 0, last, first).log()
        return z + below * first + above * last, torch.where(inside, log_derivative, tail)


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
