"""A table of mixed columns whose joint density is known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from pushforward.errors import DataError

if TYPE_CHECKING:
    import numpy
    import polars

__all__ = ["Households"]

REGIONS = ("north", "south", "east", "west")
JOBS = ("manual", "office", "none")
_REGION = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
_JOB = torch.tensor(
    [[0.5, 0.4, 0.1], [0.3, 0.5, 0.2], [0.2, 0.6, 0.2], [0.4, 0.2, 0.4]], dtype=torch.float64
)
_AGE = torch.tensor([38.0, 45.0, 56.0], dtype=torch.float64)  # by job; 12 years around it
_AGES = (18, 90)
_EARNED = torch.tensor([10.2, 10.7, 9.6], dtype=torch.float64)  # logarithm, by job
_HEIGHT = torch.tensor([178.0, 174.0, 176.0, 172.0], dtype=torch.float64)  # by region


class Households:
    """Invented households: three numbers, two counts, two categories, and savings, often none.

    Columns: ``region`` and ``job`` (categories), ``age`` and ``children`` (whole numbers),
    ``income``, ``rent`` and ``height`` (numbers), ``savings`` (a number, zero in many rows).

    Example:
        >>> people = Households()
        >>> table = people.sample(5)
        >>> table.columns[:4], people.log_prob(table).shape
        (['region', 'job', 'age', 'children'], (5,))
    """

    name = "households"
    columns = ("region", "job", "age", "children", "income", "rent", "height", "savings")

    def sample(self, n: int, seed: int = 0) -> polars.DataFrame:
        """Draw rows; the same seed gives the same rows, and no global state is touched."""
        import polars

        draws = Generator().manual_seed(seed)
        region = _picked(_REGION.expand(n, -1), draws)
        job = _picked(_JOB[region], draws)
        age = _picked(_age_shares()[job], draws) + _AGES[0]
        children = torch.poisson(_children(age), generator=draws)
        income = (_earned(job, age) + 0.5 * _normal(n, draws)).exp()
        rent = (0.7 * income.log() - 0.8 + 0.1 * region + 0.3 * _normal(n, draws)).exp()
        height = _HEIGHT[region] + 8.0 * _normal(n, draws)
        saved = (income.log() - 1.0 + 0.8 * _normal(n, draws)).exp()
        some = torch.rand(n, generator=draws, dtype=torch.float64) < _saves(income)
        savings = torch.where(some, saved, 0.0)
        return polars.DataFrame(
            {
                "region": [REGIONS[code] for code in region.tolist()],
                "job": [JOBS[code] for code in job.tolist()],
                "age": age.numpy(),
                "children": children.long().numpy(),
                "income": income.numpy(),
                "rent": rent.numpy(),
                "height": height.numpy(),
                "savings": savings.numpy(),
            }
        )

    def log_prob(self, table: polars.DataFrame) -> numpy.ndarray[Any, Any]:
        """Density of the numbers times probability of the rest, as a logarithm, ``(n,)``.

        Savings of zero have a probability, others a density.

        Raises:
            DataError: a column is missing.
        """
        lacking = [name for name in self.columns if name not in table.columns]
        if lacking:
            raise DataError(f"Households.log_prob: the column {lacking[0]!r} is missing.")
        codes = [
            torch.tensor([known.index(value) for value in table[name].to_list()])
            for name, known in (("region", REGIONS), ("job", JOBS))
        ]
        numbers = (torch.tensor(table[name].to_list()).double() for name in self.columns[2:])
        return self._log_prob(*codes, *numbers).numpy()

    def _log_prob(
        self,
        region: Tensor,
        job: Tensor,
        age: Tensor,
        children: Tensor,
        income: Tensor,
        rent: Tensor,
        height: Tensor,
        savings: Tensor,
    ) -> Tensor:
        mean = _children(age)
        log_income = income.log()
        none = savings == 0
        log_saved = torch.where(none, 1.0, savings).log()
        saves = _saves(income)
        some = saves.log() + _log_normal(log_saved, log_income - 1.0, 0.8) - log_saved
        return (
            _REGION[region].log()
            + _JOB[region, job].log()
            + _age_shares()[job, age.long() - _AGES[0]].log()
            + children * mean.log()
            - mean
            - torch.lgamma(children + 1.0)
            + _log_normal(log_income, _earned(job, age), 0.5)
            - log_income
            + _log_normal(rent.log(), 0.7 * log_income - 0.8 + 0.1 * region, 0.3)
            - rent.log()
            + _log_normal(height, _HEIGHT[region], 8.0)
            + torch.where(none, torch.log1p(-saves), some)
        )


def _normal(n: int, generator: Generator) -> Tensor:
    return torch.randn(n, generator=generator, dtype=torch.float64)


def _picked(shares: Tensor, generator: Generator) -> Tensor:
    return torch.multinomial(shares, 1, generator=generator)[:, 0]


def _age_shares() -> Tensor:
    """Probability of each age, by job: normal densities cut off and divided into years."""
    years = torch.arange(_AGES[0], _AGES[1] + 1, dtype=torch.float64)
    ends = torch.cat((years - 0.5, years[-1:] + 0.5))
    share: Tensor = torch.special.ndtr((ends - _AGE[:, None]) / 12.0).diff(dim=-1)
    return share / share.sum(-1, keepdim=True)


def _children(age: Tensor) -> Tensor:
    """Expected number of children."""
    return (0.5 - ((age - 42.0) / 18.0).square()).exp() + 0.05


def _earned(job: Tensor, age: Tensor) -> Tensor:
    """Mean of the logarithm of the income."""
    return _EARNED[job] + 0.012 * (age - 40.0)


def _saves(income: Tensor) -> Tensor:
    """Probability of any savings."""
    return torch.sigmoid(1.5 * (income.log() - 10.0))


def _log_normal(x: Tensor, mean: Tensor, sd: float) -> Tensor:
    """Log-density of a normal density."""
    return -0.5 * ((x - mean) / sd).square() - math.log(sd * math.sqrt(2.0 * math.pi))
