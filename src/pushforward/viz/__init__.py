"""Figures. Each function takes and returns a matplotlib Axes and draws nothing global.

matplotlib comes with ``pip install 'pushforward[plots]'`` and is imported when something is drawn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushforward.viz.histograms import compare_histograms
    from pushforward.viz.learning import learning_curve

__all__ = ["compare_histograms", "learning_curve"]

_HOMES = {"compare_histograms": "histograms", "learning_curve": "learning"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
