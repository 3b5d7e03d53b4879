"""The density of a table, as scikit-learn's density estimators are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from pushforward.estimators.table import TableEstimator, seed_of

__all__ = ["FlowDensity"]


class FlowDensity(DensityMixin, TableEstimator):  # type: ignore[misc]
    """Density of rows by a normalizing flow.

    Frames may hold categories, dates, whole numbers and gaps; arrays hold numbers.

    Args:
        flow: ``auto``, the name of a recipe, or a ``Flow``.
        settings: arguments of the recipe.
        types: what columns are, where that is not what their values look like; see
            ``TableFlow.fit``.
        missing: ``refuse``, ``drop`` or ``model`` missing values.
        unseen: what becomes of a label at scoring that no training row had: ``error`` refuses it,
            ``lowest`` gives it the density of the least likely one.
        options: further arguments of ``TableFlow.fit``, such as ``{"epochs": 20}``.
        random_state: seed; an int gives the same model every time.

    Attributes:
        table_: the fitted ``TableFlow``.
        n_features_in_: number of columns.

    Raises:
        ArgumentError: in ``fit``, an argument or an option with a value that cannot be used.
        DataError: a table that cannot be used; the message says which column, and why.

    Example:
        >>> import warnings
        >>> X = numpy.random.default_rng(0).normal(size=(50, 2))
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")  # so few rows
        ...     model = FlowDensity(options={"steps": 5}, random_state=0).fit(X)
        >>> model.score_samples(X).shape, model.sample(3).shape
        ((50,), (3, 2))
    """

    def __init__(
        self,
        flow: Any = "auto",
        *,
        settings: Mapping[str, Any] | None = None,
        types: Mapping[str, Any] | None = None,
        missing: str = "refuse",
        unseen: str = "error",
        options: Mapping[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        self.flow = flow
        self.settings = settings
        self.types = types
        self.missing = missing
        self.unseen = unseen
        self.options = options
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> FlowDensity:
        """Learn the density of the rows of X."""
        self._refuse_choices(unseen=("error", "lowest"))
        self._fit_table(X, sample_weight)
        return self

    def score_samples(self, X: Any) -> numpy.ndarray[Any, Any]:
        """Log-density of each row, nats, ``(n,)`` in float64."""
        return self._scored(X)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-density of the rows, nats a row: higher is better."""
        return float(numpy.mean(self.score_samples(X)))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """New rows: a frame where a frame came in, else an array."""
        check_is_fitted(self, "table_")
        state = self.random_state if random_state is None else random_state
        return self._as_came(self.table_.sample(n_samples, seed=seed_of(state)))
