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
