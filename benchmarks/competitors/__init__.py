"""The densities that the flow is compared with, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy

from competitors.race import Race

__all__ = ["COMPETITORS", "Fitted", "Missing"]


class Missing(Exception):
    """The competitor is not installed."""


@dataclass(frozen=True)
class Fitted:
    """What a competitor learned.

    Attributes:
        log_prob: nats of each test row, in the units the rows came in.
        parameters: numbers that were learned.
        seconds: of the whole search, compilation left out.
        facts: what was chosen, for the record.
    """

    log_prob: numpy.ndarray
    parameters: int
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)


def _gaussian(race: Race) -> Fitted:
    from competitors.gaussian import fit

    return fit(race)


def _mixture(race: Race) -> Fitted:
    try:
        from competitors.mixture import fit
    except ModuleNotFoundError as error:
        raise Missing(str(error)) from error
    return fit(race)


def _zuko(race: Race) -> Fitted:
    try:
        from competitors.zuko_spline import fit
    except ModuleNotFoundError as error:
        raise Missing(str(error)) from error
    return fit(race)


def _flowjax(race: Race) -> Fitted:
    try:
        from competitors.flowjax_spline import fit
    except ModuleNotFoundError as error:
        raise Missing(str(error)) from error
    return fit(race)


COMPETITORS: dict[str, Callable[[Race], Fitted]] = {
    "Gaussian": _gaussian,
    "GaussianMixture (scikit-learn)": _mixture,
    "NSF (zuko)": _zuko,
    "coupling splines (FlowJAX)": _flowjax,
}
