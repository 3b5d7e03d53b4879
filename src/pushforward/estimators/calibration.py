"""Probabilities of classes from densities, made honest by rows that were held out."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy

__all__ = ["Calibration", "calibrated"]

_Numbers = numpy.ndarray[Any, Any]

_HOT = 1000.0  # the highest temperature, of densities that tell nothing of the class
_COLD = 0.5  # the lowest: rows that all are told rightly would ask for none at all
_TRIES = 81
_DOUBT = 1.0  # nats of log loss, of all rows together, that a temperature of e has to be worth


class Calibration(NamedTuple):
    """What turns densities into probabilities.

    Attributes:
        temperature: what log-densities are divided by.
    """

    temperature: float = 1.0

    def log_probabilities(self, log_p: _Numbers, priors: _Numbers) -> _Numbers:
        """Log-probabilities of the classes.

        Args:
            log_p: log-densities of rows in each class, ``(n, classes)``, nats.
            priors: probabilities of the classes.
        """
        with numpy.errstate(divide="ignore"):
            log_prior = numpy.log(priors)
        # where no class has any density, rows tell nothing of their class
        lost = numpy.isneginf(log_p).all(1)
        relative = log_p - numpy.where(lost, 0.0, log_p.max(1))[:, None]
        relative[lost] = 0.0
        joint = relative / self.temperature + log_prior
        found: _Numbers = joint - numpy.logaddexp.reduce(joint, axis=1)[:, None]
        return found


def calibrated(
    log_p: _Numbers, codes: _Numbers, weights: _Numbers | None, priors: _Numbers
) -> Calibration:
    """The temperature with the least log loss.

    Only densities are divided by it: where they are worth nothing, what is left are the priors. A
    few rows could ask for any temperature, so that one far from 1 has to be worth something.

    Args:
        log_p: log-densities of rows in each class, ``(n, classes)``.
        codes: their classes.
        weights: their weights, or None.
        priors: probabilities of the classes.

    Source: Guo, Pleiss, Sun, Weinberger 2017, arXiv:1706.04599.
        Differs: the densities' temperature, not the probabilities'.
    """
    counts = (priors[codes] > 0.0) & numpy.isfinite(log_p).any(1)
    log_p, codes = log_p[counts], codes[counts]
    share = numpy.ones(len(codes)) if weights is None else weights[counts]
    share = share / share.mean() if share.sum() > 0.0 else share
    best, least = Calibration(), math.inf
    for log_t in numpy.linspace(math.log(_COLD), math.log(_HOT), _TRIES):
        tried = Calibration(math.exp(log_t))
        rows = tried.log_probabilities(log_p, priors)[numpy.arange(len(codes)), codes]
        loss = -float(share @ rows) + _DOUBT * log_t**2
        if loss < least:
            best, least = tried, loss
    return best
