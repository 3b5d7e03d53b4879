"""scikit-learn's GaussianMixture: full covariance, components chosen on the validation rows."""

from __future__ import annotations

import time
import warnings

import numpy
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from competitors import Fitted
from competitors.race import Race

COMPONENTS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
PATIENCE = 3  # numbers of components in a row that are no better end the search
STARTS = 3  # of each number of components; scikit-learn keeps the likeliest


def fit(race: Race) -> Fitted:
    """Fit every number of components and keep the best; its time is not limited."""
    began = time.perf_counter()
    train, validation, test = (
        race.standardized(part).astype(numpy.float64) for part in ("train", "validation", "test")
    )
    tried, best, best_figure, worse = [], None, -numpy.inf, 0
    for components in COMPONENTS[:3] if race.small else COMPONENTS:
        mixture = GaussianMixture(
            components, n_init=STARTS, max_iter=500, reg_covar=1e-6, random_state=race.seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(train)
        figure = float(mixture.score(validation))
        tried.append(
            {
                "components": components,
                "validation_nats": figure + race.logdet,
                "converged": bool(mixture.converged_),
            }
        )
        worse += 1
        if figure > best_figure:
            best, best_figure, worse = mixture, figure, 0
        if worse == PATIENCE:
            break
    assert best is not None
    components, features = best.means_.shape
    return Fitted(
        best.score_samples(test) + race.logdet,
        components * (1 + features + features * (features + 1) // 2) - 1,
        time.perf_counter() - began,
        {"components": int(components), "starts": STARTS, "tried": tried},
    )
