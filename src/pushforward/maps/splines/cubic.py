"""Monotone cubic splines, inverted by a closed root that is then polished."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.errors import ArgumentError
from pushforward.maps.splines.spline import Bin, Knots, Spline, closed, pinned

__all__ = ["Cubic"]

_STEEPEST = {"linear": 2.61, "identity": 1.0}  # slope of the tails
_FREE = (0.01, 2.99)  # an end slope in units of its bin's: from 0 to 3 the cubic is monotone


class Cubic(Spline):
    r"""Monotone cubic spline on a box, continued smoothly outside.

    Inside a bin of width w, height h and mean slope s = h / w, with end slopes a s and b s, with
    xi = (x - x0) / w and rest = 1 - xi,

        z = y0 + h xi (a rest^2 + (3 - b) xi rest + xi^2).

    The slopes at the inner knots follow from the bins (Steffen 1990): the slope there of the
    parabola through three knots, but at most twice that of either bin. They are the only ones that
    are not learned.

    Args:
        bins: number of bins.
        box: half width of the box, or ``None`` to read it off the data (3.5 until ``fit``).
        tails: outside the box, ``linear`` goes on with a learned slope from 0.21 to 2.6,
            ``identity`` with slope 1 (in both, the outermost bins are at least a third as steep),
            ``circular`` wraps x into the box, where the seam is a knot like the others, ``none``
            has no outside: the log-derivative there is -inf in both directions.
        min_width: smallest width of a bin, as a share of the box.
        min_height: smallest height of a bin, as a share of the box.

    Shapes:
        x, z: ``(*batch, features)``; raw: ``(*batch, features, raw_width)``

    Raises:
        ArgumentError: bins below 1, an unknown kind of tails, circular tails without a box, minima
            that do not fit the box.
        ShapeError: in ``fit``, a number of features that the map is not bound to.
        DataError: in ``fit``, if there is no row, or a column holds values that are not finite.

    Cost: a few dozen elementwise operations forward, about a hundred in the inverse, a cubic root
        and two Newton steps; exact. Derivatives of the inverse are right up to the third.

    Source: Durkan et al. 2019, arXiv:1906.02145.
        Differs: the box is the data's and has tails, which the outermost bins leave room for; the
        root is that of the odds xi / rest, whose cubic never degenerates.

    Example:
        >>> import torch
        >>> spline = Cubic(bins=4)
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
    ) -> None:
        super().__init__(bins, box, tails, min_width=min_width, min_height=min_height)
        widest = 1.0 - max(bins - 2, 0) * min_width  # two bins next to the tails together
        if bins * min_height + widest * _STEEPEST.get(tails, 0.0) / 3.0 >= 1.0:
            raise ArgumentError(
                f"Cubic: min_height is {min_height}, which leaves {bins} bins no room beside "
                f"{tails} tails; write a smaller one."
            )
        self.raw_width = 2 * bins + (2 if tails in ("linear", "none") else 0)

    def _knots(self, raw: Tensor) -> Knots:
        k = self.bins
        widths = torch.softmax(raw[..., :k], -1) * (1.0 - k * self.min_width) + self.min_width
        logits, free = raw[..., k : 2 * k], raw[..., 2 * k :]
        if self.tails in ("circular", "none"):
            heights = torch.softmax(logits, -1) * (1.0 - k * self.min_height) + self.min_height
            steep = heights / widths
            if self.tails == "circular":
                # one bin more on either side, round the seam
                around = [torch.cat((t[..., -1:], t, t[..., :1]), -1) for t in (steep, widths)]
                return Knots(pinned(torch.stack((widths, heights), -2)), _steffen(*around))
            least, most = _FREE
            share = torch.sigmoid(free + math.log((1.0 - least) / (most - 1.0)))
            ends = (least + (most - least) * share) * steep[..., :: max(k - 1, 1)]
        else:
            ends = torch.ones_like(widths[..., :1]).expand(*widths.shape[:-1], 2)
            if self.tails == "linear":
                ends = self._tail_slopes(free)
            heights = self._beside(ends, logits, widths)
            steep = heights / widths
        slopes = torch.cat((ends[..., :1], _steffen(steep, widths), ends[..., 1:]), -1)
        return Knots(pinned(torch.stack((widths, heights), -2)), slopes)

    def _beside(self, ends: Tensor, logits: Tensor, widths: Tensor) -> Tensor:
        """Heights of bins of which the outer two are at least a third as steep as the tails."""
        k = self.bins
        if k == 1:
            return torch.ones_like(widths)
        least = torch.full_like(widths, self.min_height)
        third = ends * widths[..., :: k - 1] / 3.0
        outer = torch.maximum(third, least[..., :2])
        least = torch.cat((outer[..., :1], least[..., 1:-1], outer[..., 1:]), -1)
        # At the identity the heights are 1 / k, so of the rest the outer bins get less than others.
        less = (1.0 / k - max(1.0 / (3.0 * k), self.min_height)) / (1.0 / k - self.min_height)
        outer = logits[..., :: k - 1] + math.log(less)
        logits = torch.cat((outer[..., :1], logits[..., 1:-1], outer[..., 1:]), -1)
        share = torch.softmax(logits, -1)
        return least + (1.0 - least.sum(-1, keepdim=True)) * share

    @staticmethod
    def _rise(b: Bin, xi: Tensor) -> tuple[Tensor, Tensor]:
        first, last = _ends(b)
        return b.height * _share(first, last, xi), _log_slope(b, first, last, xi)

    @staticmethod
    def _run(b: Bin, rise: Tensor) -> tuple[Tensor, Tensor]:
        first, last = _ends(b)
        below, above = rise / b.height, (b.height - rise) / b.height
        xi = _root(first.detach(), last.detach(), below.detach(), above.detach())
        # The root is a number without a history. Each Newton step takes the last digits back, and
        # doubles the order to which the derivatives are right: the first, then up to the third.
        for _ in range(2):
            xi = closed(xi - (_share(first, last, xi) - below) / _steep(first, last, xi))
        return xi, _log_slope(b, first, last, xi)


def _steffen(steep: Tensor, widths: Tensor) -> Tensor:
    """Slopes between neighbouring bins (Steffen 1990), ``(..., bins - 1)``."""
    before, after = steep[..., :-1], steep[..., 1:]
    width, next_width = widths[..., :-1], widths[..., 1:]
    parabola = (before * next_width + after * width) / (width + next_width)
    return torch.minimum(parabola, 2.0 * torch.minimum(before, after))


def _ends(b: Bin) -> tuple[Tensor, Tensor]:
    """End slopes in units of the mean slope."""
    per_slope = b.width / b.height
    return b.slope * per_slope, b.next_slope * per_slope


def _share(first: Tensor, last: Tensor, xi: Tensor) -> Tensor:
    """Share of the height at ``xi``."""
    rest = 1.0 - xi
    return xi * (first * rest * rest + (3.0 - last) * xi * rest + xi * xi)


def _steep(first: Tensor, last: Tensor, xi: Tensor) -> Tensor:
    """Its derivative."""
    rest = 1.0 - xi
    return first * rest * rest + 2.0 * (3.0 - first - last) * xi * rest + last * xi * xi


def _log_slope(b: Bin, first: Tensor, last: Tensor, xi: Tensor) -> Tensor:
    return (b.height / b.width * _steep(first, last, xi)).log()


def _root(first: Tensor, last: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """The ``xi`` at which a share ``below`` of the height lies below and ``above`` above.

    In t = xi / (1 - xi) the cubic is above t^3 + 3 b t^2 + 3 c t - below = 0. It has one positive
    root, the largest. From the nearer end of the bin, ``above`` is at least a half.
    """
    turned = below > above
    below, above = torch.where(turned, above, below), torch.where(turned, below, above)
    first, last = torch.where(turned, last, first), torch.where(turned, first, last)
    b, c, d = ((1.0 - last / 3.0 - below) / above, (first / 3.0 - below) / above, below / above)
    # u = t + b: u^3 + 3 p u - 2 q = 0
    p = c - b * b
    q = 0.5 * (3.0 * b * c - 2.0 * b * b * b + d)
    disc = q * q + p * p * p
    # One real root, by Cardano, on the side where the cube root does not cancel.
    big = (q.abs() + disc.clamp(min=0.0).sqrt()).pow(1.0 / 3.0)
    big = torch.maximum(big, p.abs().sqrt()).clamp(min=1e-18)  # cubes may underflow
    small = p / big
    alone = torch.where(p > 0, 2.0 * q / (big * big + p + small * small), (big - small).copysign(q))
    # Three, of which the largest is wanted.
    angle = torch.atan2((-disc).clamp(min=0.0).sqrt(), q)
    largest = 2.0 * (-p).clamp(min=0.0).sqrt() * torch.cos(angle / 3.0)
    t = (torch.where(disc >= 0, alone, largest) - b).clamp(min=0.0)
    xi = t / (1.0 + t)
    return torch.where(turned, 1.0 - xi, xi)
