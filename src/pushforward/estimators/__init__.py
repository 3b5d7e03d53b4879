"""Estimators of scikit-learn: densities, outliers, predictions, classes and clusters of a table.

Each name is imported when it is first used, since scikit-learn takes a while to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushforward.estimators.classifier import FlowClassifier
    from pushforward.estimators.clusterer import FlowClusterer
    from pushforward.estimators.density import FlowDensity
    from pushforward.estimators.outliers import FlowOutlierDetector
    from pushforward.estimators.regressor import FlowRegressor

__all__ = [
    "FlowClassifier",
    "FlowClusterer",
    "FlowDensity",
    "FlowOutlierDetector",
    "FlowRegressor",
]

_HOMES = {
    "FlowClassifier": "classifier",
    "FlowClusterer": "clusterer",
    "FlowDensity": "density",
    "FlowOutlierDetector": "outliers",
    "FlowRegressor": "regressor",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
