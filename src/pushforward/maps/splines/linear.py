"""Monotone piecewise linear splines: a density of steps."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.maps.splines.spline import Bin, Knots, Spline, pinned

__all__ = ["Linear"]


class Linear(Spline):
    r"""Piecewise linear map of a box, in bins of equal width and learned heights.

    Inside a bin of width w and height h, with xi = (x - x0) / w,

        z = y0 + h xi.

    The slope jumps at every knot, and so does the density; it jumps at the ends of the box and at
    the seam of a circle too. ``Quadratic`` is the simplest spline whose density is continuous.

    Args:
        bins: number of bins.
        box: half width of the box, or ``None`` to read it off the data (3.5 until ``fit``).
        tails: outside the box, ``linear`` goes on with a learned slope from 0.21 to 2.6, which is
            not the slope of the outermost bin; ``identity`` with slope 1; ``circular`` wraps x into
            the box; ``none`` has no outside: the log-derivative there is -inf in both directions.
        min_height: smallest height of a bin, as a share of the box.

    Shapes:
        x, z: ``(*batch, features)``; raw: ``(*batch, features, raw_width)``

    Raises:
        ArgumentError: bins below 1, an unknown kind of tails, circular tails without a box, a
            minimum that does not fit the box.
        ShapeError: in ``fit``, a number of features that the map is not bound to.
        DataError: in ``fit``, if there is no row, or a column holds values that are not finite.

    Cost: about ten elementwise operations in either direction; exact.

    Source: Müller et al. 2019, arXiv:1808.03856.
        Differs: the box is the data's, and has tails. The widths are equal, as there: moving a
        jump of the density along x has no unbiased gradient.

    Example:
        >>> import torch
        >>> heights = torch.tensor([3.0, 1.0]).log().expand(3, 1, 2)
        >>> x = torch.tensor([[-1.0], [0.0], [1.0]])
        >>> z, _ = Linear(bins=2, box=1.0, tails="none", min_height=1e-6)(x, heights)
        >>> z.squeeze()
        tensor([-1.0000,  0.5000,  1.0000])
    """

    def __init__(
        self,
        bins: int = 8,
        box: float | None = None,
        tails: str = "linear",
        min_height: float = 1e-3,
    ) -> None:
        super().__init__(bins, box, tails, min_width=0.5 / max(bins, 1), min_height=min_height)
        self.raw_width = bins + (2 if tails == "linear" else 0)

    def _knots(self, raw: Tensor) -> Knots:
        k = self.bins
        heights = torch.softmax(raw[..., :k], -1) * (1.0 - k * self.min_height) + self.min_height
        places = pinned(torch.stack((torch.full_like(heights, 1.0 / k), heights), -2))
        slopes = heights.new_ones(*heights.shape[:-1], k + 1)  # a bend has none
        if self.tails == "linear":
            ends = self._tail_slopes(raw[..., k:])
            slopes = torch.cat((ends[..., :1], slopes[..., 1:-1], ends[..., 1:]), -1)
        return Knots(places, slopes)

    @staticmethod
    def _rise(b: Bin, xi: Tensor) -> tuple[Tensor, Tensor]:
        return b.height * xi, (b.height / b.width).log()

    @staticmethod
    def _run(b: Bin, rise: Tensor) -> tuple[Tensor, Tensor]:
        return (rise / b.height).clamp(0.0, 1.0), (b.height / b.width).log()
