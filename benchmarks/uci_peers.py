"""scikit-learn's densities for ``uci_tables.py``: mixtures by BIC, kernels by cross-validation.

Both are fitted to rows that were standardized, and to rows that were whitened besides; what suits
the table better by their own criterion is kept. So neither is held up by how columns are scaled or
correlated.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold
from sklearn.neighbors import KernelDensity

from competitors import Fitted

__all__ = ["PEERS"]

COMPONENTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 30, 40, 50, 64, 80, 100)
PATIENCE = 3  # numbers of components in a row without a lower BIC end the search
STARTS = {"standardized": 1, "whitened": 1}  # of each number of components

WIDTHS = numpy.geomspace(2.0, 0.004, 24)  # bandwidths, the widest first
FINER = 5  # bandwidths tried between the best one and each of its neighbours
FOLDS = 5
SCORED = 1_000  # rows of a fold that are scored, at most


class Scale:
    """Affine map of rows to mean zero and unit deviations, or to unit covariance."""

    def __init__(self, rows: numpy.ndarray, whiten: bool):
        self.mean = rows.mean(0)
        deviations = rows.std(0)
        self._matrix = numpy.diag(1.0 / deviations)
        if whiten:
            centred = (rows - self.mean) / deviations
            values, vectors = numpy.linalg.eigh(centred.T @ centred / len(rows))
            self._matrix = self._matrix @ (vectors / numpy.sqrt(values.clip(1e-12)))
        self.logdet = float(numpy.linalg.slogdet(self._matrix)[1])

    def __call__(self, rows: numpy.ndarray) -> numpy.ndarray:
        return (rows - self.mean) @ self._matrix


def mixture(train: numpy.ndarray, test: numpy.ndarray, seed: int, small: bool) -> Fitted:
    """Full covariances; the number of components with the lowest BIC."""
    began = time.perf_counter()
    scales = {name: Scale(train, name == "whitened") for name in STARTS}
    rows = {name: scale(train) for name, scale in scales.items()}
    tried: list[dict[str, Any]] = []
    best, best_name, lowest, worse = None, "", numpy.inf, 0
    for components in COMPONENTS[:3] if small else COMPONENTS:
        worse += 1
        for name, starts in STARTS.items():
            found = GaussianMixture(components, n_init=starts, max_iter=300, random_state=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                found.fit(rows[name])
            bic = float(found.bic(rows[name])) - 2.0 * len(train) * scales[name].logdet
            tried.append({"components": components, "scale": name, "bic": bic})
            if bic < lowest:
                best, best_name, lowest, worse = found, name, bic, 0
        if worse == PATIENCE:
            break
    assert best is not None
    components, features = best.means_.shape
    scale = scales[best_name]
    return Fitted(
        best.score_samples(scale(test)) + scale.logdet,
        components * (1 + features + features * (features + 1) // 2) - 1,
        time.perf_counter() - began,
        {"components": int(components), "scale": best_name, "tried": tried},
    )


def kernels(scaled: str) -> Callable[[numpy.ndarray, numpy.ndarray, int, bool], Fitted]:
    """Normal kernels on standardized or whitened rows; the bandwidth by cross-validation."""

    def fit(train: numpy.ndarray, test: numpy.ndarray, seed: int, small: bool) -> Fitted:
        began = time.perf_counter()
        scale = Scale(train, scaled == "whitened")
        rows = scale(train)
        tried = _crossed(rows, WIDTHS[::4] if small else WIDTHS, seed)
        if not small:
            tried |= _crossed(rows, _between(sorted(tried), max(tried, key=tried.get)), seed)
        best = max(tried, key=tried.get)
        log_prob = KernelDensity(bandwidth=best, rtol=1e-6).fit(rows).score_samples(scale(test))
        return Fitted(
            log_prob + scale.logdet,
            train.size,
            time.perf_counter() - began,
            {
                "bandwidth": float(best),
                "scale": scaled,
                "tried": [[float(width), tried[width]] for width in sorted(tried)],
            },
        )

    return fit


def _crossed(rows: numpy.ndarray, widths: Iterable[float], seed: int) -> dict[float, float]:
    """Mean log-density of rows of each fold under kernels at all others, for each bandwidth.

    What ``KernelDensity.score`` says, from distances that are taken once for all bandwidths.
    """
    widths, features = list(widths), rows.shape[1]
    scores = numpy.zeros(len(widths))
    for inner, held in KFold(FOLDS, shuffle=True, random_state=seed).split(rows):
        squares = euclidean_distances(rows[held[:SCORED]], rows[inner], squared=True)
        nearest = squares.min(1, keepdims=True)
        beyond = (squares - nearest).astype(numpy.float32)
        for i, width in enumerate(widths):
            mass = numpy.exp(beyond * numpy.float32(-0.5 / width**2)).mean(1, dtype=numpy.float64)
            score = numpy.log(mass) - 0.5 * nearest[:, 0] / width**2
            scores[i] += score.mean() - features * math.log(width * math.sqrt(2.0 * math.pi))
    return dict(zip(widths, (scores / FOLDS).tolist(), strict=True))


def _between(widths: list[float], best: float) -> list[float]:
    """Bandwidths between the best one and its neighbours."""
    place = widths.index(best)
    others = (*widths[max(place - 1, 0) : place], *widths[place + 1 : place + 2])
    return [w for other in others for w in numpy.geomspace(best, other, FINER + 2)[1:-1]]


PEERS = {
    "GaussianMixture (BIC)": mixture,
    "KernelDensity (standardized)": kernels("standardized"),
    "KernelDensity (whitened)": kernels("whitened"),
}
