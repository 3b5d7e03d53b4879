"""How many separate groups the rows of a table lie in."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.numerics.order_statistics import central_range
from pushforward.numerics.subset import some_of

__all__ = ["count_groups"]

_LOOKED_AT = 4_000  # rows, at most
_NEIGHBOURS = 1 / 200  # share of the rows whose farthest is a row's spacing
_FEWEST = 5  # of them, however few rows there are
_FEWEST_OF_ONE = 40  # in one column, where any thin spot is a gap
_GAP = 1.4  # of the spacing that four fifths of the rows stay below: what is wider is a gap
_USUAL = 0.999  # share of each column that sets its scale; what lies outside is moved to the edge
_LEAST_SHARE = 0.04  # of the rows, for a group
_STRAY = 0.2  # share of rows in no group, above which there are none: only crests of one density


def count_groups(x: Tensor) -> int:
    """Number of groups with gaps between them, 1 where the rows hang together.

    Density-based clustering (DBSCAN) of some of the rows, each column in units of its standard
    deviation, with a reach that is read off the distances between neighbours. What lies between
    the whole numbers of a count is no gap.

    Args:
        x: rows, ``(n, columns)``.

    Source: Ester, Kriegel, Sander, Xu 1996 (KDD), "A density-based algorithm for discovering
        clusters in large spatial databases with noise"

    Example:
        >>> near = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
        >>> count_groups(near), count_groups(torch.cat((near, near + 20.0)))
        (1, 2)
    """
    from sklearn.cluster import DBSCAN
    from sklearn.neighbors import NearestNeighbors

    fewest = _FEWEST if x.shape[1] > 1 else _FEWEST_OF_ONE
    if len(x) < 2 * fewest:
        return 1
    rows = _standardized(x).numpy()
    near = max(round(_NEIGHBOURS * len(rows)), fewest)
    distances = NearestNeighbors(n_neighbors=near, algorithm="kd_tree").fit(rows).kneighbors()[0]
    reach = _GAP * float(torch.from_numpy(distances[:, -1]).quantile(0.8))
    if reach == 0.0:  # most rows are equal
        return 1
    labels = DBSCAN(eps=reach, min_samples=near, algorithm="kd_tree").fit(rows).labels_
    sizes = torch.bincount(torch.from_numpy(labels) + 1)[1:]
    sizes = sizes[sizes >= _LEAST_SHARE * len(rows)]
    return len(sizes) if int(sizes.sum()) >= (1.0 - _STRAY) * len(rows) else 1


def _standardized(x: Tensor) -> Tensor:
    """Some of the rows, in standard deviations, with the steps of rounded columns filled."""
    rows = x[some_of(len(x), _LOOKED_AT, x.device)].double().cpu()
    rows = rows.clamp(*central_range(rows, _USUAL))
    steps = torch.stack([_step(column) for column in rows.T])
    noise = torch.rand(rows.shape, generator=torch.Generator().manual_seed(0), dtype=rows.dtype)
    rows = rows + steps * (noise - 0.5)
    return (rows - rows.mean(0)) / rows.std(0).clamp_min(torch.finfo(rows.dtype).tiny)


def _step(column: Tensor) -> Tensor:
    """What lies between neighbouring values, in the middle of all pairs: 1 for whole numbers."""
    gaps = column.sort().values.diff()
    gaps = gaps[gaps > 0]
    return gaps.median() if len(gaps) else column.new_zeros(())
