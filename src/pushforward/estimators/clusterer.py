"""Clusters that may be bent: the components of a flow's base."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy
import torch
from sklearn.base import ClusterMixin
from sklearn.utils.validation import check_is_fitted, check_random_state
from torch import Generator, Tensor

from pushforward.bases import GaussianMixture
from pushforward.errors import ArgumentError, DataError
from pushforward.estimators.class_gaussians import moments
from pushforward.estimators.gaussian_clusters import GaussianClusters
from pushforward.estimators.numbers import Blurred, blurred, rounded
from pushforward.estimators.table import TableEstimator, in_words_of, seed_of
from pushforward.flows import Flow, find
from pushforward.objectives import Batch, MaximumLikelihood

if TYPE_CHECKING:
    from pushforward.tables import TableFlow

__all__ = ["FlowClusterer"]

_Numbers = numpy.ndarray[Any, Any]

# Few layers that bend little: strong ones could make two clusters of one, and one of two.
_GENTLE: dict[str, Any] = {"layers": 2, "hidden": (32, 32), "bins": 4, "affine": 2}
_STEPS = (40, 400)  # fewest and most, of each of the two halves of training
_ROWS_A_STEP = 4
_BEND = 100  # steps that it takes to bend clusters, at least
_LARGE = 1e-2  # learning rate for that
_SMOOTHING = 0.05  # of the spread of rows, in training
_LEAST_SHARE = 1e-3  # of the rows, that a cluster starts with
_FARTHEST = 1e100
_CHUNK = 8192  # rows at a time


class FlowClusterer(ClusterMixin, TableEstimator):  # type: ignore[misc]
    """Clusters by a normalizing flow whose base has a normal component for each of them.

    The layers bend these components, so that a cluster need be no ellipse. Where they begin is
    found by plain Gaussian mixtures, among which BIC chooses: its parameters are those of a mixture
    of k components in d columns, k - 1 + k d + k d (d + 1) / 2, its density that of the
    standardized columns. Of a bent cluster BIC makes several components. Two of them count as one
    cluster unless a valley lies between, in which the density falls below half of the lower of the
    two: clusters that overlap more than that, such as round ones nearer than four to five standard
    deviations, are one; ``n_clusters`` parts them. The flow first learns
    these clusters, then the density, with all its parts.

    It takes numbers: arrays, and frames without other columns. They are blurred within the step
    that they are rounded to.

    Args:
        n_clusters: how many; None lets BIC and valleys decide.
        max_clusters: how many there are at most, where that is not said.
        settings: arguments of the recipe ``nsf``, instead of the few and narrow layers it has here.
        options: further arguments of ``TableFlow.fit``; ``steps`` are those of each of the two
            halves of training.
        random_state: seed; an int gives the same model every time.

    Attributes:
        table_: the fitted ``TableFlow``.
        labels_: the cluster of each row, from 0 up, about from the largest on.
        n_clusters_: how many there are.
        bic_: of plain mixtures of 1, 2 … components: lower is better.
        n_features_in_: number of columns.

    Raises:
        ArgumentError: a number of clusters that is none, or above that of the rows.
        DataError: a column that is not of numbers.

    Example:
        >>> import warnings
        >>> X = numpy.random.default_rng(0).normal(size=(60, 2))
        >>> X[:20, 0] += 12.0
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")  # so few rows
        ...     model = FlowClusterer(options={"steps": 5}, random_state=0).fit(X)
        >>> model.n_clusters_, model.predict([[12.0, 0.0], [0.0, 0.0]])
        (2, array([1, 0]))
    """

    missing = "refuse"
    types: Mapping[str, Any] | None = None

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        max_clusters: int = 10,
        settings: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.max_clusters = max_clusters
        self.settings = settings
        self.options = options
        self.random_state = random_state

    # ------------------------------------------------------------------ fit

    def fit(self, X: Any, y: Any = None) -> FlowClusterer:
        """Find clusters, and learn their densities."""
        self._refuse_options(without=("context", "weights", "objective"))
        frame = self._frame(X, reset=True)
        seed = seed_of(self.random_state)
        blur = blurred(frame, check_random_state(seed), {}, atoms=False)
        self._blurred = blur._replace(frame=None)
        _refuse_others(frame, blur.numbers)
        x = numpy.stack([numpy.asarray(blur.frame[name]) for name in blur.numbers], 1)
        clusters = GaussianClusters(x, *self._counts(len(x)))
        self.bic_, self.n_clusters_ = clusters.bic, clusters.count
        with in_words_of(self):
            self.table_ = self._trained(blur, len(x), clusters, seed)
        self.labels_ = self.predict(X)
        return self

    def _counts(self, rows: int) -> tuple[int | None, int]:
        """What was asked for, checked."""
        for name in ("n_clusters", "max_clusters"):
            value = getattr(self, name)
            if value is None and name == "n_clusters":
                continue
            if not hasattr(value, "__index__") or isinstance(value, bool) or value < 1:
                raise ArgumentError(
                    f"FlowClusterer: {name} is {value!r}, expected a whole number from 1 up."
                )
        if self.n_clusters is None:
            return None, operator.index(self.max_clusters)
        if self.n_clusters > rows:
            raise ArgumentError(
                f"FlowClusterer: n_clusters is {self.n_clusters}, and X has {rows} rows, expected "
                f"at most one cluster for each."
            )
        return operator.index(self.n_clusters), operator.index(self.n_clusters)

    def _trained(
        self, blur: Blurred, rows: int, clusters: GaussianClusters, seed: int
    ) -> TableFlow:
        """A table whose base is placed on the clusters; it learns these, then the density."""
        from pushforward.data.readers import open_table
        from pushforward.tables import TableFlow
        from pushforward.tables.fitting import read

        features = len(blur.numbers)
        base = GaussianMixture(features, clusters.count)
        flow = find("nsf").build(
            features, seed=seed, **{**_GENTLE, **(self.settings or {}), "base": base}
        )
        given = {"progress": False, "validation": 0.1, **(self.options or {})}
        fewest, most = _STEPS
        asked = {"steps": given.pop("steps")} if "steps" in given else {}
        steps = asked.get("steps", min(max(fewest, rows // _ROWS_A_STEP), most))
        frame = blur.frame
        # one step, since what looks at the data first would move the base
        table = TableFlow(flow, seed=seed).fit(frame, columns=blur.numbers, steps=1, **given)
        offset = torch.tensor([column.offset for column in table.schema.columns]).double()

        def shares(x: Tensor) -> Tensor:
            return clusters.shares(x.double().cpu() + offset).to(x)

        x = read(open_table(frame), table.schema, given["validation"], seed, given)[0].x
        _place(flow, base, x.to(flow.device), shares)
        if clusters.bent:
            bend = {"steps": max(steps, _BEND), "lr": _LARGE, **given, **asked}
            table.update(frame, objective=_Guided(shares), **bend)
        return table.update(frame, objective=MaximumLikelihood(_SMOOTHING), steps=steps, **given)

    # ------------------------------------------------------------------ predictions

    def predict_proba(self, X: Any) -> _Numbers:
        """Probability that each cluster made each row, ``(n, n_clusters_)``."""
        from pushforward.tables.schema.matrix import load_matrix

        check_is_fitted(self, "table_")
        frame = self._frame(X, reset=False)
        with in_words_of(self):
            x = load_matrix(frame, self.table_.schema, dtype=torch.float64, weights=False)[0]
        flow = self.table_._scorer().flow
        base: Any = flow.base
        with torch.no_grad():
            latents = (_nearer(flow.encode(_nearer(part))) for part in torch.split(x, _CHUNK))
            parts = [base.responsibilities(z) for z in latents]
        found: _Numbers = torch.cat(parts).numpy()
        return found

    def predict(self, X: Any) -> _Numbers:
        """The likeliest cluster of each row, ``(n,)``."""
        found: _Numbers = self.predict_proba(X).argmax(1)
        return found

    def score_samples(self, X: Any) -> _Numbers:
        """Log-density of each row, nats, ``(n,)`` in float64."""
        return self._scored(X)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-density of the rows, nats a row: higher is better."""
        return float(numpy.mean(self.score_samples(X)))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> tuple[Any, _Numbers]:
        """New rows, a frame where a frame came in, else an array; and their likeliest clusters."""
        check_is_fitted(self, "table_")
        state = self.random_state if random_state is None else random_state
        drawn = self.table_.sample(n_samples, seed=seed_of(state))
        rows = self._as_came(rounded(self._blurred, drawn))
        return rows, self.predict(rows)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = False
        tags.input_tags.categorical = False
        return tags


def _nearer(rows: Tensor) -> Tensor:
    """Rows whose squares would overflow, in the same direction and as far as they may be."""
    return rows / (rows.abs().amax(1, keepdim=True) / _FARTHEST).clamp_min(1.0)


class _Guided(MaximumLikelihood):
    """Likelihood of rows together with the clusters that they are said to be in.

    Args:
        shares: how much of each row belongs to each cluster.
    """

    def __init__(self, shares: Callable[[Tensor], Tensor]) -> None:
        super().__init__(_SMOOTHING)
        self._shares = shares

    def __call__(self, flow: Flow, batch: Batch, generator: Generator | None = None) -> Tensor:
        """Mean of what rows lack in density in their clusters, nats a row."""
        share = self._shares(batch.x)
        x = self._moved(batch.x, generator) if flow.training else batch.x
        z, logdet = flow.transform(x)
        base: Any = flow.base
        joint: Tensor = logdet + (share * base._joint(z)).sum(-1)
        return -joint.mean()


def _place(
    flow: Flow, base: GaussianMixture, x: Tensor, shares: Callable[[Tensor], Tensor]
) -> None:
    """Let the components of the base be the normal densities of the clusters' latents."""
    with torch.no_grad():
        share = shares(x).double()
        z = flow.encode(x).double()
        found = moments(z, share)
        unit = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        factor = torch.linalg.cholesky(found.covariance)
        whitening = torch.linalg.solve_triangular(factor, unit.expand_as(factor), upper=False)
        base.logits.copy_(share.mean(0).clamp_min(_LEAST_SHARE).log())
        base.loc.copy_(found.mean)
        base.log_diagonal.copy_(whitening.diagonal(dim1=-2, dim2=-1).log())
        base.below.copy_(whitening.tril(-1))


def _refuse_others(frame: Any, numbers: Sequence[str]) -> None:
    """Refuse columns that are not of numbers; those of one value are left out.

    Raises:
        DataError: there is one, or none of numbers is left.
    """
    from pushforward.data.readers import open_table

    chunk = next(iter(open_table(frame).chunks())).frame
    for name, dtype in chunk.schema.items():
        if not dtype.is_numeric():
            raise DataError(
                f"FlowClusterer.fit: column {name!r} holds {dtype}, expected numbers; leave it "
                f"out, or make numbers of it, such as one column of 0 and 1 for each label."
            )
    if not numbers:
        raise DataError(
            "FlowClusterer.fit: all columns of X have the same value in every row, expected at "
            "least one that varies; there is nothing to tell clusters by."
        )
