"""A distribution function interpolated in a table."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pushforward.errors import ArgumentError, DataError
from pushforward.numerics.order_statistics import central_range, refuse_empty, refuse_not_finite
from pushforward.numerics.subset import some_of
from pushforward.transforms.domains.box import Box, box_ends
from pushforward.transforms.support.base import Pointwise

__all__ = ["Interp"]

_BINS = 64
_MOST = 1000  # so that even an empty bin rises by several roundings of float32
_UNFITTED = 3.5  # half width of the box until the data says another
_SHARE = 0.999  # the central share of the data that the box covers
_FLOOR = 1e-3  # share of the mass that lies evenly over the box: no bin is empty
_ROWS = 1 << 17  # that are counted, at most


class _Bin(NamedTuple):
    """The bin each number falls in: left end and height in z, end slopes over the mean slope."""

    low: Tensor
    height: Tensor
    slope: Tensor
    next_slope: Tensor


class Interp(Pointwise):
    r"""Line to (0, 1) by the distribution function of each feature, interpolated in a table.

    The table holds its values at the ends of ``bins`` equal bins. In a bin of height h, with
    xi from 0 to 1 along it and end slopes a, b over the mean slope, q = xi (1 - xi),

        z = z0 + h (xi^2 + a q) / (1 + (a + b - 2) q),

    which is monotone whatever the slopes; those at knots are the harmonic means of the neighbours'.
    Outside the table z goes on to 0 and to 1 along exponentials of the outermost slopes.

    ``fit`` reads box and table off the data: the central 99.9 %, and the share of rows below each
    knot; 0.1 % of the mass is spread evenly over the box, so that no bin is empty. Until then the
    table is that of the standard normal. Followed by ``NormalQuantile`` it makes every feature
    normal. Nothing in it is trained.

    Args:
        features: width of x.
        bins: number of bins; 64 by default, or what ``values`` has.
        low: lower ends of the table, a number or ``(features,)``; ``None`` reads them off the data.
        high: upper ends of the table.
        values: the table, ``(bins + 1,)`` or ``(features, bins + 1)``, increasing in (0, 1), or
            ``None`` to read it off the data.

    Shapes:
        x: ``(*batch, features)``, anywhere; z: the same, in (0, 1); logdet: ``(*batch,)``

    Raises:
        ArgumentError: bins below 1 or above 1000, one end without the other, values without ends,
            or values that do not increase or lie outside (0, 1).
        DataError: at ``fit``, if there is no row, or a column is constant or not finite, or has no
            row in the box.

    Cost: a look into the table and a few dozen elementwise operations, and back a search in it;
        exact, by the quadratic formula. In float32 numbers beside one are 6e-8 apart: where the
        distribution function is nearly flat there, z tells little of x.

    Source: Gregory, Delbourgo 1982, doi:10.1093/imanum/2.2.123

    Example:
        >>> x = torch.randn(1000, 1, generator=torch.manual_seed(0))
        >>> z, logdet = Interp(1).fit(x)(x)
        >>> bool((z.sort(0).values[:, 0] - torch.linspace(0, 1, 1000)).abs().max() < 0.02)
        True
    """

    low: Tensor
    high: Tensor
    values: Tensor

    def __init__(
        self,
        features: int,
        bins: int | None = None,
        low: float | Tensor | None = None,
        high: float | Tensor | None = None,
        values: Tensor | None = None,
    ) -> None:
        super().__init__(features)
        if (low is None) is not (high is None) or (values is not None and low is None):
            raise ArgumentError(
                "Interp: expected low and high together, and both where values are given; "
                "write Interp(features, low=…, high=…, values=…)."
            )
        self.bins = _count(bins, values)
        self._box_given, self._values_given = low is not None, values is not None
        a, b = (-_UNFITTED, _UNFITTED) if low is None or high is None else (low, high)
        for name, end in zip(("low", "high"), box_ends("Interp", a, b, features), strict=True):
            self.register_buffer(name, end)
        if values is None:
            line = torch.linspace(-_UNFITTED, _UNFITTED, self.bins + 1)
            values = 0.5 * torch.erfc(-math.sqrt(0.5) * line)
        self.register_buffer("values", _table(values, features, self.bins))

    @property
    def codomain(self) -> Box:
        """(0, 1)."""
        return Box(0.0, 1.0)

    def fit(self, x: Tensor, context: Tensor | None = None) -> Interp:
        """Read box and table off ``(n, features)``, except what was given at construction."""
        if self._values_given:
            return self
        x = x.detach().reshape(-1, self.event_shape[0]).to(torch.float64)
        refuse_empty("Interp.fit", x)
        if not self._box_given:
            low, high = central_range(x, _SHARE)
            _refuse_constant(low, high)
            self.low.copy_(low)
            self.high.copy_(high)
        low, high = self.low.to(x), self.high.to(x)
        share = torch.linspace(0.0, 1.0, self.bins + 1, dtype=x.dtype, device=x.device)
        knots = torch.lerp(low[:, None], high[:, None], share)
        rows = x if len(x) <= _ROWS else x[some_of(len(x), _ROWS, x.device)]
        ordered = rows.mT.contiguous().sort(-1).values
        # ties count half: the middle of a jump
        below, upto = (torch.searchsorted(ordered, knots, right=right) for right in (False, True))
        counted = (below + upto).to(x) / (2.0 * len(rows))
        least = 0.5 / len(rows)
        first, last = counted[:, :1].clamp_min(least), counted[:, -1:].clamp_max(1.0 - least)
        _refuse_empty(low, high, last - first)
        counted = ((counted - first) / (last - first)).clamp(0.0, 1.0)
        self.values.copy_(torch.lerp(first, last, torch.lerp(counted, share, _FLOOR)))
        return self

    def _there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        table = self._bins_of_table()
        width = (self.high - self.low) / self.bins
        place = ((x - self.low) / width).clamp(0.0, self.bins)
        index = place.detach().nan_to_num().long().clamp(0, self.bins - 1)
        z, log_slope = _rise(place - index, _look_up(table, index))
        below, above = (self.low - x).clamp_min(0.0), (x - self.high).clamp_min(0.0)
        rate, end_rate = self._rates(table, width)
        fall, end_fall = rate * below, end_rate * above
        z = torch.where(below > 0, self.values[:, 0] * (-fall).exp(), z)
        z = torch.where(above > 0, 1.0 - (1.0 - self.values[:, -1]) * (-end_fall).exp(), z)
        return z, log_slope - width.log() - fall - end_fall

    def _back(self, z: Tensor) -> tuple[Tensor, Tensor]:
        table = self._bins_of_table()
        width = (self.high - self.low) / self.bins
        first, last = self.values[:, 0], self.values[:, -1]
        inside = torch.maximum(torch.minimum(z, last), first)
        index = _search(self.values[:, :-1], inside.detach())
        found = _look_up(table, index)
        xi = _root(((inside - found.low) / found.height).clamp(0.0, 1.0), found)
        log_slope = _rise(xi, found)[1]
        rate, end_rate = self._rates(table, width)
        fall = -(torch.minimum(z, first) / first).log()
        end_fall = -(torch.minimum(1.0 - z, 1.0 - last) / (1.0 - last)).log()
        x = self.low + (index + xi) * width - fall / rate + end_fall / end_rate
        return x, width.log() - log_slope + fall + end_fall

    def _bins_of_table(self) -> Tensor:
        """Every bin as ``_Bin`` has it, ``(features, bins, 4)``."""
        height = self.values.diff(dim=-1)
        inner = 2.0 / (1.0 / height[:, :-1] + 1.0 / height[:, 1:])
        slopes = torch.cat((height[:, :1], inner, height[:, -1:]), -1)
        ends = (slopes[:, :-1] / height, slopes[:, 1:] / height)
        return torch.stack((self.values[:, :-1], height, *ends), -1)

    def _rates(self, table: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Decay of both exponential tails, such that z has no kink at the ends of the table."""
        slopes = table[:, (0, -1), 1] / width[:, None]
        return slopes[:, 0] / self.values[:, 0], slopes[:, 1] / (1.0 - self.values[:, -1])


def _look_up(table: Tensor, index: Tensor) -> _Bin:
    """The bins of numbers ``(*batch, features)`` whose numbers are in ``index``."""
    wanted = index[..., None, None].expand(*index.shape, 1, 4)
    found = table.expand(*index.shape, *table.shape[1:]).gather(-2, wanted)
    return _Bin(*found.squeeze(-2).unbind(-1))


def _search(left: Tensor, z: Tensor) -> Tensor:
    """The last bin that begins at z or below, by halving; ``left`` are the beginnings of all.

    torch.searchsorted would have every feature in memory of its own, and warns under vmap.
    """
    bins = left.shape[-1]
    index = torch.zeros_like(z, dtype=torch.long)
    each = left.expand(*z.shape, bins)
    step = 1 << (bins - 1).bit_length()
    while step := step // 2:
        farther = (index + step).clamp_max(bins - 1)
        begins = each.gather(-1, farther.unsqueeze(-1)).squeeze(-1)
        index = torch.where(begins <= z, farther, index)
    return index


def _rise(xi: Tensor, at: _Bin) -> tuple[Tensor, Tensor]:
    """Value at xi in a bin, and log dz/dxi."""
    q = xi * (1.0 - xi)
    divisor = 1.0 + (at.slope + at.next_slope - 2.0) * q
    z = at.low + at.height * (xi * xi + at.slope * q) / divisor
    rest = 1.0 - xi
    slope = at.next_slope * xi * xi + 2.0 * q + at.slope * rest * rest
    return z, at.height.log() + slope.log() - 2.0 * divisor.log()


def _root(v: Tensor, at: _Bin) -> Tensor:
    """The xi at which a bin has risen by the share v: the root of ``(1 + b) xi^2 - b xi - v``."""
    b = v * (at.slope + at.next_slope - 2.0) - at.slope
    far = b.abs() + (b * b + 4.0 * (1.0 + b) * v).clamp_min(torch.finfo(v.dtype).tiny).sqrt()
    # of two forms of the root the one that does not cancel
    positive = b > 0
    return torch.where(positive, far, 2.0 * v) / torch.where(positive, 2.0 + 2.0 * b, far)


def _count(bins: int | None, values: Tensor | None) -> int:
    if values is not None:
        shape = torch.as_tensor(values).shape
        if not shape:
            raise ArgumentError(
                "Interp: values is one number, expected (bins + 1,) or (features, bins + 1) of "
                "them."
            )
        found = shape[-1] - 1
        if bins is not None and bins != found:
            raise ArgumentError(
                f"Interp: bins is {bins} and values has {found + 1} knots; leave bins out."
            )
        bins = found
    bins = _BINS if bins is None else bins
    if not 1 <= bins <= _MOST:
        raise ArgumentError(f"Interp: bins is {bins}, expected 1 to {_MOST}.")
    return bins


def _table(values: Tensor, features: int, bins: int) -> Tensor:
    """The table as ``(features, bins + 1)``, checked."""
    given = torch.as_tensor(values, dtype=torch.get_default_dtype()).detach()
    if given.shape not in ((bins + 1,), (features, bins + 1)):
        raise ArgumentError(
            f"Interp: values has shape {tuple(given.shape)}, expected (bins + 1,) or "
            f"({features}, bins + 1)."
        )
    if not bool((given.diff(dim=-1) > 0).all() & (given > 0).all() & (given < 1).all()):
        raise ArgumentError("Interp: values do not increase within (0, 1), ends excluded.")
    return given.expand(features, bins + 1).clone()


def _refuse_empty(low: Tensor, high: Tensor, mass: Tensor) -> None:
    for i, (a, b, share) in enumerate(zip(low.tolist(), high.tolist(), mass.tolist(), strict=True)):
        if not share[0] > 0:
            raise DataError(
                f"Interp.fit: no row of column {i} of x lies between low = {a:g} and high = {b:g}; "
                f"leave low and high out to read them off the data."
            )


def _refuse_constant(low: Tensor, high: Tensor) -> None:
    refuse_not_finite("Interp.fit", low + high)
    for i, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        if not a < b:
            raise DataError(
                f"Interp.fit: column {i} of x is constant ({a:g}); a density needs columns that "
                f"vary: leave it out."
            )
