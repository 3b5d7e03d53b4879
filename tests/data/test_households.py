"""Invented households: a mixed table whose density is known."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats

from pushforward.data.toys.households import JOBS, REGIONS, Households
from pushforward.errors import DataError

PEOPLE = Households()
USUAL = {
    "region": "west",
    "job": "office",
    "age": 40,
    "children": 1,
    "income": 40_000.0,
    "rent": 900.0,
    "height": 170.0,
    "savings": 5_000.0,
}


def table(**changed):
    """Usual rows, with some columns changed."""
    rows = max(len(values) for values in changed.values())
    columns = {name: [value] * rows for name, value in USUAL.items()}
    return pl.DataFrame({**columns, **{name: list(values) for name, values in changed.items()}})


def density(**changed):
    return np.exp(PEOPLE.log_prob(table(**changed)) - PEOPLE.log_prob(table(age=[40]))[0])


def test_the_same_seed_gives_the_same_rows_and_the_global_state_is_left_alone():
    state = torch.get_rng_state()
    assert PEOPLE.sample(50, seed=1).equals(PEOPLE.sample(50, seed=1))
    assert not PEOPLE.sample(50, seed=1).equals(PEOPLE.sample(50, seed=2))
    assert torch.equal(torch.get_rng_state(), state)


def test_columns_and_their_kinds():
    drawn = PEOPLE.sample(500)
    assert tuple(drawn.columns) == PEOPLE.columns
    assert set(drawn["region"]) == set(REGIONS)
    assert set(drawn["job"]) == set(JOBS)
    assert drawn["age"].dtype == drawn["children"].dtype == pl.Int64
    assert drawn["age"].is_between(18, 90).all()
    assert drawn["children"].min() == 0
    assert 0.1 < (drawn["savings"] == 0).mean() < 0.9
    assert np.isfinite(PEOPLE.log_prob(drawn)).all()


NUMBERS = {"income": (3e1, 1e8), "rent": (1.0, 1e6), "savings": (1e-1, 1e9)}


@pytest.mark.parametrize("name", ["rent", "height", "savings"])
def test_a_number_that_nothing_follows_integrates_to_what_is_left(name):
    """Of the last columns: the integral over one is what the density of the others is."""
    heights = np.linspace(50.0, 300.0, 20_001)
    x = heights if name == "height" else np.geomspace(*NUMBERS[name], 20_001)
    mass = np.trapezoid(density(**{name: x}), x)
    if name == "savings":
        mass += density(savings=[0.0])[0]
    known = {
        "rent": stats.lognorm(0.3, scale=math.exp(0.7 * math.log(4e4) - 0.8 + 0.3)).pdf(900.0),
        "height": stats.norm(172.0, 8.0).pdf(170.0),
        "savings": stats.lognorm(0.8, scale=4e4 / math.e).pdf(5e3)
        / (1.0 + math.exp(-1.5 * (math.log(4e4) - 10.0))),
    }[name]
    assert mass * known == pytest.approx(1.0, abs=1e-4)


def test_what_has_a_probability_adds_up_to_the_density_of_the_numbers():
    """The mean of p(row) / q(row) over draws of another density q is one."""
    n, draw = 200_000, np.random.default_rng(0)
    region, job = draw.integers(4, size=n), draw.integers(3, size=n)
    age, children = draw.integers(18, 91, n), draw.poisson(1.0, n)
    log_income = draw.normal(10.3, 1.2, n)
    log_rent = draw.normal(0.7 * log_income - 0.65, 0.5)
    height = draw.normal(175.0, 11.0, n)
    none = draw.random(n) < 0.5
    log_saved = draw.normal(log_income - 1.0, 1.0)
    rows = pl.DataFrame(
        {
            "region": np.array(REGIONS)[region],
            "job": np.array(JOBS)[job],
            "age": age,
            "children": children,
            "income": np.exp(log_income),
            "rent": np.exp(log_rent),
            "height": height,
            "savings": np.where(none, 0.0, np.exp(log_saved)),
        }
    )
    log_q = -math.log(4 * 3 * 73) + stats.poisson(1.0).logpmf(children)
    log_q += stats.norm(10.3, 1.2).logpdf(log_income) - log_income
    log_q += stats.norm(0.7 * log_income - 0.65, 0.5).logpdf(log_rent) - log_rent
    log_q += stats.norm(175.0, 11.0).logpdf(height) + math.log(0.5)
    log_q += np.where(none, 0.0, stats.norm(log_income - 1.0, 1.0).logpdf(log_saved) - log_saved)
    ratio = np.exp(PEOPLE.log_prob(rows) - log_q)
    assert ratio.mean() == pytest.approx(1.0, abs=5.0 * ratio.std() / math.sqrt(n))
    assert ratio.std() / math.sqrt(n) < 0.02


def test_draws_follow_the_density():
    """A share of the draws has a probability that other draws, weighted, give it, too."""
    drawn = PEOPLE.sample(40_000, seed=3)
    for region, share in zip(REGIONS, (0.4, 0.3, 0.2, 0.1), strict=True):
        assert (drawn["region"] == region).mean() == pytest.approx(share, abs=0.01)
    north = drawn.filter(region="north")
    for job, share in zip(JOBS, (0.5, 0.4, 0.1), strict=True):
        assert (north["job"] == job).mean() == pytest.approx(share, abs=0.015)
    rank = stats.norm(178.0, 8.0).cdf(north["height"].to_numpy())
    assert stats.kstest(rank, "uniform").pvalue > 1e-3
    some = drawn.filter(pl.col("savings") > 0)
    rank = stats.norm.cdf((some["savings"].log() - some["income"].log() + 1.0).to_numpy() / 0.8)
    assert stats.kstest(rank, "uniform").pvalue > 1e-3
    saves = 1.0 / (1.0 + np.exp(-1.5 * (drawn["income"].log().to_numpy() - 10.0)))
    assert (drawn["savings"] > 0).mean() == pytest.approx(saves.mean(), abs=0.01)
    mean = np.exp(0.5 - ((drawn["age"].to_numpy() - 42.0) / 18.0) ** 2) + 0.05
    assert drawn["children"].mean() == pytest.approx(mean.mean(), abs=0.02)


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="the column 'rent' is missing"):
        PEOPLE.log_prob(PEOPLE.sample(3).drop("rent"))
