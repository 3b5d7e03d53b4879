"""pushforward: normalizing flows on PyTorch.

A flow is the pushforward of a simple distribution through an invertible map. This module holds the
names a user types; each is imported when it is first used, so that ``import pushforward`` is
instant and the command line answers before PyTorch is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushforward import bases, flows, kernels, maps, networks, objectives, transforms
    from pushforward.estimators import (
        FlowClassifier,
        FlowClusterer,
        FlowDensity,
        FlowOutlierDetector,
        FlowRegressor,
    )
    from pushforward.flows import Flow
    from pushforward.flows.check import check
    from pushforward.flows.saving import load, save
    from pushforward.tables import Schema, TableFlow
    from pushforward.training import History, fit

__version__ = "0.1.0"

__all__ = [
    "Flow",
    "FlowClassifier",
    "FlowClusterer",
    "FlowDensity",
    "FlowOutlierDetector",
    "FlowRegressor",
    "History",
    "Schema",
    "TableFlow",
    "__version__",
    "bases",
    "check",
    "data",
    "errors",
    "estimators",
    "fit",
    "flows",
    "kernels",
    "load",
    "maps",
    "networks",
    "objectives",
    "save",
    "tables",
    "training",
    "transforms",
    "viz",
]

_HOME = {
    "Flow": "pushforward.flows",
    "FlowClassifier": "pushforward.estimators",
    "FlowClusterer": "pushforward.estimators",
    "FlowDensity": "pushforward.estimators",
    "FlowOutlierDetector": "pushforward.estimators",
    "FlowRegressor": "pushforward.estimators",
    "History": "pushforward.training",
    "Schema": "pushforward.tables",
    "TableFlow": "pushforward.tables",
    "check": "pushforward.flows.check",
    "fit": "pushforward.training",
    "load": "pushforward.flows.saving",
    "save": "pushforward.flows.saving",
}
_ROOMS = frozenset(__all__) - frozenset(_HOME) - {"__version__"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"pushforward.{name}")
    raise AttributeError(f"module 'pushforward' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
