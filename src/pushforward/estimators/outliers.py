"""Outliers and novelties: rows that are less likely than those of the training table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from pushforward.errors import ArgumentError
from pushforward.estimators.table import TableEstimator

__all__ = ["FlowOutlierDetector"]

_AUTO = 0.05  # share of the training rows that count as outliers where nobody says


class FlowOutlierDetector(OutlierMixin, TableEstimator):
    """Outliers by the density of a normalizing flow.

    A row's ``outlier_score`` is the share of the training rows that were likelier: 0.99 is rarer
    than 99 of 100 of them, whatever the units and the number of columns.

    With ``typicality`` a row is odd, too, where it is much likelier than rows usually are. In many
    columns the likeliest place is one where hardly any row lies: a flow of photographs finds a
    grey picture likelier than any photograph (Nalisnick et al. 2019, arXiv:1810.09136).

    Args:
        contamination: share of the training rows that count as outliers, 0 to 0.5; ``auto`` is
            0.05.
        typicality: whether rows that are too likely are odd, too.
        flow: ``auto``, the name of a recipe, or a ``Flow``.
        settings: arguments of the recipe.
        types: what columns are, where that is not what their values look like.
        missing: ``refuse``, ``drop`` or ``model`` missing values.
        options: further arguments of ``TableFlow.fit``.
        random_state: seed; an int gives the same model every time.

    Attributes:
        table_: the fitted ``TableFlow``.
        offset_: score below which a row is an outlier.
        n_features_in_: number of columns.

    Example:
        >>> import warnings
        >>> X = numpy.random.default_rng(0).normal(size=(100, 2))
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")  # so few rows
        ...     model = FlowOutlierDetector(options={"steps": 5}, random_state=0).fit(X)
        >>> model.predict([[0.0, 0.0], [9.0, 9.0]])
        array([ 1, -1])
    """

    def __init__(
        self,
        contamination: float | str = "auto",
        *,
        typicality: bool = False,
        flow: Any = "auto",
        settings: Mapping[str, Any] | None = None,
        types: Mapping[str, Any] | None = None,
        missing: str = "refuse",
        options: Mapping[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        self.contamination = contamination
        self.typicality = typicality
        self.flow = flow
        self.settings = settings
        self.types = types
        self.missing = missing
        self.options = options
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> FlowOutlierDetector:
        """Learn what rows usually look like."""
        share = _AUTO if self.contamination == "auto" else self.contamination
        if not isinstance(share, float | int) or not 0.0 < share <= 0.5:
            raise ArgumentError(
                f"FlowOutlierDetector: contamination is {self.contamination!r}, expected 'auto' or "
                f"a share above 0 and up to 0.5."
            )
        self._fit_table(X, sample_weight)
        log_p = self._scored(X)
        self._usual = float(numpy.mean(log_p))
        scores = self._score(log_p)
        self._known = numpy.sort(scores)
        self.offset_ = float(numpy.quantile(scores, share))
        return self

    def score_samples(self, X: Any) -> numpy.ndarray[Any, Any]:
        """The lower, the odder: the log-density, with ``typicality`` less its distance to usual."""
        return self._score(self._scored(X))

    def _score(self, log_p: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
        return -numpy.abs(log_p - self._usual) if self.typicality else log_p

    def outlier_score(self, X: Any) -> numpy.ndarray[Any, Any]:
        """Share of the training rows that were less odd, ``(n,)``: 1 is far out."""
        from pushforward.tables.rows import share_above

        return share_above(self._known, self.score_samples(X))

    def decision_function(self, X: Any) -> numpy.ndarray[Any, Any]:
        """Score less ``offset_``: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> numpy.ndarray[Any, Any]:
        """1 for usual rows, -1 for outliers."""
        check_is_fitted(self, "table_")
        return numpy.where(self.decision_function(X) < 0.0, -1, 1)
