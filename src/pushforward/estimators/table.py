"""What the estimators share: a table flow behind scikit-learn's manners."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
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

if TYPE_CHECKING:
    from pushforward.tables import TableFlow

__all__ = ["TableEstimator", "seed_of"]

_WEIGHTS = "sample weight"  # of the column that carries them


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

        frame = self._frame(X, reset=True)
        weights = None
        if sample_weight is not None:
            checked = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
            frame = {**_columns(frame), _WEIGHTS: checked}
            weights = _WEIGHTS
        flow = "auto" if self.flow is None else self.flow
        table = TableFlow(flow, settings=self.settings, seed=seed_of(self.random_state))
        given = {"progress": False, **(self.options or {})}
        self.table_ = table.fit(
            frame,
            context=context,
            weights=weights,
            types=self.types,
            missing=self.missing,
            **given,
        )

    def _frame(self, X: Any, *, reset: bool) -> Any:
        """A frame as it is; anything else as columns of numbers x0, x1 and so on."""
        if _is_frame(X):
            _check_feature_names(self, X, reset=reset)
            _check_n_features(self, X, reset=reset)
            return X
        gaps = "allow-nan" if self.missing != "refuse" else True
        numbers = validate_data(
            self,
            X,
            reset=reset,
            dtype=numpy.float64,
            ensure_min_samples=2 if reset else 1,
            ensure_all_finite=gaps,
        )
        return {f"x{i}": column for i, column in enumerate(numbers.T)}

    def _scored(self, X: Any) -> numpy.ndarray[Any, Any]:
        check_is_fitted(self, "table_")
        return self.table_.log_prob(self._frame(X, reset=False))

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


def _columns(frame: Any) -> dict[str, Any]:
    return dict(frame) if isinstance(frame, Mapping) else {n: frame[n] for n in frame.columns}


def seed_of(random_state: Any) -> int:
    """A seed from what scikit-learn takes for ``random_state``; None draws one."""
    if isinstance(random_state, int | numpy.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(numpy.iinfo(numpy.int32).max))
