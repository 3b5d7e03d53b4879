"""The conditional densities that the regressor is compared with, behind one interface."""

from __future__ import annotations

from collections.abc import Callable

from regression_rivals.boosting import fit_boosting
from regression_rivals.networks import fit_networks
from regression_rivals.trial import Scores, Trial

__all__ = ["RIVALS", "Scores", "Trial"]

# Each gives two methods from one run: a single model, and an ensemble of such.
RIVALS: dict[str, Callable[[Trial], dict[str, Scores]]] = {
    "Gaussian network": lambda trial: fit_networks(trial, components=1),
    "mixture density network": lambda trial: fit_networks(trial, components=5),
    "quantile boosting": fit_boosting,
}
