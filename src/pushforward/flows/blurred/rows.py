"""The density of rows blurred by normal noise, for every size of the noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError, DataError, ShapeError
from pushforward.flows.arrays import as_tensor
from pushforward.flows.blurred.scale import checked_rows, scale_of, standardized
from pushforward.flows.flow import Flow
from pushforward.flows.recipes import nsf
from pushforward.flows.savable import Savable
from pushforward.spec import Part

__all__ = ["Blurred", "size_as_context"]

_LEAST_VARIANCE = 1e-9  # of an axis that rows vary along; what is less is rounding
_LAYERS, _AFFINE, _BINS = 3, 2, 6  # of a flow
_LOG_2PI = math.log(2.0 * math.pi)


class Blurred(Savable, Part, nn.Module):
    """The density of rows blurred by normal noise of any size.

    Along the leading principal axes of the standardized rows the blurred rows are brought to unit
    variance, whatever the noise, and flows that are told its size learn the rest. Along the other
    axes the density is the Gaussian that noise and variance make; along directions in which the
    rows do not vary at all it is the noise alone. So there is a density whatever the rows are:
    fewer than columns, columns that are copies, rounded numbers. Before training all of it is a
    Gaussian, at every size that of the blurred rows.

    Coarse shapes, of large noise, teach the fine ones: one network makes all of them.

    Args:
        features: number of columns.
        rank: number of axes that rows vary along.
        flows: of the leading axes, each with a context of one number, the size of the noise; all
            with the same number of features, up to ``rank``. The density is their average.
        sizes: least and largest size of the noise, in standard deviations of a column.

    Attributes:
        modelled: number of axes that the flows see.

    Shapes:
        x: ``(*batch, features)``; size: a number or ``(*batch,)``; log_prob: ``(*batch,)``, nats
        in the units of x

    Raises:
        ArgumentError: sizes or widths that do not fit; in ``log_prob``, a size beyond ``sizes``.
        ShapeError: x of another width.
        DataError: in ``fit``, rows that are none, hold what is not finite, or are too few.

    Source: Kim et al. 2020, arXiv:2006.04604. Differs: the density is that of the blurred rows at
        the size that is asked for, none is left out at the end; noise in standard deviations
        of columns; log-uniform sizes.

    Example:
        >>> x = torch.randn(200, 2, generator=torch.manual_seed(0)) * torch.tensor([1.0, 1e-6])
        >>> blurred = Blurred.of(x, hidden=(8,), seed=0)  # not trained: a Gaussian
        >>> blurred.log_prob([[0.0, 0.0]], size=0.5).round(decimals=1).detach()
        tensor([11.8000], dtype=torch.float64)
    """

    mean: Tensor
    deviation: Tensor
    axes: Tensor
    variance: Tensor

    def __init__(
        self,
        features: int,
        rank: int,
        flows: Sequence[Flow] = (),
        sizes: Sequence[float] = (0.02, 1.5),
    ) -> None:
        super().__init__()
        _refuse_arguments(features, rank, flows, sizes)
        self.features, self.rank = features, rank
        self.sizes = (float(sizes[0]), float(sizes[1]))
        self.flows = nn.ModuleList(flows)
        self.modelled = flows[0].event_shape[0] if flows else 0
        zero = torch.zeros(features, dtype=torch.float64)
        self.register_buffer("mean", zero)
        self.register_buffer("deviation", zero + 1.0)
        self.register_buffer("axes", torch.eye(rank, features, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(rank, dtype=torch.float64))

    @classmethod
    def of(
        cls,
        x: Any,
        *,
        members: int = 1,
        hidden: Sequence[int] = (64, 64),
        most: int = 64,
        sizes: Sequence[float] = (0.02, 1.5),
        seed: int = 0,
    ) -> Blurred:
        """One for rows ``(n, features)``, with spline flows that are not trained yet.

        Args:
            x: the rows; scale and axes are read off them.
            members: number of flows.
            hidden: widths of the hidden layers of their networks.
            most: axes that the flows see, at most.
            sizes: least and largest size of the noise.
            seed: of the weights.
        """
        rows = torch.as_tensor(x)
        rows = checked_rows("Blurred.of", rows, rows.shape[-1] if rows.ndim else 0)
        found = _principal(rows)
        modelled = min(most, len(found.variance))
        flows = [
            nsf(
                modelled,
                1,
                layers=_LAYERS,
                hidden=hidden,
                bins=_BINS,
                affine=_AFFINE,
                mix="none",  # principal axes are mixed already
                start="none",  # and scaled
                seed=seed + i,
            )
            for i in range(members if modelled else 0)
        ]
        made = cls(rows.shape[1], len(found.variance), flows, sizes)
        made.mean, made.deviation, made.axes, made.variance = found
        return made

    def fit(self, x: Any) -> Blurred:
        """Read scale and axes off rows ``(n, features)``; the flows are trained apart from it."""
        rows = checked_rows("Blurred.fit", torch.as_tensor(x), self.features)
        found = _principal(rows)
        if len(found.variance) < self.rank:
            raise DataError(
                f"Blurred.fit: the rows vary along {len(found.variance)} axes, expected at least "
                f"{self.rank}; Blurred.of(x) makes one for them."
            )
        self.mean, self.deviation = found.mean, found.deviation
        self.axes, self.variance = found.axes[: self.rank], found.variance[: self.rank]
        return self

    def along(self, x: Any) -> Tensor:
        """Places of rows along the axes that the flows see, ``(*batch, modelled)``."""
        return self._standardized(x) @ self.axes[: self.modelled].T

    def forward(self, x: Any, size: Any) -> Tensor:
        """The same as ``log_prob``."""
        return self.log_prob(x, size)

    def log_prob(self, x: Any, size: Any) -> Tensor:
        """Log-density of rows that noise of this size is added to, nats, ``(*batch,)``.

        Args:
            x: ``(*batch, features)``.
            size: deviation of the noise, in standard deviations of each column.
        """
        each = self.log_probs(x, size)
        return each.logsumexp(0) - math.log(len(each))

    def log_probs(self, x: Any, size: Any) -> Tensor:
        """That under each flow, ``(members, *batch)``."""
        z = self._standardized(x)
        size = self._size(size).expand(z.shape[:-1])
        along = z @ self.axes.T
        variance = self.variance + size.square()[..., None]
        latent = along / variance.sqrt()
        lost = self.features - self.rank  # directions that are noise alone
        off = (z - along @ self.axes).square().sum(-1) / size.square() if lost else 0.0
        rest = latent[..., self.modelled :].square().sum(-1)
        lengths = 0.5 * variance.log().sum(-1) + lost * size.log() + self.deviation.log().sum()
        constant = 0.5 * (self.features - self.modelled) * _LOG_2PI
        normal: Tensor = -0.5 * (rest + off) - lengths - constant
        if not self.flows:
            return normal[None]
        context = size_as_context(size, self.sizes)[..., None]
        seen = latent[..., : self.modelled]
        each = torch.stack([flow(seen, context).double() for flow in self.flows])
        return each + normal

    def _standardized(self, x: Any) -> Tensor:
        x = as_tensor("Blurred.log_prob", "x", x, torch.float64, self.mean.device)
        if x.shape[-1:] != (self.features,):
            raise ShapeError(
                f"Blurred.log_prob: x has shape {tuple(x.shape)}, expected (*batch, "
                f"{self.features})."
            )
        return standardized(x, self.mean, self.deviation)

    def _size(self, size: Any) -> Tensor:
        made = as_tensor("Blurred.log_prob", "size", size, torch.float64, self.mean.device)
        least, most = self.sizes
        slack = 1.0 + 1e-6  # the ends in float32 are sizes, too
        if not bool(((made >= least / slack) & (made <= most * slack)).all()):
            raise ArgumentError(
                f"Blurred.log_prob: size is {size}, expected numbers from {least} to {most}."
            )
        return made

    def precise(self) -> Blurred:
        """Turn the flows to float64, in which the score of a row does not depend on its batch."""
        self.flows.double().requires_grad_(False).eval()
        return self


def size_as_context(size: Tensor, sizes: Sequence[float]) -> Tensor:
    """What a flow is told of the size of the noise: its logarithm, from -1 to 1."""
    least, most = sizes
    return 2.0 * (size / least).log() / math.log(most / least) - 1.0


class _Principal(NamedTuple):
    """Scale of the columns, and the axes that standardized rows vary along, leading ones first."""

    mean: Tensor
    deviation: Tensor
    axes: Tensor
    variance: Tensor


def _principal(x: Tensor) -> _Principal:
    mean, deviation = scale_of(x)
    z = standardized(x, mean, deviation)
    if z.shape[0] >= z.shape[1]:
        variance, columns = torch.linalg.eigh(z.T @ z / len(z))
        variance, axes = variance.flip(0), columns.T.flip(0)
    else:
        _, singular, axes = torch.linalg.svd(z, full_matrices=False)
        variance = singular.square() / len(z)
    varying = int((variance > _LEAST_VARIANCE).sum())
    return _Principal(mean, deviation, axes[:varying].contiguous(), variance[:varying].contiguous())


def _refuse_arguments(
    features: int, rank: int, flows: Sequence[Flow], sizes: Sequence[float]
) -> None:
    if features < 1 or not 0 <= rank <= features:
        raise ArgumentError(
            f"Blurred: features is {features} and rank {rank}, expected at least one feature and "
            f"a rank from 0 to their number."
        )
    if len(sizes) != 2 or not 0.0 < sizes[0] < sizes[1] < math.inf:
        raise ArgumentError(
            f"Blurred: sizes is {sizes!r}, expected two numbers above 0, the second the larger."
        )
    shapes = {(flow.event_shape, flow.context) for flow in flows}
    if len(shapes) > 1 or any(len(s) != 1 or s[0] > rank or c != 1 for s, c in shapes):
        raise ArgumentError(
            f"Blurred: the flows have events and contexts {sorted(shapes)}, expected the same of "
            f"all, at most {rank} features and a context of width 1."
        )
