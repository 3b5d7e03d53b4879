"""Whole numbers and dates in steps: others are never drawn and have no probability."""

import datetime
import math

import numpy as np
import polars as pl
import pytest

import pushforward as pf
from pushforward.errors import ArgumentError, DataError
from pushforward.tables import infer_schema

ROWS = 600
MONDAY = datetime.date(2024, 1, 1)


def spaced():
    """Marks in tens, prices that end in 5 or 0, bonuses in hundreds or none, Mondays."""
    draw = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "mark": draw.integers(1, 6, ROWS) * 10,
            "price": draw.poisson(40.0, ROWS) * 25 + 5,
            "bonus": np.where(draw.random(ROWS) < 0.6, 0, draw.poisson(20.0, ROWS) * 100),
            "day": [MONDAY + datetime.timedelta(7 * int(k)) for k in draw.integers(0, 99, ROWS)],
        }
    )


@pytest.fixture(scope="module")
def fitted():
    return pf.TableFlow().fit(spaced(), epochs=5, progress=False)


def changed(**values):
    return spaced().head(2).with_columns(pl.Series(name, list(v)) for name, v in values.items())


def test_steps_are_found_and_told(fitted):
    schema = fitted.schema
    assert [column.spacing for column in schema.columns] == [10, 25, 100, 7]
    assert [schema.column(name).origin for name in ("mark", "price", "bonus")] == [0, 5, 0]
    assert schema.column("price").treatment == "in steps of 25"
    assert schema.column("day").treatment == "in steps of 7 days"


def test_draws_lie_on_them(fitted):
    drawn = fitted.sample(2000, seed=0)
    assert (drawn["mark"] % 10).max() == 0
    assert ((drawn["price"] - 5) % 25).max() == 0
    assert (drawn["bonus"] % 100).max() == 0
    assert drawn["day"].dt.weekday().unique().to_list() == [1]
    assert drawn["price"].n_unique() > 20


def test_the_probabilities_of_all_marks_add_up_to_one():
    rows = spaced().select("mark")
    table = pf.TableFlow().fit(rows, epochs=3, progress=False)
    log_p = table.log_prob({"mark": np.arange(0, 4000, 10)})
    assert np.exp(log_p).sum() == pytest.approx(1.0, abs=1e-9)


def test_what_lies_between_has_no_probability_and_is_explained(fitted):
    rows = changed(price=(1001, 1005))
    log_p = fitted.log_prob(rows)
    assert log_p[0] == -math.inf
    assert math.isfinite(log_p[1])
    first, second = fitted.explain(rows)
    assert first[0].why == "between the steps of 25 that all training rows lie on"
    assert all(math.isfinite(one.nats) for one in second)


def test_explaining_sums_over_the_steps(fitted):
    """A surprise is measured from its mean: probabilities of all other marks are part of it."""
    rows = spaced().head(1)
    each = [rows.with_columns(pl.lit(mark).alias("mark")) for mark in range(10, 60, 10)]
    joint = np.concatenate([fitted.log_prob(row) for row in each])
    log_share = joint - np.logaddexp.reduce(joint)
    mean = -(np.exp(log_share) * log_share).sum()
    here = {10 * (k + 1): -value - mean for k, value in enumerate(log_share)}
    [found] = fitted.explain(rows)
    nats = next(one.nats for one in found if one.column == "mark")
    assert nats == pytest.approx(here[rows["mark"][0]], abs=0.02)  # marks of 0 and 60 have some


def test_what_is_given_has_to_lie_on_them(fitted):
    assert fitted.sample(5, given={"mark": 50}, seed=0)["mark"].to_list() == [50] * 5
    with pytest.raises(ArgumentError, match="'mark' is 55, between the steps of 10"):
        fitted.sample(5, given={"mark": 55})


def test_saved_and_loaded_they_are_there(fitted, tmp_path):
    fitted.save(tmp_path / "m.safetensors")
    again = pf.load(tmp_path / "m.safetensors")
    assert np.array_equal(again.log_prob(spaced()), fitted.log_prob(spaced()))


def test_a_model_that_goes_on_refuses_rows_that_it_gives_no_probability(fitted, tmp_path):
    fitted.save(tmp_path / "m.safetensors")
    again = pf.load(tmp_path / "m.safetensors")
    with pytest.raises(DataError, match=r"'price' holds 1001 in row 2, between the steps of 25"):
        again.update(changed(price=(1005, 1001)), progress=False)
    with pytest.raises(DataError, match=r"'bonus' holds -100 in row 1, below 0"):
        again.update(changed(bonus=(-100, 0)), progress=False)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([0] * 40 + [340, 1200], id="a factor by chance"),
        pytest.param([10 * k for k in range(20)], id="few rows"),
        pytest.param([10 * k for k in range(60)] + [7], id="one that is none"),
    ],
)
def test_whole_numbers_may_be_any_where_steps_are_not_sure(values):
    [column] = infer_schema({"n": values}).columns
    assert column.spacing == 1


def test_who_says_integer_means_all_whole_numbers():
    [column] = infer_schema({"n": [10 * k for k in range(60)]}, types={"n": "integer"}).columns
    assert column.spacing == 1


def test_a_condition_may_lie_between_them():
    draw = np.random.default_rng(0)
    rows = {"x": draw.normal(size=60), "n": draw.integers(0, 40, 60) * 10}
    table = pf.TableFlow("realnvp", settings={"layers": 2, "hidden": [8]})
    table.fit(rows, context=["n"], epochs=1, progress=False)
    assert np.isfinite(table.log_prob({"x": [0.1], "n": [17]})).all()
    assert table.sample(2, given={"n": 17}, seed=0).height == 2
