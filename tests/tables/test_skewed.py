"""Amounts that are often zero and else skewed to the right: their logarithms are modelled."""

import math

import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.tables import infer_schema

DRAW = np.random.default_rng(0)
SKEWED = np.exp(DRAW.normal(3.0, 1.0, 400))
NONE = DRAW.random(400) < 0.5


@pytest.mark.parametrize(
    ("values", "type", "skewed"),
    [
        pytest.param(np.where(NONE, 0.0, SKEWED), "positive", True, id="amounts"),
        pytest.param(np.where(NONE, 0.0, SKEWED).round(), "integer", True, id="whole amounts"),
        pytest.param(SKEWED, "positive", True, id="above zero"),
        pytest.param(DRAW.poisson(30.0, 400), "integer", False, id="counts"),
        pytest.param(np.where(NONE, 0.0, 360.0 * DRAW.random(400)), "positive", False, id="even"),
        pytest.param((-SKEWED).round(), "integer", False, id="below zero"),
    ],
)
def test_skewed_columns_are_found(values, type, skewed):
    [column] = infer_schema({"a": values}).columns
    assert (column.type, column.skewed) == (type, skewed)


@pytest.mark.filterwarnings("ignore:90 rows are few")
@pytest.mark.parametrize("whole", [False, True])
def test_few_rows_do_not_make_large_amounts_impossible(whole):
    draw = np.random.default_rng(1)
    amounts = np.exp(draw.normal(6.0, 1.0, 5_100))
    amounts = np.where(draw.random(5_100) < 0.4, 0.0, amounts.round() if whole else amounts)
    table = pf.TableFlow().fit({"a": amounts[:100]}, progress=False)
    log_p = table.log_prob({"a": amounts[100:]})
    fresh = amounts[100:][amounts[100:] > 0]
    truth = stats.lognorm.logpdf(fresh, 1.0, scale=math.exp(6.0)) + math.log(0.6)
    lost = truth - log_p[amounts[100:] > 0]
    assert lost.mean() < 0.4
    assert lost.max() < 8.0
    drawn = table.sample(2_000, seed=0)["a"].to_numpy()
    assert drawn.min() == 0.0
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize("whole", [False, True])
def test_surprise_of_amounts_over_many_powers_of_ten(whole):
    """Beside an integral on a fine grid of logarithms, and a sum over all whole numbers."""
    draw = np.random.default_rng(2)
    n = 600
    amounts = 10.0 ** draw.uniform(0.0, 4.5, n) if whole else 10.0 ** draw.uniform(-4.0, 6.0, n)
    amounts = np.where(draw.random(n) < 0.3, 0.0, np.floor(amounts) if whole else amounts)
    table = pf.TableFlow(settings={"layers": 2, "hidden": [8]})
    table.fit({"g": draw.choice(["a", "b"], n), "x": amounts}, epochs=3, progress=False)
    assert table.schema.column("x").skewed
    if whole:
        values, mass = np.arange(0.0, 400_000.0), np.zeros(400_000)
    else:
        logs = np.linspace(math.log(1e-9), math.log(1e11), 20_001)
        values, mass = np.exp(logs), logs + math.log(logs[1] - logs[0])
        values, mass = np.concatenate(([0.0], values)), np.concatenate(([0.0], mass))
    log_p = table.log_prob({"g": ["a"] * len(values), "x": values})
    log_share = log_p - np.logaddexp.reduce(log_p + mass)
    mean = -(np.exp(log_share + mass) * log_share).sum()
    for value in (1.0, 1000.0, 30_000.0):
        here = table.log_prob({"g": ["a"], "x": [value]})[0] - np.logaddexp.reduce(log_p + mass)
        [found] = table.explain({"g": ["a"], "x": [value]})
        nats = next(one.nats for one in found if one.column == "x")
        assert nats == pytest.approx(-here - mean, abs=0.1)


def test_numbers_that_float32_takes_for_zero_are_learned_from():
    draw = np.random.default_rng(3)
    p = np.where(draw.random(600) < 0.2, 1.0, 10.0 ** (-60.0 * draw.random(600) ** 2))
    table = pf.TableFlow(settings={"layers": 2, "hidden": [8]})
    table.fit({"g": draw.choice(["a", "b"], 600), "p": p}, epochs=2, progress=False)
    assert math.isfinite(table.report["nats"])
    assert np.isfinite(table.log_prob({"g": ["a"] * 2, "p": [1e-50, 0.3]})).all()
