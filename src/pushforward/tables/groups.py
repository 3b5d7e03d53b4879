"""How many separate groups the rows of a table lie in."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.numerics.spacing import spread_evenly

__all__ = ["count_groups"]

_LOOKED_AT = 4_000  # rows, evenly spaced
_NEIGHBOURS = 200  # a row has a 200th of the rows within its spacing
_FEWEST = 5  # neighbours, however few rows there are
_GAP = 1.4  # of the spacing that four fifths of the rows stay below: what is wider is a gap
_BLUR = 0.03  # standard deviations: gaps below it, as between whole numbers, are none
_LEAST_SHARE = 0.04  # of the rows, for a group
_STRAY = 0.2  # share of rows in no group, above which there are none: only crests of one density


def count_groups(x: Tensor) -> int:
    """Number of groups with gaps between them, 1 where the rows hang together.

    Density-based clustering (DBSCAN) of some of the rows, each column in units of its standard
    deviation, with a reach that is read off the distances between neighbours.

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

    if len(x) < 2 * _FEWEST:
        return 1
    rows = _standardized(x).numpy()
    near = max(len(rows) // _NEIGHBOURS, _FEWEST)
    distances = NearestNeighbors(n_neighbors=near, algorithm="kd_tree").fit(rows).kneighbors()[0]
    reach = _GAP * float(torch.from_numpy(distances[:, -1]).quantile(0.8))
    labels = DBSCAN(eps=reach, min_samples=near, algorithm="kd_tree").fit(rows).labels_
    sizes = torch.bincount(torch.from_numpy(labels) + 1)[1:]
    sizes = sizes[sizes >= _LEAST_SHARE * len(rows)]
    return len(sizes) if int(sizes.sum()) >= (1.0 - _STRAY) * len(rows) else 1


def _standardized(x: Tensor) -> Tensor:
    """Some of the rows, in standard deviations, with a little noise of a fixed seed."""
    rows = x[spread_evenly(len(x), _LOOKED_AT, x.device)].double().cpu()
    rows = (rows - rows.mean(0)) / rows.std(0).clamp_min(torch.finfo(rows.dtype).tiny)
    noise = torch.Generator().manual_seed(0)
    return rows + _BLUR * torch.randn(rows.shape, generator=noise, dtype=rows.dtype)
