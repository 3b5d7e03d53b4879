"""The yardstick: a Gaussian with full covariance, or independent columns, of the same rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.tables.assemble import independent, started
from pushforward.tables.layout import Layout
from pushforward.tables.rows import Rows

__all__ = ["GaussianReference", "reference"]


class GaussianReference:
    """Gaussian of x, or of x given a context, by maximum likelihood in float64.

    Fewer than twice as many rows as columns make a poor covariance, and as few as columns one that
    has no inverse: it is then drawn to its diagonal, the more the fewer rows there are.

    Args:
        x: training rows, ``(n, features)``.
        context: their contexts, ``(n, context)``, or None.
        weights: weight of each row, or None.

    Example:
        >>> x = torch.randn(10_000, 2, generator=torch.manual_seed(0))
        >>> value = GaussianReference(x).log_prob(torch.zeros(1, 2))
        >>> round(float(value), 1)
        -1.8
    """

    def __init__(
        self, x: Tensor, context: Tensor | None = None, weights: Tensor | None = None
    ) -> None:
        parts = [x] if context is None else [x, context]
        drawn = _drawn(len(x), sum(part.shape[1] for part in parts), weights)
        self._joint = _moments(parts, weights, drawn)
        self._context = None if context is None else _moments([context], weights, drawn)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density of rows in nats, ``(n,)`` in float64."""
        x = x.double()
        if context is None or self._context is None:
            return _log_prob(x, self._joint)
        both = torch.cat((x, context.double()), -1)
        return _log_prob(both, self._joint) - _log_prob(context.double(), self._context)


def reference(features: Layout, train: Rows, held: Rows) -> tuple[str, Tensor]:
    """What the simplest model of the same columns gives held-out rows, and what it is.

    Where all columns are plain numbers it is a Gaussian with full covariance, of their logarithms
    or logits where they have ends (and then without their context). Mixed columns are independent
    of each other and of these, each with its frequencies and quantiles.
    """
    if not features.mixed and all(features.columns[i].type == "real" for i in features.plain):
        found = GaussianReference(*train).log_prob(held.x, held.context)
        return "Gaussian, full covariance", found
    log_p = torch.zeros(len(held.x), dtype=torch.float64)
    alone = independent(features)
    if alone is not None:
        alone = alone.double().fit(train.x[:, : features.head].double())
        with torch.no_grad():
            log_p = log_p + alone.log_prob(held.x[:, : features.head].double())
    if features.plain:
        plain = slice(features.head, None)
        start = started(features).double().fit(train.x[:, plain].double())
        z, _ = start(train.x[:, plain].double())
        of_held, logdet = start(held.x[:, plain].double())
        log_p = log_p + GaussianReference(z, None, train.weights).log_prob(of_held) + logdet
    if features.mixed:
        return "columns independent of each other", log_p
    return "Gaussian, transformed columns", log_p


_Moments = tuple[Tensor, Tensor]
_WHISKERS = (1e-10, 1e-6, 1e-3)  # shares of the diagonal


def _drawn(rows: int, columns: int, weights: Tensor | None) -> float:
    """How much of a covariance its diagonal takes: none of one that there are rows enough for."""
    count = float(rows)
    if weights is not None:  # rows that are worth as much
        share = weights.double().clamp_min(0.0)
        count = float(share.sum().square() / share.square().sum())
    return min(1.0, max(0.0, (columns + 1) / count - 0.5))


def _moments(parts: list[Tensor], weights: Tensor | None, drawn: float) -> _Moments:
    """Mean and Cholesky factor of the covariance, a chunk of rows at a time."""
    rows = len(parts[0])
    # In float64: shares that add up to 1 + 1e-8 would move the mean of a column far from zero.
    share = torch.ones(rows, dtype=torch.float64) if weights is None else weights.double()
    share = share.clamp_min(0.0)
    share = share / share.sum()
    chunks = [slice(i, i + 65536) for i in range(0, rows, 65536)]

    def take(s: slice) -> tuple[Tensor, Tensor]:
        return torch.cat([part[s].double() for part in parts], -1), share[s][:, None]

    mean = torch.stack([(w * v).sum(0) for v, w in map(take, chunks)]).sum(0)
    products = [((v - mean) * w).T @ (v - mean) for v, w in map(take, chunks)]
    covariance = torch.stack(products).sum(0)
    return mean, _factor(covariance, drawn)


def _factor(covariance: Tensor, drawn: float) -> Tensor:
    """Cholesky factor of a covariance drawn to its diagonal.

    Exactly dependent columns would make it fail: hence a relative whisker on the diagonal. A
    column of a single value has no unit; it is given its own.
    """
    diagonal = covariance.diagonal().clone()
    diagonal = torch.where(diagonal > 0.0, diagonal, 1.0)
    for whisker in _WHISKERS:
        made = (1.0 - drawn) * covariance
        made.diagonal().copy_(diagonal * (1.0 + whisker))
        factor: Tensor
        factor, failed = torch.linalg.cholesky_ex(made)
        if not bool(failed):
            return factor
    return torch.diag(diagonal.sqrt())


def _log_prob(x: Tensor, moments: _Moments) -> Tensor:
    mean, factor = moments
    standard: Tensor = torch.linalg.solve_triangular(factor, (x - mean).T, upper=False)
    constant = factor.diagonal().log().sum() + 0.5 * len(mean) * math.log(2.0 * math.pi)
    return -0.5 * standard.square().sum(0) - constant
