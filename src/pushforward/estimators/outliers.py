"""Outliers and novelties: rows that are less likely than those of the training table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy
import torch
from sklearn.base import OutlierMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from pushforward.errors import ArgumentError, DataError
from pushforward.estimators.blurring import OneHotInputs, learn, normality
from pushforward.estimators.table import _GAPS, TableEstimator, seed_of

__all__ = ["FlowOutlierDetector"]

_AUTO = 0.05  # share of the training rows that count as outliers where nobody says
_FEW = 20  # rows
Array = numpy.ndarray[Any, Any]


class FlowOutlierDetector(OutlierMixin, TableEstimator):  # type: ignore[misc]
    """Outliers by the density of a normalizing flow.

    A row's ``outlier_score`` is the share of the training rows that were less odd: 0.99 is odder
    than 99 of 100 of them, whatever the units and the number of columns.

    **The score.** With ``density="blurred"`` a row's score is ``log p(x) + 0.5 sum_j log q_j(x_j)``
    in nats of standardized columns: p is the density of the rows, q_j that of a column, all of
    them of rows blurred by normal noise of 0.04 standard deviations. log p is the mean of two
    flows. Of the rows as they are, likelihood alone is a poor score:

    - Where columns are rounded, copied or sums of others, the density has spikes without bound; the
      height of a spike would decide, and a narrow gap between two numbers would be as odd as a far
      place. Noise makes both no higher than it is wide. Flows learn it for all sizes of noise at
      once, so that coarse shapes, which few rows tell, help to find the fine ones.
    - In many columns the joint density is mostly about how columns hang together, and of that a
      flow knows the least. The columns' own densities are known well, from few rows, too; in them
      an extreme number of a single column is not drowned by the others.
    - Rows may even be too likely. In many columns the likeliest place is one where hardly any row
      lies: a flow of photographs finds a grey picture likelier than any photograph (Nalisnick et
      al. 2019, arXiv:1810.09136). With ``typicality`` a row is odd, too, where it is much likelier
      than rows usually are.

    With ``density="table"`` the score is the plain density of a ``TableFlow`` in the table's own
    units, to be read as such.

    Densities are fitted to the training rows, which therefore seem less odd than fresh ones do: in
    a table of some hundred rows and many columns, by far. Ranks of fresh rows among each other are
    sound all the same; where ``predict`` or ``outlier_score`` of fresh rows matter, hold rows out
    with ``options={"validation": 0.1}``, so that training stops in time.

    **What X may be.** An array holds numbers, which are taken as they are. A frame may hold
    labels, truth values, dates and gaps besides: labels become columns of zeros and ones, dates
    numbers, and a label that was never seen is odd. Rows may be fewer than columns, columns may be
    constant or copies. Tables of at most 100 rows are learned in 60 steps in the place of 300,
    within a second on a free core; that costs little.

    Args:
        contamination: share of the training rows that count as outliers, 0 to 0.5; ``auto`` is
            0.05.
        density: ``blurred`` or ``table``.
        typicality: whether rows that are too likely are odd, too.
        flow: of ``density="table"``: ``auto``, the name of a recipe, or a ``Flow``.
        settings: of ``density="table"``: arguments of the recipe.
        types: what columns are, where that is not what their values look like.
        missing: ``refuse``, ``drop`` or ``model`` missing values; the score of a row that is
            dropped is NaN, and ``predict`` says -1 of it: nobody can say that it is usual.
        options: further arguments of ``pf.fit``, or of ``TableFlow.fit`` with ``density="table"``.
        random_state: seed; an int gives the same model every time.

    Attributes:
        joint_: with ``density="blurred"``: the density of the rows, a ``flows.Blurred``.
        columns_: with ``density="blurred"``: those of the columns, a ``flows.BlurredColumns``.
        inputs_: with ``density="blurred"``: how X becomes numbers.
        table_: with ``density="table"``: the fitted ``TableFlow``.
        offset_: score below which a row is an outlier.
        n_features_in_: number of columns.

    Raises:
        ArgumentError: in ``fit``, an argument with a value that cannot be used.
        DataError: a table that cannot be used; the message says which column, and why.

    Example:
        >>> X = numpy.random.default_rng(0).normal(size=(100, 2))
        >>> model = FlowOutlierDetector(options={"steps": 20}, random_state=0).fit(X)
        >>> model.predict([[0.0, 0.0], [9.0, 9.0]])
        array([ 1, -1])
        >>> model.outlier_score([[0.0, 0.0], [9.0, 9.0]]).round(1)
        array([0.3, 1. ])
    """

    def __init__(
        self,
        contamination: float | str = "auto",
        *,
        density: str = "blurred",
        typicality: bool = False,
        flow: Any = "auto",
        settings: Mapping[str, Any] | None = None,
        types: Mapping[str, Any] | None = None,
        missing: str = "refuse",
        options: Mapping[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        self.contamination = contamination
        self.density = density
        self.typicality = typicality
        self.flow = flow
        self.settings = settings
        self.types = types
        self.missing = missing
        self.options = options
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> FlowOutlierDetector:
        """Learn what rows usually look like.

        Args:
            X: ``(n, columns)``, an array or a frame.
            y: not looked at.
            sample_weight: of the rows, ``(n,)``. With ``density="blurred"`` n rows are taken in
                proportion to it, each as often as its share of all the weight says.
        """
        share = self._refuse_settings()
        self._blurred = self.density == "blurred"
        if self._blurred:
            log_p = self._fit_blurred(X, sample_weight)
        else:
            self._fit_table(X, sample_weight)
            log_p = super()._scored(X)
        log_p = log_p[~numpy.isnan(log_p)]  # rows that were dropped
        self._usual = float(numpy.mean(log_p))
        scores = self._score(log_p)
        self._known = numpy.sort(scores)
        self.offset_ = float(numpy.quantile(scores, share))
        return self

    def _refuse_settings(self) -> float:
        """The share of outliers, if that and the rest can be used."""
        share = _AUTO if self.contamination == "auto" else self.contamination
        if not isinstance(share, float | int | numpy.number) or not 0.0 < share <= 0.5:
            raise ArgumentError(
                f"FlowOutlierDetector: contamination is {self.contamination!r}, expected 'auto' or "
                f"a share above 0 and up to 0.5."
            )
        self._refuse_choices(density=("blurred", "table"), missing=_GAPS)
        if self.density == "blurred":
            self._refuse_options(without=("context", "weights", "objective", "seed"))
        if self.density == "blurred" and (self.flow not in (None, "auto") or self.settings):
            raise ArgumentError(
                "FlowOutlierDetector: flow or settings are given, which the blurred density does "
                "not take; add density='table'."
            )
        return float(share)

    # ------------------------------------------------------------------ blurred rows

    def _fit_blurred(self, X: Any, sample_weight: Any) -> Array:
        """Learn, and return the scores of the rows that were learned from."""
        frame = self._frame(X, reset=True)
        self.inputs_ = OneHotInputs.learn("FlowOutlierDetector", frame, self.types, self.missing)
        rows = self.inputs_.rows(frame)
        used = ~rows.isnan().any(1)
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, rows.numpy(), dtype=numpy.float64, ensure_non_negative=True
            )
            rows = rows[_drawn(numpy.where(used, weights, 0.0))]
        else:
            rows = rows[used]
        if len(rows) < 2:
            raise DataError(
                f"FlowOutlierDetector.fit: {len(rows)} rows are complete, expected at least 2."
            )
        if len(rows) < _FEW:
            warnings.warn(
                f"FlowOutlierDetector.fit: there are {len(rows)} rows, which hardly tell what is "
                f"odd; give more of them, {_FEW} at least.",
                UserWarning,
                stacklevel=3,
            )
        seed = seed_of(self.random_state)
        self.joint_, self.columns_ = learn(rows, seed, self.options or {})
        return normality(self.joint_, self.columns_, rows).numpy()

    def _scored(self, X: Any) -> Array:
        check_is_fitted(self, "offset_")
        if not self._blurred:
            return super()._scored(X)
        rows = self.inputs_.rows(self._frame(X, reset=False))
        whole = ~rows.isnan().any(1)
        found = torch.full((len(rows),), torch.nan, dtype=torch.float64)
        found[whole] = normality(self.joint_, self.columns_, rows[whole])
        return found.numpy()

    # ------------------------------------------------------------------ scores

    def score_samples(self, X: Any) -> Array:
        """The lower, the odder: the score, with ``typicality`` less its distance to the usual."""
        return self._score(self._scored(X))

    def _score(self, log_p: Array) -> Array:
        return -numpy.abs(log_p - self._usual) if self.typicality else log_p

    def outlier_score(self, X: Any) -> Array:
        """Share of the training rows that were less odd, ``(n,)``: 1 is far out."""
        from pushforward.tables.rows import share_above

        return share_above(self._known, self.score_samples(X))

    def decision_function(self, X: Any) -> Array:
        """Score less ``offset_``: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Array:
        """1 for usual rows, -1 for outliers, and for rows without a score, since they have gaps."""
        return numpy.where(self.decision_function(X) >= 0.0, 1, -1)


def _drawn(weights: Array) -> Array:
    """As many rows as there are, in proportion to their weights, evenly and without chance.

    Equal weights give each row once.
    """
    ends = numpy.cumsum(weights)
    if not ends[-1] > 0.0:
        raise DataError(
            "FlowOutlierDetector.fit: no complete row has a weight above zero, expected one."
        )
    places = (numpy.arange(len(weights)) + 0.5) * (ends[-1] / len(weights))
    found: Array = numpy.searchsorted(ends, places, side="right")
    return found.clip(0, len(weights) - 1)
