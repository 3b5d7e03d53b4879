"""The outlier detectors that are compared, each behind one small function.

Every function takes a ``Task`` and returns an anomaly score of each row of ``task.test``, higher
for rows less like those of ``task.train``. All of them have their library's defaults; only the
mixture, whose default is a single component, chooses the number of its components by BIC.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy

OURS = "FlowOutlierDetector"
COMPONENTS = (1, 2, 3, 5, 8, 12)  # of the mixture; that with the least BIC is taken
REGULARIZED = 1e-3  # added to its variances: discrete columns would be singular without


@dataclass(frozen=True)
class Task:
    """One job of a detector.

    Attributes:
        train: rows to learn from, ``(n, columns)``, without labels.
        test: rows to score. In the unsupervised protocol the very array that ``train`` is.
        anomaly: whether each row of ``test`` is one; no detector sees it.
        seed: of whatever a detector draws.
    """

    train: numpy.ndarray
    test: numpy.ndarray
    anomaly: numpy.ndarray
    seed: int

    @property
    def unsupervised(self) -> bool:
        """Whether the rows to score are those that were learned from."""
        return self.test is self.train

    @cached_property
    def standardized(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Both tables in standard deviations of the training rows; constant columns are zero."""
        mean, deviation = self.train.mean(0), self.train.std(0)
        deviation[deviation == 0] = 1.0
        train = (self.train - mean) / deviation
        return train, train if self.unsupervised else (self.test - mean) / deviation


def _ours(task: Task) -> numpy.ndarray:
    import pushforward as pf

    detector = pf.FlowOutlierDetector(random_state=task.seed).fit(task.train)
    return -detector.score_samples(task.test)


def _isolation_forest(task: Task) -> numpy.ndarray:
    from sklearn.ensemble import IsolationForest

    train, test = task.standardized
    return -IsolationForest(random_state=task.seed).fit(train).score_samples(test)


def _local_outlier_factor(task: Task) -> numpy.ndarray:
    """With ``novelty=True``; of its own training rows scikit-learn gives what it kept of them."""
    from sklearn.neighbors import LocalOutlierFactor

    train, test = task.standardized
    found = LocalOutlierFactor(novelty=not task.unsupervised).fit(train)
    return -(found.negative_outlier_factor_ if task.unsupervised else found.score_samples(test))


def _mixture(task: Task) -> numpy.ndarray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    train, test = task.standardized
    counts = [count for count in COMPONENTS if count == 1 or count * 10 <= len(train)]
    if train.shape[1] > 200:  # the BIC of a second covariance would never pay
        counts = counts[:1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = [
            GaussianMixture(count, reg_covar=REGULARIZED, random_state=task.seed).fit(train)
            for count in counts
        ]
    best = min(fitted, key=lambda mixture: mixture.bic(train))
    return -best.score_samples(test)


def _ecod(task: Task) -> numpy.ndarray:
    from pyod.models.ecod import ECOD

    return _of_pyod(ECOD(), task)


def _neighbours(task: Task) -> numpy.ndarray:
    from pyod.models.knn import KNN

    return _of_pyod(KNN(), task)


def _of_pyod(detector: object, task: Task) -> numpy.ndarray:
    """PyOD keeps the scores of the training rows, where a row is no neighbour of itself."""
    train, test = task.standardized
    detector.fit(train)
    return detector.decision_scores_ if task.unsupervised else detector.decision_function(test)


METHODS: dict[str, Callable[[Task], numpy.ndarray]] = {
    OURS: _ours,
    "IsolationForest": _isolation_forest,
    "LocalOutlierFactor": _local_outlier_factor,
    "GaussianMixture": _mixture,
    "ECOD": _ecod,
    "KNN": _neighbours,
}
