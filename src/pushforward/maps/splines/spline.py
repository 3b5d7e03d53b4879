"""What all splines share: knots, the box, its tails, and the way into a bin and out of it."""

from __future__ import annotations

import abc
import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.kernels.elementwise import move
from pushforward.maps.box import Boxed

__all__ = ["Bin", "Knots", "Spline", "closed", "pinned"]

_TAILS = ("linear", "identity", "circular", "none")
_ENDS = {  # tails of a support that ends, and not where the data happens to
    "circular": "half the period (math.pi for angles); a circle cannot be read",
    "none": "beyond which there is nothing; where a support ends cannot be read",
}
# Bound of what softplus sees for a tail: slopes from 0.21 to 2.6. Far from the data a network
# extrapolates, and a few unbounded tails in a row would send a far row to infinity.
_TAIL = 2.0


class Knots(NamedTuple):
    """All knots of a spline, in units of the box: it is [0, 1] along x and along y."""

    places: Tensor  # (*batch, features, 2, bins + 1): x, then y
    slopes: Tensor  # (*batch, features, bins + 1): dz/dx at the knots; the tails go on with them
    leans: Tensor | None = None  # (*batch, features, bins): one more number for each bin


class Bin(NamedTuple):
    """The bin each number falls in, in units of the box: left corner, width, height, slopes."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    slope: Tensor  # dz/dx at the left knot
    next_slope: Tensor  # and at the right one
    lean: Tensor | None = None


class Spline(Boxed):
    """A map that is one formula in each of several bins of a box, and has tails outside.

    A spline of its own says how raw becomes knots (``_knots``), and its formula within a bin, in
    both directions (``_rise`` and ``_run``).

    Args:
        bins: number of bins.
        box: half width of the box, or ``None`` to read it off the data (3.5 until ``fit``).
        tails: ``linear``, ``identity``, ``circular`` or ``none``.
        min_width: smallest width of a bin, as a share of the box.
        min_height: smallest height of a bin, as a share of the box.
        min_slope: smallest slope at a knot.
    """

    def __init__(
        self,
        bins: int,
        box: float | None,
        tails: str,
        *,
        min_width: float = 1e-3,
        min_height: float = 1e-3,
        min_slope: float = 1e-3,
    ) -> None:
        super().__init__(box)
        who = type(self).__name__
        if bins < 1:
            raise ArgumentError(f"{who}: bins is {bins}, expected at least 1.")
        if tails not in _TAILS:
            raise ArgumentError(f"{who}: tails is {tails!r}, expected one of {', '.join(_TAILS)}.")
        if tails in _ENDS and box is None:
            raise ArgumentError(f"{who}: tails={tails!r} needs box, {_ENDS[tails]} off the data.")
        if not (0 < min_width * bins < 1 and 0 < min_height * bins < 1 and 0 < min_slope < 1):
            raise ArgumentError(
                f"{who}: the minima ({min_width}, {min_height}, {min_slope}) leave no room for "
                f"{bins} bins; bins times a minimum must lie between 0 and 1."
            )
        self.bins, self.tails = bins, tails
        self.min_width, self.min_height, self.min_slope = min_width, min_height, min_slope
        # softplus(raw + offset) + min_slope is 1 at raw = 0, at every knot alike
        self._slope_offset = math.log(math.expm1(1.0 - min_slope))

    @abc.abstractmethod
    def _knots(self, raw: Tensor) -> Knots:
        """The knots that raw stands for; at raw = 0 those of the identity."""

    @staticmethod
    @abc.abstractmethod
    def _rise(b: Bin, xi: Tensor) -> tuple[Tensor, Tensor]:
        """Height above the left knot at ``xi`` in [0, 1], and the logarithm of dz/dx there."""

    @staticmethod
    @abc.abstractmethod
    def _run(b: Bin, rise: Tensor) -> tuple[Tensor, Tensor]:
        """The ``xi`` at which the spline has risen so far, and the logarithm of dz/dx there."""

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``h(x)`` and its log-derivative."""
        return move(self._plain_forward, self.formula, x, raw, *self.constants)

    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """``h^-1(z)`` and its log-derivative."""
        return move(self._plain_inverse, self.formula, z, raw, *self.constants, inverse=True)

    def _plain_forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        u, over = self._enter(x)
        knots = self._knots(raw)
        b = self._find(u, knots, 0)
        rise, log_slope = self._rise(b, ((u - b.x) / b.width).clamp(0.0, 1.0))
        return self._leave(b.y + rise, log_slope, over, knots.slopes)

    def _plain_inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        v, over = self._enter(z)
        knots = self._knots(raw)
        b = self._find(v, knots, 1)
        xi, log_slope = self._run(b, v - b.y)
        return self._leave(b.x + xi * b.width, -log_slope, over, knots.slopes.reciprocal())

    @property
    def outside(self) -> str:
        """What there is beyond the box, by its tails."""
        return {"circular": "circle", "none": "nothing"}.get(self.tails, "line")

    def _enter(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Position in the box as a number in [0, 1], and by how much x lies outside.

        The clamp comes before any spline arithmetic: outside the box the arithmetic would make
        numbers whose gradient is nan even where ``where`` discards the value. The gradient goes
        through one of the two, at the ends of the box through the position.
        """
        if self.tails == "circular":
            u = (x - self.low) / (self.high - self.low)
            return (u - u.floor()).clamp(0.0, 1.0), torch.zeros_like(u)
        at = x.clamp(self.low, self.high)
        over = torch.where(x == at, 0.0, x - at)
        return (at - self.low) / (self.high - self.low), over

    def _find(self, u: Tensor, knots: Knots, axis: int) -> Bin:
        """Bin of each u along x (axis 0) or y (axis 1)."""
        index = (u.unsqueeze(-1) >= knots.places[..., axis, 1:-1]).sum(-1, keepdim=True)
        pair = torch.cat((index, index + 1), -1)  # (*batch, features, 2)
        ends = knots.places.gather(-1, pair.unsqueeze(-2).expand(*pair.shape[:-1], 2, 2))
        slope, next_slope = knots.slopes.gather(-1, pair).unbind(-1)
        left, right = ends.unbind(-1)
        (x, y), (width, height) = left.unbind(-1), (right - left).unbind(-1)
        lean = None if knots.leans is None else knots.leans.gather(-1, index).squeeze(-1)
        return Bin(x, y, width, height, slope, next_slope, lean)

    def _leave(
        self, v: Tensor, log_derivative: Tensor, over: Tensor, slopes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Back to the units of the box, with the tails outside it, of the outermost slopes."""
        z = self.low + (self.high - self.low) * v
        if self.tails == "circular":
            return z, log_derivative
        inside = over == 0
        if self.tails == "none":
            return z, torch.where(inside, log_derivative, -math.inf)
        if self.tails == "identity":
            return z + over, torch.where(inside, log_derivative, torch.zeros_like(z))
        slope = torch.where(over > 0, slopes[..., -1], slopes[..., 0])
        return z + over * slope, torch.where(inside, log_derivative, slope.log())

    # ---------------------------------------------------------------- from raw to knots

    def _slope_count(self) -> int:
        """How many slopes at knots are free."""
        ends = {"linear": 1, "identity": -1, "circular": 0, "none": 1}
        return self.bins + ends[self.tails]

    def _corners(self, logits: Tensor) -> Tensor:
        """Knots along x and y from ``(*batch, features, 2 bins)``: widths, then heights."""
        k = self.bins
        share = torch.softmax(logits.reshape(*logits.shape[:-1], 2, k), -1)
        if self.min_width == self.min_height:
            return pinned(share * (1.0 - k * self.min_width) + self.min_width)
        pairs = zip(share.unbind(-2), (self.min_width, self.min_height), strict=True)
        sizes = [one * (1.0 - k * least) + least for one, least in pairs]
        return pinned(torch.stack(sizes, -2))

    def _slopes(self, free: Tensor) -> Tensor:
        """Slopes at all knots, ``(*batch, features, bins + 1)``; at raw = 0 they are 1."""
        if self.tails == "identity":
            free = functional.pad(free, (1, 1))
        elif self.tails == "circular":
            free = torch.cat((free, free[..., :1]), -1)
        elif self.tails == "linear":
            ends = _TAIL * torch.tanh(free[..., :: self.bins] / _TAIL)
            free = torch.cat((ends[..., :1], free[..., 1:-1], ends[..., 1:]), -1)
        return functional.softplus(free + self._slope_offset) + self.min_slope

    def _tail_slopes(self, free: Tensor) -> Tensor:
        """Slopes of linear tails alone, from 0.21 to 2.6; at raw = 0 they are 1."""
        ends = _TAIL * torch.tanh(free / _TAIL)
        return functional.softplus(ends + self._slope_offset) + self.min_slope


def pinned(sizes: Tensor) -> Tensor:
    """Knots of bins with these sizes, whose sum is 1: the first exactly 0, the last exactly 1."""
    inner = sizes[..., :-1].cumsum(-1)
    zero = torch.zeros_like(sizes[..., :1])
    return torch.cat((zero, inner, zero + 1.0), -1)


def closed(xi: Tensor) -> Tensor:
    """A position that rounding took out of its bin, back in it, with the gradient it had."""
    return xi + (xi.clamp(0.0, 1.0) - xi).detach()
