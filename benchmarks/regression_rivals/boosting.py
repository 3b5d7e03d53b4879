"""Gradient boosting of many quantiles, made a density.

The quantiles of a row are sorted. Between two of them the distribution function is a straight
line, and beyond the outermost an exponential through the two outermost. Trees give the same value
for neighbouring levels, which would be a spike: each cell is widened, by how much is chosen on
validation rows. So is how fine the trees are.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy
from sklearn.ensemble import HistGradientBoostingRegressor

from regression_rivals.trial import Scores, Trial, score

LEVELS = numpy.array([0.01, 0.025, 0.05, *numpy.linspace(0.1, 0.9, 9), 0.95, 0.975, 0.99])
TREES = ({"min_samples_leaf": 20, "max_leaf_nodes": 31}, {"min_samples_leaf": 5, "max_depth": 4})
FLOORS = (0.01, 0.03, 0.1, 0.3, 1.0)  # least width of a cell over its probability, deviations of y
Rows = tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray, numpy.ndarray]
ROUNDS, LEARNING_RATE, PATIENCE = 200, 0.1, 10


def fit_boosting(trial: Trial) -> dict[str, Scores]:
    """Fit all members; the first of them is the single model."""
    began = time.perf_counter()
    x, y, x_test, y_test = trial.standardized()
    log_probs, belows, chosen, seconds = [], [], [], []
    trees = None
    for member, (train, held) in enumerate(trial.folds()[: trial.boosting_members]):
        rows = (x[train], y[train], x[held], y[held])
        trees = trees or _choose_trees(rows, trial.seed)
        models = [_fit(rows, level, trees, trial.seed + member) for level in LEVELS]
        quantiles = _predict(models, x[held])
        floor = max(FLOORS, key=lambda f: density(quantiles, y[held], f)[0].mean())
        chosen.append({"floor": floor, **trees})
        log_prob, below = density(_predict(models, x_test), y_test, floor)
        log_probs.append(log_prob)
        belows.append(below)
        seconds.append(time.perf_counter() - began)
    found = {}
    for name, count in (("single", 1), ("ensemble", len(log_probs))):
        if name == "ensemble" and count == 1:
            continue
        facts = {"members": count, "levels": len(LEVELS), "chosen": chosen[:count]}
        found[name] = score(
            trial, numpy.stack(log_probs[:count]), numpy.stack(belows[:count]), seconds[count - 1]
        ).with_facts(facts)
    return found


def _choose_trees(rows: Rows, seed: int) -> dict[str, int]:
    """The trees whose median is nearer to the validation rows."""

    def error(trees: dict[str, int]) -> float:
        return float(abs(_fit(rows, 0.5, trees, seed).predict(rows[2]) - rows[3]).mean())

    return min(TREES, key=error)


def _fit(
    rows: Rows, level: float, trees: dict[str, int], seed: int
) -> HistGradientBoostingRegressor:
    x, y, x_held, y_held = rows
    model = HistGradientBoostingRegressor(
        loss="quantile",
        quantile=level,
        learning_rate=LEARNING_RATE,
        max_iter=ROUNDS,
        early_stopping=True,
        n_iter_no_change=PATIENCE,
        random_state=seed,
        **trees,
    )
    return model.fit(x, y, X_val=x_held, y_val=y_held)


def _predict(models: Sequence[HistGradientBoostingRegressor], x: numpy.ndarray) -> numpy.ndarray:
    """Quantiles ``(n, levels)`` that do not cross."""
    return numpy.sort(numpy.stack([model.predict(x) for model in models], 1), 1)


def density(
    quantiles: numpy.ndarray, y: numpy.ndarray, floor: float
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Log-density of y and the probability of less, each ``(n,)``.

    Args:
        quantiles: ``(n, levels)``, sorted.
        y: ``(n,)``.
        floor: least width of a cell over its probability, about; 1 over it is the largest density.
    """
    gaps = numpy.diff(LEVELS)
    # a root of squares: wide cells stay what they are
    widths = numpy.hypot(numpy.diff(quantiles, axis=1), floor * gaps)
    middle = len(LEVELS) // 2
    ends = numpy.concatenate([numpy.zeros((len(y), 1)), widths.cumsum(1)], 1)
    edges = quantiles[:, [middle]] + ends - ends[:, [middle]]
    cell = (y[:, None] >= edges).sum(1) - 1
    inside = cell.clip(0, len(gaps) - 1)
    row = numpy.arange(len(y))
    share = (y - edges[row, inside]) / widths[row, inside]
    log_prob = numpy.log(gaps[inside] / widths[row, inside])
    below = LEVELS[inside] + share * gaps[inside]
    # the exponential through the two outermost quantiles of either side
    for sign, outer, next_to, first, second in (
        (-1, 0, 1, LEVELS[0], LEVELS[1]),
        (1, -1, -2, 1 - LEVELS[-1], 1 - LEVELS[-2]),
    ):
        beyond = sign * (y - edges[:, outer])
        far = beyond >= 0
        slope = sign * (edges[:, outer] - edges[:, next_to]) / numpy.log(second / first)
        tail = first * numpy.exp(-numpy.maximum(beyond, 0) / slope)
        log_prob = numpy.where(far, numpy.log(tail + 1e-300) - numpy.log(slope), log_prob)
        below = numpy.where(far, tail if sign < 0 else 1 - tail, below)
    return log_prob, below
