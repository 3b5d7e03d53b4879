"""Clusters that may be bent: normal densities chosen by BIC, joined where no valley parts them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy
import torch
from torch import Tensor

__all__ = ["GaussianClusters"]

_Numbers = numpy.ndarray[Any, Any]

_LOOKED_AT = 4_000  # rows, at most
_COMPONENTS = 10  # normal densities that are tried, at least: bent clusters need several
_SETTINGS: dict[str, Any] = {"reg_covar": 1e-4, "random_state": 0}
_RESAMPLED = 15  # mixtures fitted to rows drawn again
_SMOOTHER: dict[str, Any] = {"reg_covar": 1e-3, "init_params": "k-means++", "max_iter": 50}
_NEIGHBOURS = 10
_VALLEY = 0.5  # of the lower of two densities: where it is deeper than that, it parts clusters
_USUAL = 0.65  # quantile of the densities of a cluster's rows that is its height


class GaussianClusters:
    """Clusters of rows, each of one normal density or of several.

    Plain Gaussian mixtures of 1, 2 … components are compared by BIC. It finds the number of
    clusters that are normal; of a bent one it makes several components. Two components are
    therefore of the same cluster if rows lead from one to the other along which the density never
    falls below half of the lower of the two. The density is the mean of mixtures of rows drawn
    again, since a single one has dips wherever two of its components meet.

    Args:
        x: rows, ``(n, features)``; columns are standardized here.
        count: the number of clusters, or None to let valleys decide.
        most: clusters, at most.

    Attributes:
        bic: of mixtures of 1, 2 … components; the parameters of k components in d columns are
            k - 1 shares, k d means and k d (d + 1) / 2 covariances.
        count: clusters.

    Source: joining components: Baudry, Raftery, Celeux, Lo, Gottardo 2010 (J. Comp. Graph. Stat.
        19); Hennig 2010 (Adv. Data Anal. Classif. 4). Differs: by the valley between them.
    """

    def __init__(self, x: _Numbers, count: int | None, most: int) -> None:
        self._mean, self._std = torch.from_numpy(x.mean(0)), torch.from_numpy(x.std(0))
        some = numpy.random.RandomState(0).permutation(len(x))[:_LOOKED_AT]
        z = (x[some] - x.mean(0)) / x.std(0)
        tried = min(max(most, count or 1, _COMPONENTS), len(z))
        mixtures = [_mixture(z, k + 1) for k in range(tried)]
        self.bic = numpy.array([mixture.bic(z) for mixture in mixtures])
        chosen = int(self.bic.argmin())
        if count is not None:
            chosen = max(chosen, count - 1)
        self._mixture = mixtures[chosen]
        joined = _joined(z, self._mixture, count, most if count is None else count)
        sizes = numpy.bincount(joined, self._mixture.weights_)
        from_largest = (-sizes).argsort(kind="stable").argsort()
        self.groups, self.count = torch.from_numpy(from_largest[joined]), len(sizes)

    @property
    def bent(self) -> bool:
        """Whether a cluster is of several components."""
        return len(self.groups) > self.count

    def shares(self, x: Tensor) -> Tensor:
        """How much of each row belongs to each cluster, ``(n, clusters)``, in float64."""
        mixture, z = self._mixture, (x - self._mean) / self._std
        factors = torch.from_numpy(mixture.precisions_cholesky_)
        apart = z[:, None] - torch.from_numpy(mixture.means_)
        standard = torch.einsum("nkd,kde->nke", apart, factors)
        height = factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        height = height + torch.from_numpy(mixture.weights_).clamp_min(1e-12).log()
        each = torch.softmax(height - 0.5 * standard.square().sum(-1), -1)
        made = each.new_zeros(len(x), self.count)
        return made.index_add(1, self.groups, each)


def _mixture(z: _Numbers, components: int, **settings: Any) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        # a mixture of more components than rows that differ, or one that goes on improving
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(components, **{**_SETTINGS, **settings}).fit(z)


def _joined(z: _Numbers, mixture: Any, count: int | None, most: int) -> _Numbers:
    """The cluster of each component; those that the shallowest valleys part are joined first."""
    members = [[k] for k in range(mixture.n_components)]
    if len(members) > 1 and len(members) != count:
        met, heights = _landscape(z, mixture)
        while len(members) > max(count or 1, 1):
            depths = {
                (a, b): _valley(met, heights, members[a], members[b])
                for a in range(len(members))
                for b in range(a)
            }
            a, b = max(depths, key=lambda pair: depths[pair])
            if count is None and len(members) <= most and depths[a, b] < math.log(_VALLEY):
                break
            members[b] += members.pop(a)
    found = numpy.empty(mixture.n_components, dtype=numpy.int64)
    for cluster, own in enumerate(members):
        found[own] = cluster
    return found


def _valley(met: _Numbers, heights: list[_Numbers], one: list[int], other: list[int]) -> float:
    """Logarithm of the density at the pass between two clusters, less the lower one's.

    The height of a cluster is that of most of its rows, so that a component that lies in a valley
    is no bridge over it.
    """
    tops = [
        numpy.quantile(numpy.concatenate([heights[k] for k in each]), _USUAL)
        for each in (one, other)
    ]
    return float(met[numpy.ix_(one, other)].max() - min(tops))


def _landscape(z: _Numbers, mixture: Any) -> tuple[_Numbers, list[_Numbers]]:
    """Log-densities at the highest pass between each two components, and of the rows of each."""
    log_p, own = _log_density(z, mixture.n_components), mixture.predict(z)
    tops, heights = [], []
    for k in range(mixture.n_components):
        rows = numpy.flatnonzero(own == k)
        if not len(rows):  # one that no row belongs to lies where its nearest row is
            rows = numpy.square(z - mixture.means_[k]).sum(1).argmin()[None]
        tops.append(int(rows[log_p[rows].argmax()]))
        heights.append(log_p[rows])
    return _meetings(z, log_p, tops), heights


def _log_density(z: _Numbers, components: int) -> _Numbers:
    """Logarithm of the mean density of mixtures fitted to rows drawn again."""
    state = numpy.random.RandomState(0)
    each = []
    for seed in range(_RESAMPLED):
        rows = z[state.randint(0, len(z), len(z))]
        fitted = _mixture(rows, components, random_state=seed, **_SMOOTHER)
        each.append(fitted.score_samples(z))
    found: _Numbers = numpy.logaddexp.reduce(each, axis=0) - math.log(len(each))
    return found


def _meetings(z: _Numbers, log_p: _Numbers, tops: Sequence[int]) -> _Numbers:
    """Lowest log-density on the best path between two tops, from neighbour to neighbour.

    Rows are joined to their neighbours from the densest on; where two tops become connected, the
    last row was their pass.
    """
    from sklearn.neighbors import kneighbors_graph

    near = kneighbors_graph(z, min(_NEIGHBOURS, len(z) - 1)).tocoo()
    heights = numpy.minimum(log_p[near.row], log_p[near.col])
    parent = list(range(len(z)))
    inside: list[list[int]] = [[] for _ in parent]
    for k, top in enumerate(tops):
        inside[top].append(k)
    found = numpy.full((len(tops), len(tops)), -numpy.inf)
    for same in inside:  # two whose top is the same row
        found[numpy.ix_(same, same)] = numpy.inf

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for edge in (-heights).argsort(kind="stable"):
        a, b = root(int(near.row[edge])), root(int(near.col[edge]))
        if a != b:
            found[numpy.ix_(inside[a], inside[b])] = heights[edge]
            found[numpy.ix_(inside[b], inside[a])] = heights[edge]
            parent[a] = b
            inside[b] += inside[a]
    return found
