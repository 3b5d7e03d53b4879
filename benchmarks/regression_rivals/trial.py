"""One table with one split, and what a method makes of its test rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy

LEVEL = 0.9  # of the intervals; central ones: a twentieth of the probability on either side


@dataclass(frozen=True)
class Trial:
    """What everyone gets alike.

    Attributes:
        x, y: training rows ``(n, d)`` and targets ``(n,)``, float64, in the units they came in.
        x_test, y_test: the rows that count.
        seed: of weights, orders and held-out rows.
        members: of an ensemble of networks.
        boosting_members: of an ensemble of boosted quantiles, 1 for a single model alone.
    """

    x: numpy.ndarray
    y: numpy.ndarray
    x_test: numpy.ndarray
    y_test: numpy.ndarray
    seed: int
    members: int
    boosting_members: int = 1

    @cached_property
    def scale(self) -> float:
        """Standard deviation of the training targets."""
        return float(self.y.std())

    def standardized(self) -> tuple[numpy.ndarray, ...]:
        """``x, y, x_test, y_test`` with the training rows' means 0 and variances 1."""
        mean, spread = self.x.mean(0), self.x.std(0)
        spread = numpy.where(spread > 0, spread, 1.0)
        center = self.y.mean()
        return (
            (self.x - mean) / spread,
            (self.y - center) / self.scale,
            (self.x_test - mean) / spread,
            (self.y_test - center) / self.scale,
        )

    def folds(self) -> list[tuple[numpy.ndarray, numpy.ndarray]]:
        """Training and validation rows of each member: another tenth is held out for each."""
        tenths = max(10, self.members)
        order = numpy.random.default_rng([self.seed, 2]).permutation(len(self.y))
        count = max(1, len(order) // tenths)
        held = [order[i * count : (i + 1) * count] for i in range(self.members)]
        return [(numpy.setdiff1d(order, part), part) for part in held]


@dataclass(frozen=True)
class Scores:
    """What a method makes of the test rows.

    Attributes:
        log_prob: nats of each test row, in the units of y.
        covered: whether the central 90 % interval holds y.
        seconds: of the fit and of these figures.
        facts: what was chosen, for the record.
    """

    log_prob: numpy.ndarray
    covered: numpy.ndarray
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)

    def with_facts(self, facts: dict[str, Any]) -> Scores:
        """The same scores with these facts."""
        return replace(self, facts=facts)


def score(trial: Trial, log_prob: numpy.ndarray, below: numpy.ndarray, seconds: float) -> Scores:
    """Scores of the mixture of the members, each with the same weight.

    y lies in the central interval just where the probability below it does, so that no quantile
    of a mixture has to be searched for.

    Args:
        trial: with the unit of y.
        log_prob: ``(members, n)`` nats of standardized targets.
        below: ``(members, n)`` probability of less than y.
        seconds: that it took.
    """
    top = log_prob.max(0)
    mixed = top + numpy.log(numpy.exp(log_prob - top).mean(0)) - numpy.log(trial.scale)
    rest = (1 - LEVEL) / 2
    share = below.mean(0)
    return Scores(mixed, (share >= rest) & (share <= 1 - rest), seconds)
