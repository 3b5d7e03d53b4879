"""The density of one or several numbers given the columns of a table."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy
import torch
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted
from torch import Tensor

from pushforward.errors import ArgumentError, DataError
from pushforward.estimators.inputs import Inputs, refuse_constant, targets_of
from pushforward.estimators.table import _GAPS, TableEstimator, seed_of
from pushforward.flows.conditional.components import LEAST_LEVEL
from pushforward.numerics.rounding import rounding_step

__all__ = ["FlowRegressor"]

_FEW = 20  # rows below which a density is hardly more than a guess
_NUMBERS = 1 << 23  # that are computed with at a time
_MEAN = 8  # the numbers that a mean takes: it needs no inverse, so that chunks may be larger
_POINTS = 64  # in the place of targets before the one that is predicted

Array = numpy.ndarray[Any, Any]


class FlowRegressor(RegressorMixin, MultiOutputMixin, TableEstimator):  # type: ignore[misc]
    """The whole distribution of a target given X, by conditional normalizing flows.

    ``predict`` gives its mean or its median; its quantiles, intervals, samples and log-densities
    are there as well. The density is the mean of those of several members, networks trained side by
    side on different rows, so that it is wide where they disagree: where there were no rows. Size
    and length of the training follow from the number of rows.

    Several targets come one after the other, each given X and those before it: their joint density
    is exact. What is predicted of one target is averaged over those before it.

    A target that is rounded is learned as the number before it was rounded: its density stays below
    one over the step. A target with values that many rows share exactly, such as zeros, has no
    density there, and finds a narrow peak instead.

    Frames may hold categories, truth values, dates and gaps; arrays hold numbers.

    Args:
        point: what ``predict`` gives, ``mean`` or ``median``.
        members: how many densities are averaged.
        hidden: widths of the hidden layers of each; by default the number of rows decides.
        steps: of training; by default the number of rows decides.
        types: what columns are, where that is not what their values look like, such as
            ``{"phi": "circular:360"}``; see ``TableFlow.fit``.
        missing: ``refuse`` missing values; ``model`` them, as values of their own; or ``drop`` such
            rows, for which NaN is predicted.
        random_state: seed; an int gives the same model every time.

    Attributes:
        model_: the density, a ``flows.Chain``; its context are the rows that X becomes.
        inputs_: what X becomes.
        history_: for each target, how the training went.
        n_targets_: number of targets.
        n_features_in_: number of columns of X.

    Raises:
        ArgumentError: in ``fit``, an argument with a value that cannot be used.
        DataError: a table that cannot be used; the message says which column or target, and why.

    Example:
        >>> rng = numpy.random.default_rng(0)
        >>> X = rng.normal(size=(100, 1))
        >>> y = X[:, 0] + 0.1 * rng.normal(size=100)
        >>> model = FlowRegressor(members=2, steps=60, random_state=0).fit(X, y)
        >>> model.predict([[1.0]]).round(0), model.predict_interval([[1.0]], 0.9).shape
        (array([1.]), (1, 2))
        >>> model.predict_quantiles(X, [0.05, 0.5, 0.95]).shape, model.log_prob(X, y).shape
        ((100, 3), (100,))
    """

    def __init__(
        self,
        point: str = "mean",
        *,
        members: int = 5,
        hidden: Sequence[int] | None = None,
        steps: int | None = None,
        types: Mapping[str, Any] | None = None,
        missing: str = "refuse",
        random_state: Any = None,
    ) -> None:
        self.point = point
        self.members = members
        self.hidden = hidden
        self.steps = steps
        self.types = types
        self.missing = missing
        self.random_state = random_state

    # ------------------------------------------------------------------ fit

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> FlowRegressor:
        """Learn the density of y given X.

        Args:
            X: ``(n, columns)``, an array or a frame.
            y: ``(n,)``, or ``(n, targets)``.
            sample_weight: of the rows, ``(n,)``; a row of weight 0 is left out.
        """
        self._refuse_settings()
        if y is None:
            raise DataError(
                "FlowRegressor.fit: it requires y to be passed, but the target y is None."
            )
        columns = self._frame(X, reset=True)
        targets, self._flat = targets_of("FlowRegressor.fit", y)
        if len(targets) < 2:
            raise DataError(
                "FlowRegressor.fit: y has 1 sample, expected at least 2 rows; a density cannot be "
                "learned from one."
            )
        self.inputs_ = Inputs.learn("FlowRegressor", columns, self.types, self.missing)
        rows = self._rows(columns, targets, "fit")
        used, weights = _used(rows, sample_weight)
        rows, known = rows[used], targets[used]
        refuse_constant("FlowRegressor.fit", known)
        self._learn(rows, known, None if weights is None else weights[used])
        self.n_targets_ = known.shape[1]
        return self

    def _refuse_settings(self) -> None:
        self._refuse_choices(point=("mean", "median"), missing=_GAPS)
        for name in ("members", "steps"):
            value = getattr(self, name)
            if value is not None and (not hasattr(value, "__index__") or value < 1):
                raise ArgumentError(
                    f"FlowRegressor: {name} is {value!r}, expected a whole number from 1 up."
                )
        if self.hidden is not None and not isinstance(self.hidden, list | tuple):
            raise ArgumentError(
                f"FlowRegressor: hidden is {self.hidden!r}, expected widths such as (64, 64)."
            )

    def _learn(self, rows: Tensor, targets: Tensor, weights: Tensor | None) -> None:
        """An ensemble for each target; the seed decides all of it, and nothing else changes."""
        from pushforward.flows import Chain, Ensemble
        from pushforward.networks import Ramps
        from pushforward.training.members import fit_members, plan
        from pushforward.training.randomness import private_randomness

        if len(rows) < _FEW:
            warnings.warn(
                f"FlowRegressor.fit: there are {len(rows)} rows, of which a density can hardly be "
                f"learned; give more of them, {_FEW} at least.",
                UserWarning,
                stacklevel=3,
            )
        chosen, seed = plan(len(rows)), seed_of(self.random_state)
        chosen = chosen._replace(
            hidden=chosen.hidden if self.hidden is None else tuple(self.hidden),
            steps=self.steps or chosen.steps,
        )
        ensembles, histories = [], []
        for i in range(targets.shape[1]):
            seen = torch.cat((rows, targets[:, :i]), 1)
            columns = [*self.inputs_.columns, *[{"value": "number"}] * i]
            with private_randomness(seed + i, torch.device("cpu")):
                ensemble = Ensemble(Ramps.of(columns, seen), self.members, chosen.hidden)
            y = targets[:, i]
            histories.append(
                fit_members(
                    ensemble,
                    seen,
                    y,
                    chosen,
                    weights=weights,
                    jitter=rounding_step(y.numpy()),
                    seed=seed + i,
                )
            )
            ensembles.append(ensemble)
        self.model_ = Chain(ensembles).eval().requires_grad_(False)
        self.history_ = tuple(histories)

    def _rows(self, columns: Any, targets: Tensor | None, method: str) -> Tensor:
        """The rows that X becomes; as many as there are targets."""
        rows = self.inputs_.rows(columns)
        if targets is not None and len(rows) != len(targets):
            raise DataError(
                f"FlowRegressor.{method}: X has {len(rows)} rows and y {len(targets)}, expected "
                f"the same number."
            )
        return rows

    # ------------------------------------------------------------------ predictions

    def predict(self, X: Any) -> Array:
        """Mean or median of the target, as ``point`` says: ``(n,)``, or ``(n, targets)``."""
        if self.point == "median":
            return self._shaped(self._quantiles(X, [0.5])[:, 0])
        return self._shaped(self._each(X, _MEAN, lambda density: density.mean()))

    def predict_quantiles(self, X: Any, quantiles: Any = (0.05, 0.5, 0.95)) -> Array:
        """Numbers that the target lies below with these probabilities.

        Args:
            X: the rows.
            quantiles: probabilities between 0 and 1, at least 1e-12 away from both.

        Returns:
            ``(n, quantiles)``, or ``(n, quantiles, targets)``.
        """
        levels = numpy.atleast_1d(numpy.asarray(quantiles, dtype=numpy.float64))
        inside = (levels >= LEAST_LEVEL) & (levels <= 1.0 - LEAST_LEVEL)
        if levels.ndim != 1 or not levels.size or not inside.all():
            raise ArgumentError(
                f"FlowRegressor.predict_quantiles: quantiles is {quantiles!r:.80}, expected "
                f"numbers between 0 and 1, at least {LEAST_LEVEL} away from both, such as "
                f"[0.05, 0.5, 0.95]."
            )
        return self._shaped(self._quantiles(X, levels))

    def predict_interval(self, X: Any, level: float = 0.9) -> Array:
        """The central interval that holds the target with a probability.

        Args:
            X: the rows.
            level: the probability; as much is left out on either side.

        Returns:
            Lower and upper ends, ``(n, 2)``, or ``(n, 2, targets)``.
        """
        known = isinstance(level, float | int | numpy.number)
        rest = 0.5 * (1.0 - float(level)) if known else 0.0
        if not LEAST_LEVEL <= rest < 0.5:
            raise ArgumentError(
                f"FlowRegressor.predict_interval: level is {level!r}, expected a probability "
                f"between 0 and 1 - {2.0 * LEAST_LEVEL}, such as 0.9."
            )
        return self._shaped(self._quantiles(X, [rest, 1.0 - rest]))

    def _quantiles(self, X: Any, levels: Any) -> Array:
        asked = torch.as_tensor(levels, dtype=torch.float64)
        return self._each(X, len(asked), lambda density: density.quantile(asked))

    def _each(self, X: Any, size: int, figure: Callable[[Any], Tensor]) -> Array:
        """A figure of each target's density, ``(n, …, targets)``."""
        check_is_fitted(self, "model_")

        def of(rows: Tensor) -> Tensor:
            densities = (self.model_.marginal(i, rows, _POINTS) for i in range(self.model_.targets))
            return torch.stack([figure(density) for density in densities], -1)

        points = _POINTS if self.n_targets_ > 1 else 1
        return self._chunked(self._rows(self._frame(X, reset=False), None, ""), of, size * points)

    def log_prob(self, X: Any, y: Any) -> Array:
        """Log-density of y given X, ``(n,)``: nats, in the unit of y; several targets jointly."""
        check_is_fitted(self, "model_")
        columns = self._frame(X, reset=False)
        targets, _ = targets_of("FlowRegressor.log_prob", y)
        if targets.shape[1] != self.n_targets_:
            raise DataError(
                f"FlowRegressor.log_prob: y has {targets.shape[1]} targets, expected "
                f"{self.n_targets_}, as in fit."
            )
        width = targets.shape[1]
        both = torch.cat((self._rows(columns, targets, "log_prob"), targets), 1)
        return self._chunked(
            both, lambda part: self.model_.log_prob(part[:, -width:], part[:, :-width]), 1
        )

    def sample(self, X: Any, n_samples: int = 1, random_state: Any = None) -> Array:
        """Draws of the target for each row of X.

        Args:
            X: the rows.
            n_samples: how many draws of each.
            random_state: seed; by default the estimator's own.

        Returns:
            ``(n, n_samples)``, or ``(n, n_samples, targets)``.
        """
        check_is_fitted(self, "model_")
        if not hasattr(n_samples, "__index__") or n_samples < 1:
            raise ArgumentError(
                f"FlowRegressor.sample: n_samples is {n_samples!r}, expected at least 1."
            )
        state = self.random_state if random_state is None else random_state
        generator = torch.Generator().manual_seed(seed_of(state))
        rows = self._rows(self._frame(X, reset=False), None, "sample")
        return self._shaped(
            self._chunked(
                rows,
                lambda part: self.model_.sample(int(n_samples), part, generator).transpose(0, 1),
                int(n_samples),
            )
        )

    def _chunked(self, rows: Tensor, function: Callable[[Tensor], Tensor], size: int) -> Array:
        """A function of rows, chunk by chunk; NaN for those that hold a gap.

        Args:
            rows: ``(n, width)``.
            function: of some of them.
            size: how many numbers of y it looks at for each.
        """
        first = self.model_.step(0)
        widest = max(part.shape[-1] for part in first.network.weights)
        each = first.members * size * max(widest, first.map.raw_width)
        whole = ~rows.isnan().any(1)
        found: Tensor | None = None
        with torch.no_grad():
            for some in torch.split(whole.nonzero()[:, 0], max(1, _NUMBERS // each)):
                part = function(rows[some])
                if found is None:
                    found = part.new_full((len(rows), *part.shape[1:]), torch.nan)
                found[some] = part
            if found is None:  # all have gaps
                like = function(torch.zeros_like(rows[:1]))
                found = like.new_full((len(rows), *like.shape[1:]), torch.nan)
        return found.numpy()

    def _shaped(self, values: Array) -> Array:
        """Without the targets' axis where y came in without it."""
        return values[..., 0] if self._flat else values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _used(rows: Tensor, sample_weight: Any) -> tuple[Tensor, Tensor | None]:
    """Which rows count, and their weights.

    Raises:
        DataError: fewer than two of them.
    """
    used, weights = ~rows.isnan().any(1), None
    if sample_weight is not None:
        checked = _check_sample_weight(
            sample_weight, rows.numpy(), dtype=numpy.float64, ensure_non_negative=True
        )
        weights = torch.tensor(checked)
        used = used & (weights > 0.0)
    if int(used.sum()) < 2:
        raise DataError(
            f"FlowRegressor.fit: {int(used.sum())} rows are complete and have a weight above zero, "
            f"expected at least 2."
        )
    return used, weights
