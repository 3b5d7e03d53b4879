"""What tables hold that a model must not make one of: codes, clocks, weights, kinds of numbers."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

import pushforward as pf
from pushforward.errors import DataError
from pushforward.tables import infer_schema

ROWS = 600
TINY = {"layers": 2, "hidden": [8]}


def draws():
    return np.random.default_rng(0)


def fitted(table, **options):
    return pf.TableFlow(settings=TINY).fit(table, **{"epochs": 2, "progress": False, **options})


class TestWholeNumbersFarApart:
    CODES = (50667, 53111, 52062, 52349, 41460)

    def table(self):
        return pl.DataFrame(
            {
                "code": draws().choice(self.CODES, ROWS, p=[0.45, 0.2, 0.18, 0.12, 0.05]),
                "price": draws().choice([0, 50, 100, 150, 200, 250, 500, 1000], ROWS),
            }
        )

    def test_they_are_labels_and_drawn_as_they_are(self):
        made = fitted(self.table())
        assert [c.type for c in made.schema.columns] == ["ordinal", "ordinal"]
        assert made.schema.columns[0].reason == "5 different whole numbers, far apart"
        drawn = made.sample(1000, seed=0)
        assert set(drawn["code"]) <= set(self.CODES)
        assert set(drawn["price"]) <= set(self.table()["price"])
        assert drawn.dtypes == self.table().dtypes

    @pytest.mark.parametrize(
        "values",
        [
            pytest.param([0, 1, 2, 3, 4, 5] * 50 + [17], id="a count and an outlier"),
            pytest.param(
                [*range(7)] * 60 + [8] * 6 + [12] * 5, id="a count and the rare ones of its tail"
            ),
            pytest.param(list(range(20, 60)) * 10, id="ages"),
            pytest.param([1000 * k for k in range(1, 31)], id="each once"),
        ],
    )
    def test_others_stay_whole_numbers(self, values):
        assert infer_schema({"n": values}).columns[0].type == "integer"


class TestClocks:
    ZONE = "America/New_York"

    def days(self, first, count):
        start = datetime.datetime(2024, *first)
        some = [start + datetime.timedelta(int(k)) for k in draws().integers(0, count, ROWS)]
        return pl.Series(some).dt.replace_time_zone(self.ZONE)

    def test_midnights_are_days_in_winter_and_in_summer(self):
        x = draws().normal(size=ROWS)
        made = fitted(pl.DataFrame({"t": self.days((1, 1), 60), "x": x}))
        assert made.schema.columns[0].unit == "day"
        summer = pl.Series([datetime.datetime(2024, 3, 20)]).dt.replace_time_zone(self.ZONE)
        assert np.isfinite(made.log_prob(pl.DataFrame({"t": summer, "x": [0.1]}))).all()

    def test_draws_are_midnights_all_year(self):
        made = fitted(pl.DataFrame({"t": self.days((1, 1), 366), "x": draws().normal(size=ROWS)}))
        drawn = made.sample(500, seed=0)["t"]
        assert drawn.dtype.time_zone == self.ZONE
        assert drawn.dt.hour().unique().to_list() == [0]

    def test_another_clock_shows_the_same_times(self):
        times = self.days((3, 1), 300)
        made = fitted(pl.DataFrame({"t": times, "x": draws().normal(size=ROWS)}))
        few = pl.DataFrame({"t": times[:5], "x": [0.0] * 5})
        elsewhere = few.with_columns(pl.col("t").dt.convert_time_zone("Asia/Tokyo"))
        assert made.log_prob(elsewhere) == pytest.approx(made.log_prob(few), abs=0)

    def test_times_of_several_zones_are_told_by_one_clock(self):
        zones = ("Europe/Berlin", "Asia/Tokyo")
        hours = draws().integers(0, 9000, ROWS)
        times = [
            pd.Timestamp(int(h) * 3600, unit="s", tz=zones[k % 2]) for k, h in enumerate(hours)
        ]
        made = fitted(pd.DataFrame({"x": draws().normal(size=ROWS), "t": times}))
        assert (made.schema.column("t").type, made.schema.column("t").unit) == ("date", "hour")
        assert made.schema.column("t").low == hours.min()

    def test_a_day_that_begins_at_one_is_a_day(self):
        """In Santiago the clock skipped the midnight of 12 August 2018."""
        start = datetime.datetime(2018, 8, 1)
        days = [start + datetime.timedelta(k % 30) for k in range(ROWS) if k % 30 != 11]
        times = pl.Series(days).dt.replace_time_zone("America/Santiago")
        made = fitted(pl.DataFrame({"t": times, "x": draws().normal(size=len(days))}))
        drawn = made.sample(500, seed=0)
        assert 1 in drawn["t"].dt.hour().to_list()
        assert np.isfinite(made.log_prob(drawn)).all()

    def test_an_hour_that_a_clock_skips_is_the_next_one(self):
        from pushforward.tables.schema.column import Column
        from pushforward.tables.schema.dates import as_dates

        kind = f"Datetime(time_unit='us', time_zone='{self.ZONE}')"
        column = Column("t", kind, "date", unit="minute")
        skipped = datetime.datetime(2024, 3, 10, 2, 30)
        minutes = (skipped - datetime.datetime(1970, 1, 1)) // datetime.timedelta(minutes=1)
        [found] = as_dates(column, pl.Series([float(minutes)]))
        assert (found.hour, found.minute) == (3, 30)


class TestWeights:
    def test_rows_without_weight_do_not_change_what_a_column_holds(self):
        fives = draws().integers(0, 30, ROWS) * 5
        n = np.concatenate((fives, [1001, 7]))
        weights = np.concatenate((np.ones(ROWS), [0.0, 0.0]))
        table = {"n": n, "x": draws().normal(size=ROWS + 2), "w": weights}
        made = fitted(table, weights="w")
        assert (made.schema.columns[0].spacing, made.schema.columns[0].high) == (5, 145.0)

    @pytest.mark.parametrize(
        ("with_weight", "without"),
        [
            pytest.param([1.0], [2.0], id="another than the only one"),
            pytest.param([1.0, 50.0, 300.0], [777.0], id="another label"),
            pytest.param([0.0, 1.0], [0.5], id="neither of two"),
            pytest.param([float(k) for k in range(20)], [2.5], id="a fraction"),
        ],
    )
    def test_rows_without_weight_may_hold_what_others_do_not(self, with_weight, without):
        u = np.concatenate((np.resize(with_weight, ROWS), np.resize(without, 20)))
        weights = np.concatenate((np.ones(ROWS), np.zeros(20)))
        made = fitted({"x": draws().normal(size=ROWS + 20), "u": u, "w": weights}, weights="w")
        assert made.report["training_rows"] + made.report["held_out_rows"] == ROWS

    def test_a_column_with_values_only_in_rows_without_weight_is_refused(self):
        u = [None] * ROWS + [float(k) for k in range(20)]
        weights = [1.0] * ROWS + [0.0] * 20
        table = pl.DataFrame({"x": draws().normal(size=ROWS + 20), "u": u, "w": weights})
        with pytest.raises(DataError, match="'u' has no value in any row that has a weight"):
            fitted(table, weights="w", missing="model")

    def test_rows_without_weight_are_not_said_to_be_missing(self):
        x, y = draws().normal(size=(2, 1200))
        table = {"x": x, "y": y, "w": np.arange(1200) % 2.0}
        made = fitted(table, weights="w")
        assert made.report["rows_dropped"] == 0
        assert made.update(table, epochs=1, progress=False).report["rows_dropped"] == 0


def test_an_update_with_two_rows_drops_none():
    x, y = draws().normal(size=(2, ROWS))
    made = fitted({"x": x, "y": y})
    with pytest.warns(UserWarning, match="none of its 2 rows can be spared"):
        made.update({"x": [1.0, 2.0], "y": [3.0, 2.0]}, steps=2, progress=False)
    assert made.report["rows_dropped"] == 0


def test_gaps_of_a_row_that_has_no_probability_are_not_filled():
    data = draws()
    table = {"n": data.integers(0, 30, ROWS) * 10, "g": data.choice(["a", "b"], ROWS)}
    made = fitted(table)
    with pytest.raises(DataError, match="known of row 1 has no probability in this model"):
        made.impute(pl.DataFrame({"n": [5], "g": [None]}, schema_overrides={"g": pl.String}))


def test_draws_of_a_short_type_stay_on_its_steps():
    tens = pl.Series("n", draws().integers(-12, 13, ROWS) * 10, dtype=pl.Int8)
    made = fitted(pl.DataFrame({"n": tens}), epochs=1)
    drawn = made.sample(5000, seed=0)
    assert drawn["n"].dtype == pl.Int8
    assert (drawn["n"] % 10).max() == 0
    assert np.isfinite(made.log_prob(drawn)).all()


def test_decimals_come_back_as_decimals():
    cents = [Decimal(int(k)) / 100 for k in draws().integers(100, 90_000, ROWS)]
    made = fitted(pl.DataFrame({"p": pl.Series(cents, dtype=pl.Decimal(10, 2))}))
    assert made.sample(5, seed=0)["p"].dtype == pl.Decimal(10, 2)


def test_folds_with_whole_numbers_that_others_lack_can_be_scored():
    prices = draws().choice([99, 199, 499, 1299], ROWS, p=[0.5, 0.3, 0.17, 0.03])
    fewer = prices < 1000
    density = pf.FlowDensity(settings=TINY, options={"epochs": 1}, random_state=0)
    with pytest.raises(DataError, match=r"'x0' holds '1299' in .*unseen='lowest'"):
        density.fit(prices[fewer, None]).score(prices[:, None])
    density.set_params(unseen="lowest")
    scores = density.fit(prices[fewer, None]).score_samples(prices[:, None])
    assert np.isfinite(scores).all()
    assert scores[~fewer].max() <= scores[fewer].min()


def test_an_end_that_no_row_reached_is_possible_where_others_are_atoms():
    """What is said of a value and its density agree."""
    draw = draws()
    share = np.where(draw.random(ROWS) < 0.2, 100.0, 100.0 * draw.random(ROWS))
    table = {"g": draw.choice(["a", "b"], ROWS), "pc": share}
    made = fitted(table, types={"pc": "interval:0,100"})
    row = {"g": ["a"], "pc": [0.0]}
    assert np.isfinite(made.log_prob(row)).all()
    assert all(one.why == "" for one in made.explain(row)[0])
