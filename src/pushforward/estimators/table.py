"""What the estimators share: a table flow behind scikit-learn's manners."""

from __future__ import annotations

import inspect
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from sklearn.base import BaseEstimator
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_is_fitted,
    check_random_state,
    validate_data,
)

from pushforward.arguments import did_you_mean
from pushforward.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from pushforward.tables import TableFlow

__all__ = ["TableEstimator", "in_words_of", "seed_of"]

_WEIGHTS = "sample weight"  # of the column that carries them
_CLASS = "class of the row"  # of the context column of a classifier
_ASIDE = "(in the place of the target)"  # a column that stands for what is conditioned
_OWN = (_WEIGHTS, _CLASS, _ASIDE)
_GAPS = ("refuse", "drop", "model")
# What a table advises and an estimator has no argument for
_UNSEEN = ", or score such rows as the least likely value that is known with unseen='lowest'"
_ADVICE = re.compile(r",? (?:as |or choose )?with columns=\[.*?\]")
_TABLE = re.compile(r"^(?:DATA|infer_schema|TableFlow\.\w+): ", re.MULTILINE)


@contextmanager
def in_words_of(estimator: Any) -> Iterator[None]:
    """What a table says is wrong with its data is said of X, without arguments that X lacks."""
    try:
        yield
    except DataError as error:
        said = _ADVICE.sub("", str(error))
        if not hasattr(estimator, "unseen"):
            said = said.replace(_UNSEEN, "")
        said = _TABLE.sub(f"{type(estimator).__name__}: X: ", said)
        raise DataError(said) from error


class TableEstimator(BaseEstimator):  # type: ignore[misc]
    """An estimator whose density is that of a table flow, ``table_`` once it is fitted.

    It goes into a pickle as a model file: tensors, and JSON that says what they are.
    """

    table_: TableFlow
    flow: Any
    settings: Mapping[str, Any] | None
    types: Mapping[str, Any] | None
    missing: Any
    options: Mapping[str, Any] | None
    random_state: Any

    def _fit_table(self, X: Any, sample_weight: Any = None, context: tuple[str, ...] = ()) -> None:
        from pushforward.tables import TableFlow

        self._refuse_choices(missing=_GAPS)
        self._refuse_options(more=("columns", "ready"))
        frame = self._frame(X, reset=True)
        weights = None
        if sample_weight is not None:
            checked = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
            frame = {**_columns(frame), _WEIGHTS: checked}
            weights = _WEIGHTS
        flow = "auto" if self.flow is None else self.flow
        table = TableFlow(flow, settings=self.settings, seed=seed_of(self.random_state))
        given = {"progress": False, **(self.options or {})}
        with in_words_of(self):
            self.table_ = table.fit(
                frame,
                context=context,
                weights=weights,
                types=self.types,
                missing=self.missing,
                **given,
            )

    def _refuse_choices(self, **known: Collection[Any]) -> None:
        """Refuse arguments that are none of what they may be."""
        for name, choices in known.items():
            value = getattr(self, name)
            if not isinstance(value, str) or value not in choices:
                listed = " or ".join(map(repr, choices))
                raise ArgumentError(
                    f"{type(self).__name__}: {name} is {value!r}, expected {listed}."
                )

    def _refuse_options(
        self, more: Collection[str] = (), without: Collection[str] = ("context", "weights")
    ) -> None:
        """Refuse options that nobody takes.

        Args:
            more: what they may be besides the arguments of ``pf.fit``.
            without: those of these that the estimator gives itself.
        """
        from pushforward.training import fit

        who, given = type(self).__name__, {} if self.options is None else self.options
        if not isinstance(given, Mapping):
            raise ArgumentError(
                f"{who}: options is {given!r:.80}, expected arguments by their names, such as "
                f"{{'epochs': 20}}."
            )
        known = [*list(inspect.signature(fit).parameters)[2:], *more]
        known = [name for name in known if name not in without]
        for name in given:
            if name not in known:
                raise ArgumentError(
                    f"{who}: options holds {name!r}, expected some of {', '.join(known)}."
                    f"{did_you_mean(str(name), known)}"
                )

    def _frame(self, X: Any, *, reset: bool) -> Any:
        """A frame with texts for names; anything else as columns of numbers x0, x1 and so on.

        What comes later as the other of the two has its columns in the order of the first.
        """
        if _is_frame(X):
            _check_feature_names(self, X, reset=reset)
            _check_n_features(self, X, reset=reset)
            names = _names(X)
            if reset:
                self._refuse_names(names)
                self._labels: list[Any] | None = names
            elif self._labels is None:
                return {f"x{i}": X[name] for i, name in enumerate(names)}
            if all(isinstance(name, str) for name in names):
                return X
            return X.set_axis([str(name) for name in names], axis=1)  # pandas may count them
        gaps = "allow-nan" if self.missing != "refuse" else True
        numbers = validate_data(
            self,
            X,
            reset=reset,
            dtype=numpy.float64,
            ensure_min_samples=2 if reset else 1,
            ensure_all_finite=gaps,
        )
        if reset:
            self._labels = None
        names = [f"x{i}" for i in range(numbers.shape[1])]
        if self._labels is not None:
            names = [str(name) for name in self._labels]
        return dict(zip(names, numbers.T, strict=True))

    def _refuse_names(self, names: Collection[Any]) -> None:
        for name in _OWN:
            if name in names:
                raise DataError(
                    f"{type(self).__name__}: X has a column {name!r}, a name that is needed for "
                    f"another one; rename it."
                )

    def _as_came(self, drawn: Any) -> Any:
        """New rows as those came that were learned from: an array, or a frame with its names."""
        if self._labels is None:
            return drawn.to_numpy()
        if all(isinstance(name, str) for name in self._labels):
            return drawn
        labels = {str(name): name for name in self._labels}
        return drawn.rename(columns=labels)

    def _scored(self, X: Any) -> numpy.ndarray[Any, Any]:
        check_is_fitted(self, "table_")
        with in_words_of(self):
            unseen = getattr(self, "unseen", "error")
            return self.table_.log_prob(self._frame(X, reset=False), unseen=unseen)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        for name, value in state.items():
            if name.endswith("_") and hasattr(value, "save"):
                state[name] = _Packed(_bytes_of(value))
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__(
            {
                name: _of_bytes(value.content) if isinstance(value, _Packed) else value
                for name, value in state.items()
            }
        )
        if "n_features_in_" in state and "_labels" not in state:  # of a version before these
            names = state.get("feature_names_in_")
            self._labels = None if names is None else list(names)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing != "refuse"
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


class _Packed:
    """A model file in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content


def _bytes_of(table: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        table.save(path)
        return path.read_bytes()


def _of_bytes(content: bytes) -> Any:
    from pushforward.flows.saving import load

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(content)
        return load(path)


def _is_frame(X: Any) -> bool:
    """Whether it is a frame of columns with types of their own."""
    return hasattr(X, "columns") and (hasattr(X, "dtypes") or hasattr(X, "schema"))


def _names(frame: Any) -> list[Any]:
    return list(getattr(frame, "column_names", frame.columns))


def _columns(frame: Any) -> dict[str, Any]:
    return dict(frame) if isinstance(frame, Mapping) else {n: frame[n] for n in _names(frame)}


def seed_of(random_state: Any) -> int:
    """A seed from what scikit-learn takes for ``random_state``; None draws one."""
    if isinstance(random_state, int | numpy.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(numpy.iinfo(numpy.int32).max))
