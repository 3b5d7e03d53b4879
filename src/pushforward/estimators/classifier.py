"""Classes by the density that rows have in each of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    _check_y,
    check_consistent_length,
    check_is_fitted,
    check_random_state,
)

from pushforward.errors import ArgumentError, DataError
from pushforward.estimators.calibration import Calibration, calibrated
from pushforward.estimators.class_gaussians import ClassStart
from pushforward.estimators.numbers import blurred, rounded, with_columns
from pushforward.estimators.table import (
    _CLASS,
    _GAPS,
    _WEIGHTS,
    TableEstimator,
    in_words_of,
    seed_of,
)

__all__ = ["FlowClassifier"]

_Numbers = numpy.ndarray[Any, Any]

_FEW = 1_500  # rows below which the start is close to the best, and training short
_STEPS, _ROWS_A_STEP = 40, 5  # fewest, and what one more of them is taken for
_MIXED_STEPS, _MIXED_ROWS_A_STEP = 60, 2  # where not all columns are plain numbers
_LARGE = 1e-2  # learning rate for these
_SMALL = 500  # rows below which more of them are held out, to calibrate by


class FlowClassifier(ClassifierMixin, TableEstimator):  # type: ignore[misc]
    """Classes by densities: one normalizing flow of the columns, given the class.

    A row's probabilities follow from how likely it is in each class, and how frequent that is
    (Bayes' rule). All classes share one network; it starts from a normal density for each class,
    whose covariance is drawn to that of all where rows are few. In many columns flows are too
    sure of the class. What tells the classes apart is therefore divided by a temperature, which
    makes the log loss of held-out rows least.

    Frames may hold categories, dates and gaps. Numbers are blurred within the step that they are
    rounded to, so that whole numbers have a density, and columns may be sums of others.

    Args:
        flow: ``auto``, the name of a recipe, or a ``Flow`` that reads the class as its context.
        priors: probabilities of the classes, in the order of ``classes_``; by default their
            shares.
        settings: arguments of the recipe.
        types: what columns are, where that is not what their values look like; see
            ``TableFlow.fit``.
        missing: ``refuse`` or ``model`` missing values.
        options: further arguments of ``TableFlow.fit``, such as ``{"epochs": 20}``.
        random_state: seed; an int gives the same model every time.

    Attributes:
        table_: the fitted ``TableFlow``, of the columns given the class.
        classes_: the classes.
        priors_: their probabilities.
        temperature_: what log-densities are divided by; above 1 where they are too sure.
        n_features_in_: number of columns.

    Raises:
        ArgumentError: priors that are none, or ``missing="drop"``.
        DataError: columns that cannot be used.

    Example:
        >>> import warnings
        >>> X = numpy.random.default_rng(0).normal(size=(60, 2))
        >>> y = numpy.repeat(["left", "right"], 30)
        >>> X[y == "right", 0] += 9.0
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")  # so few rows
        ...     model = FlowClassifier(options={"steps": 5}, random_state=0).fit(X, y)
        >>> model.predict([[0.0, 0.0], [9.0, 0.0]])
        array(['left', 'right'], dtype='<U5')
    """

    def __init__(
        self,
        flow: Any = "auto",
        *,
        priors: Any = None,
        settings: Mapping[str, Any] | None = None,
        types: Mapping[str, Any] | None = None,
        missing: str = "refuse",
        options: Mapping[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        self.flow = flow
        self.priors = priors
        self.settings = settings
        self.types = types
        self.missing = missing
        self.options = options
        self.random_state = random_state

    # ------------------------------------------------------------------ fit

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> FlowClassifier:
        """Learn the density of the rows of each class.

        Args:
            X: the rows.
            y: the class of each.
            sample_weight: weight of each row; rows without weight are left out.
        """
        if self.missing == "drop":
            raise ArgumentError(
                "FlowClassifier: missing is 'drop', expected 'refuse' or 'model': every row gets a "
                "class."
            )
        self._refuse_choices(missing=_GAPS)
        self._refuse_options()
        if y is None:
            raise ArgumentError(
                "FlowClassifier.fit: requires y to be passed, but the target y is None."
            )
        frame = self._frame(X, reset=True)
        y = _check_y(y, estimator=self)
        check_classification_targets(y)
        check_consistent_length(X, y)
        self.classes_, codes = numpy.unique(y, return_inverse=True)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        counts = numpy.bincount(codes, weights, len(self.classes_)).astype(numpy.float64)
        self.priors_ = self._priors(counts)
        self._known = numpy.flatnonzero(counts > 0.0)
        with in_words_of(self):
            self._fit_classes(frame, codes, weights)
        return self

    def _priors(self, counts: _Numbers) -> _Numbers:
        given: _Numbers = numpy.asarray(
            counts if self.priors is None else self.priors, dtype=numpy.float64
        )
        if given.shape != counts.shape or not (given >= 0.0).all() or not given.sum() > 0.0:
            raise ArgumentError(
                f"FlowClassifier: priors are {self.priors!r}, expected {len(counts)} numbers from "
                f"0 up, one for each class."
            )
        found: _Numbers = given / given.sum()
        return found

    def _fit_classes(self, frame: Any, codes: _Numbers, weights: _Numbers | None) -> None:
        """Fit the table of the columns given the class, and what calibrates it."""
        from pushforward.tables import TableFlow

        seed = seed_of(self.random_state)
        types = dict(self.types or {})
        blur = blurred(frame, check_random_state(seed), types)
        self._blurred = blur._replace(frame=None)
        if len(blur.constant) == len(blur.names):
            raise DataError(
                "FlowClassifier.fit: all columns of X have the same value in every row, expected "
                "at least one that varies; there is nothing to tell classes by."
            )
        types |= dict.fromkeys(blur.numbers, "real")
        added: dict[str, Any] = {}
        context = (_CLASS,) if len(self._known) > 1 else ()
        if context:
            added[_CLASS] = codes.astype(str).tolist()
            types[_CLASS] = "categorical"
        if weights is not None:
            added[_WEIGHTS] = weights
        named: dict[str, Any] = {
            # constant ones say nothing of the class, and may hold anything later
            "columns": [name for name in blur.names if name not in blur.constant],
            "context": context,
            "weights": None if weights is None else _WEIGHTS,
            "types": types,
            "missing": self.missing,
        }
        frame = with_columns(blur.frame, added)
        plain = len(blur.numbers) + len(blur.constant) == len(blur.names)
        options = self._options(len(codes), plain and self.missing == "refuse")
        settings, ready = dict(self.settings or {}), None
        if context and "start" not in settings and isinstance(self.flow, str):
            settings, ready = self._with_start(frame, named, settings, seed, options)
        table = TableFlow(self.flow, settings=settings or None, seed=seed)
        self.table_ = table.fit(frame, ready=ready, **named, **options)
        self._calibration = Calibration()
        if context:
            held = self._held_out(frame, seed, options)
            self._calibration = calibrated(*held, self.priors_)
        self.temperature_ = self._calibration.temperature

    def _options(self, rows: int, plain: bool) -> dict[str, Any]:
        """Arguments of ``TableFlow.fit``, with those that few rows need.

        Plain numbers start from normal densities; what else there is has all to be learned.
        """
        given = {"progress": False, **(self.options or {})}
        if rows < _SMALL:
            given.setdefault("validation", 0.2)
        if rows < _FEW and not given.keys() & {"steps", "epochs"}:
            given["steps"] = max(_STEPS, rows // _ROWS_A_STEP)
            if not plain and isinstance(self.flow, str):
                given["steps"] = max(_MIXED_STEPS, rows // _MIXED_ROWS_A_STEP)
                given.setdefault("lr", _LARGE)
        return given

    def _with_start(
        self,
        frame: Any,
        named: Mapping[str, Any],
        settings: dict[str, Any],
        seed: int,
        options: Mapping[str, Any],
    ) -> tuple[dict[str, Any], Any]:
        """Settings with a start of a normal density a class, and what places it on the rows."""
        from pushforward.data.readers import open_table
        from pushforward.networks import MixedEncoding
        from pushforward.tables import infer_schema
        from pushforward.tables.fitting import read
        from pushforward.tables.schema.matrix import layouts

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # fit warns of the same
            schema = infer_schema(frame, **named)
        features, given = layouts(schema)
        assert given is not None
        if not features.plain:
            return settings, None
        classes = len(schema.column(_CLASS).labels)
        kept = MixedEncoding(features.mixed).outputs if features.mixed else 0
        start = ClassStart(len(features.plain), kept + classes, classes)

        def ready(schema: Any, choice: Any, flow: Any) -> None:
            share = options.get("validation", 0.1)
            rows = read(open_table(frame), schema, share, seed, options)[0]
            start.place(rows, features.head)

        return {**settings, "start": start.transform}, ready

    def _held_out(
        self, frame: Any, seed: int, options: Mapping[str, Any]
    ) -> tuple[_Numbers, _Numbers, _Numbers | None]:
        """Log-densities of held-out rows in each class, their classes, and their weights."""
        from pushforward.data.readers import open_table
        from pushforward.tables.fitting import read

        table, share = self.table_, options.get("validation", 0.1)
        held = read(open_table(frame), table.schema, share, seed, options)[1]
        labels = [int(label) for label in table.schema.column(_CLASS).labels]
        log_p = numpy.full((len(held.x), len(self.classes_)), -numpy.inf)
        assert held.context is not None
        for place_of, label in enumerate(labels):
            context = torch.full_like(held.context, float(place_of))
            log_p[:, label] = table._scorer().log_prob(held.x, context).numpy()
        codes = numpy.asarray(labels)[held.context[:, 0].long().numpy()]
        return log_p, codes, None if held.weights is None else held.weights.double().numpy()

    # ------------------------------------------------------------------ predictions

    def _log_densities(self, X: Any) -> _Numbers:
        """Log-densities of rows in each class, ``(n, classes)``; -inf in one without rows."""
        check_is_fitted(self, "table_")
        frame = self._frame(X, reset=False)
        with in_words_of(self):
            return self._each_class(frame)

    def _each_class(self, frame: Any) -> _Numbers:
        if len(self._known) == 1:
            log_p = self.table_.log_prob(frame)
            found = numpy.full((len(log_p), len(self.classes_)), -numpy.inf)
            found[:, self._known[0]] = log_p
            return found
        rows = len(next(iter(frame.values()))) if isinstance(frame, Mapping) else len(frame)
        found = numpy.full((rows, len(self.classes_)), -numpy.inf)
        for code in self._known:
            given = with_columns(frame, {_CLASS: [str(code)] * rows})
            found[:, code] = self.table_.log_prob(given)
        return found

    def predict_log_proba(self, X: Any) -> _Numbers:
        """Logarithms of the probabilities of the classes, ``(n, classes)``."""
        log_p = self._log_densities(X)
        return self._calibration.log_probabilities(log_p, self.priors_)

    def predict_proba(self, X: Any) -> _Numbers:
        """Probabilities of the classes, ``(n, classes)``."""
        found: _Numbers = numpy.exp(self.predict_log_proba(X))
        return found

    def predict(self, X: Any) -> _Numbers:
        """The likeliest class of each row, ``(n,)``."""
        log_p = self.predict_log_proba(X)  # which says so, if it is not fitted
        found: _Numbers = self.classes_[log_p.argmax(1)]
        return found

    def score_samples(self, X: Any) -> _Numbers:
        """Log-density of each row whatever its class, nats, ``(n,)``: low where rows are odd."""
        with numpy.errstate(divide="ignore"):
            joint = self._log_densities(X) + numpy.log(self.priors_)
        found: _Numbers = numpy.logaddexp.reduce(joint, axis=1)
        return found

    # ------------------------------------------------------------------ samples

    def sample(
        self, n_samples: int = 1, y: Any = None, random_state: Any = None
    ) -> tuple[Any, _Numbers]:
        """New rows and their classes.

        Args:
            n_samples: how many.
            y: their class, or one for each; by default they are drawn by ``priors_``.
            random_state: seed; by default the model's.

        Returns:
            a frame where a frame came in, else an array; and the classes, ``(n_samples,)``.

        Raises:
            ArgumentError: a class that no row had.
        """
        check_is_fitted(self, "table_")
        seed = seed_of(self.random_state if random_state is None else random_state)
        codes = self._codes(n_samples, y, check_random_state(seed))
        if len(self._known) > 1:
            labels = codes.astype(str).tolist()
            drawn = self.table_.sample(1, given={_CLASS: labels}, seed=seed)
        else:
            drawn = self.table_.sample(n_samples, seed=seed)
        return self._as_came(rounded(self._blurred, drawn)), self.classes_[codes]

    def _codes(self, n: int, y: Any, state: numpy.random.RandomState) -> _Numbers:
        if not hasattr(n, "__index__") or n < 1:
            raise ArgumentError(f"FlowClassifier.sample: n_samples is {n!r}, expected 1 or more.")
        if y is None:
            shares = self.priors_[self._known]
            drawn: _Numbers = state.choice(self._known, size=n, p=shares / shares.sum())
            return drawn
        asked = numpy.broadcast_to(numpy.asarray(y), (n,))
        places = {self.classes_[code]: int(code) for code in self._known}
        codes = numpy.array([places.get(one, -1) for one in asked.tolist()])
        if (codes < 0).any():
            odd = asked[int((codes < 0).argmax())]
            known = ", ".join(map(repr, self.classes_[self._known].tolist()))
            raise ArgumentError(
                f"FlowClassifier.sample: y holds {odd.item() if hasattr(odd, 'item') else odd!r}, "
                f"expected one of the classes that rows had: {known}."
            )
        return codes
