"""A model of text, counts, truth, dates, angles, gaps and numbers: exact, and back in kind."""

import datetime
import itertools
import math
import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from tests.tables.cases import SMALL_TYPES, mixed, numbers, quick, small

import pushforward as pf
from pushforward.errors import ArgumentError, DataError

TINY = {"layers": 1, "hidden": (8, 8)}


@pytest.fixture(scope="module")
def people():
    """A model of all kinds of columns. Tests do not change it."""
    return quick(mixed(), "nsf", settings=TINY, missing="model")


@pytest.fixture(scope="module")
def few():
    """A model of a table with few values, and one number."""
    return quick(small(), "nsf", settings=TINY, types=SMALL_TYPES)


def all_rows(model_of, grid):
    """Every combination of what the small table may hold, with x on a grid."""
    combined = itertools.product(model_of, (0, 1, 2, 3), (False, True))
    return pl.concat(
        pl.DataFrame({"x": grid}).with_columns(
            kind=pl.lit(kind), count=pl.lit(count), flag=pl.lit(flag)
        )
        for kind, count, flag in combined
    )


GRID = np.linspace(-40.0, 40.0, 4_001)


class TestDensity:
    def test_it_adds_up_to_one(self, few):
        """The sum over all labels and whole numbers of the integral over the number."""
        density = np.exp(few.log_prob(all_rows(("a", "b"), GRID))).reshape(16, -1)
        assert np.trapezoid(density, GRID).sum() == pytest.approx(1.0, abs=1e-4)

    def test_it_adds_up_to_one_given_a_context(self):
        given = quick(small(), "nsf", settings=TINY, types=SMALL_TYPES, context=["kind"])
        for kind in "ab":
            density = np.exp(given.log_prob(all_rows(kind, GRID))).reshape(8, -1)
            assert np.trapezoid(density, GRID).sum() == pytest.approx(1.0, abs=1e-4)

    def test_it_adds_up_to_one_with_gaps_and_atoms(self):
        draw = np.random.default_rng(0)
        x = draw.normal(size=300)
        x[:60], x[60:90] = 1.0, np.nan
        made = quick({"x": x, "y": draw.normal(size=300)}, "nsf", settings=TINY, missing="model")
        y = np.linspace(-12.0, 12.0, 801)
        masses = []
        for value in (1.0, math.nan):
            log_p = made.log_prob({"x": np.full(801, value), "y": y})
            masses.append(np.trapezoid(np.exp(log_p), y))
        assert masses[0] == pytest.approx(0.2, abs=0.1)
        assert masses[1] == pytest.approx(0.1, abs=0.1)
        grid = np.linspace(-12.03, 12.0, 602)  # the atom is no point of it
        both = {"x": np.repeat(grid, 801), "y": np.tile(y, 602)}
        density = np.exp(made.log_prob(both)).reshape(602, 801)
        masses.append(np.trapezoid(np.trapezoid(density, y), grid))
        assert sum(masses) == pytest.approx(1.0, abs=2e-3)

    def test_a_row_is_scored_the_same_alone(self, people):
        data = mixed(30, seed=1)
        alone = [people.log_prob(data[i : i + 1])[0] for i in range(30)]
        assert alone == pytest.approx(people.log_prob(data), rel=1e-12)
        assert people.log_prob(data.reverse())[::-1] == pytest.approx(alone, rel=1e-12)

    def test_a_constant_column_changes_nothing(self, few):
        still = small().with_columns(place=pl.lit("Oslo"), year=pl.lit(2024))
        made = quick(still, "nsf", settings=TINY, types=SMALL_TYPES)
        assert made.log_prob(still) == pytest.approx(few.log_prob(small()), abs=1e-9)
        assert made.sample(3)["place"].to_list() == ["Oslo"] * 3
        with pytest.raises(DataError, match="'place' holds 'Rome' in row 1"):
            made.log_prob(still[:1].with_columns(place=pl.lit("Rome")))

    def test_numbers_of_huge_offset_and_dates_keep_their_digits(self):
        seconds = [
            datetime.datetime(2024, 1, 1) + datetime.timedelta(seconds=int(s))
            for s in np.random.default_rng(0).integers(0, 2**21, 200)
        ]
        made = quick(pl.DataFrame({"when": seconds}), "nsf")
        assert made.schema.columns[0].unit == "second"
        drawn = made.sample(200, seed=0)["when"]
        assert drawn.dtype == pl.Datetime("us")
        assert (drawn.dt.microsecond() == 0).all()
        assert drawn.n_unique() > 190
        later = pl.DataFrame({"when": [seconds[0] + datetime.timedelta(milliseconds=500)]})
        with pytest.raises(DataError, match="'when' holds whole seconds in the model"):
            made.log_prob(later)


class TestStrangeRows:
    def test_a_label_never_seen(self, few):
        rows = small(4).with_columns(kind=pl.Series(["a", "c", "b", "c"]))
        with pytest.raises(DataError, match=r"'kind' holds 'c' in row 2, which no training row"):
            few.log_prob(rows)
        lowest = few.log_prob(rows, unseen="lowest")
        each = [few.log_prob(rows.with_columns(kind=pl.lit(kind))) for kind in "ab"]
        assert lowest[[1, 3]] == pytest.approx(np.minimum(*each)[[1, 3]], rel=1e-12)
        assert lowest[0] == pytest.approx(each[0][0])
        assert few.score(rows, unseen="lowest")["log_density"].to_numpy() == pytest.approx(lowest)
        with pytest.raises(ArgumentError, match="unseen is 'highest', expected 'error' or"):
            few.log_prob(rows, unseen="highest")

    def test_a_fraction_among_whole_numbers(self, few):
        rows = small(4).with_columns(count=pl.Series([1.0, 2.0, 1.5, 0.0]))
        with pytest.raises(DataError, match=r"'count' holds whole numbers.*1.5 in row 3; round it"):
            few.log_prob(rows)

    def test_beyond_its_ends_a_column_has_no_density(self, few):
        rows = small(3).with_columns(count=pl.Series([4, -1, 2]))
        assert np.isfinite(few.log_prob(rows)).tolist() == [False, False, True]
        assert few.log_prob(rows)[:2].tolist() == [-math.inf] * 2
        assert few.outlier_score(rows)[:2].tolist() == [1.0, 1.0]

    def test_below_zero_a_positive_column_has_no_density(self, people):
        rows = mixed(3, seed=2).with_columns(spent=pl.Series([-1.0, 0.0, 2.5]))
        assert np.isfinite(people.log_prob(rows)).tolist() == [False, True, True]

    def test_another_kind_of_values(self, people):
        for name, wrong in (("x", "red"), ("count", "red"), ("when", 3.5), ("angle", "north")):
            rows = mixed(3).with_columns(pl.lit(wrong).alias(name))
            with pytest.raises(DataError, match=f"'{name}' holds"):
                people.log_prob(rows)

    def test_a_label_written_as_a_number(self):
        data = {"code": [1, 2, 3] * 40, "x": np.random.default_rng(0).normal(size=120)}
        made = quick(data, "nsf", settings=TINY, types={"code": "categorical"})
        row = {"x": [0.5]}
        same = [made.log_prob({"code": [code], **row})[0] for code in (2, 2.0, "2")]
        assert same == [same[0]] * 3
        assert made.sample(5, seed=0)["code"].dtype == pl.Int64


class TestSamples:
    def test_they_are_as_the_table_came(self, people):
        data = mixed()
        drawn = people.sample(2_000, seed=0)
        assert drawn.schema == data.schema
        assert set(drawn["kind"]) == set(data["kind"])
        assert set(drawn["country"]) == {"here"}
        assert drawn["count"].min() >= 0
        assert drawn["income"].min() > 0.0
        assert drawn["angle"].is_between(0.0, 360.0).all()
        assert drawn["spent"].min() == 0.0
        assert (drawn["spent"].round(2) == drawn["spent"]).all()
        assert (
            drawn["when"].is_between(datetime.date(2023, 10, 1), datetime.date(2024, 7, 1)).mean()
            > 0.95
        )
        assert np.isfinite(people.log_prob(drawn)).all()

    def test_frequencies_are_those_of_the_table(self, people):
        data, drawn = mixed(), people.sample(4_000, seed=0)
        # half a standard deviation more than 4 000 draws have, for what training leaves
        for name, of in (("kind", "red"), ("kind", "blue"), ("member", True), ("spent", 0.0)):
            assert (drawn[name] == of).mean() == pytest.approx((data[name] == of).mean(), abs=0.06)
        assert drawn["height"].is_null().mean() == pytest.approx(0.1, abs=0.05)
        assert drawn["count"].mean() == pytest.approx(data["count"].mean(), rel=0.15)

    def test_frames_of_pandas_and_arrow(self):
        data = mixed(100).drop("height")
        for frame in (data.to_pandas(), data.to_arrow()):
            made = quick(frame, "nsf", settings=TINY, epochs=1)
            drawn = made.sample(5, seed=0)
            assert type(drawn) is type(frame)
            again = (
                pl.DataFrame(drawn)
                if not isinstance(drawn, pd.DataFrame)
                else pl.from_pandas(drawn)
            )
            assert again.columns == data.columns
            assert made.log_prob(drawn).shape == (5,)
        assert pd.api.types.is_bool_dtype(data.to_pandas()["member"])

    @pytest.mark.parametrize(
        "cells",
        [
            pl.Series(["a", "b"] * 50).cast(pl.Categorical),
            pl.Series(["a", "b"] * 50).cast(pl.Enum(["b", "a", "c"])),
            pl.Series(["2024-01-03", "2024-02-01"] * 50),
            pl.Series(["03.01.2024 10:30", "04.02.2024 11:00"] * 50),
            pl.Series([True, False] * 50),
            pl.Series([0, 1] * 50).cast(pl.UInt8),
            pl.Series([0.5, 2.5] * 50).cast(pl.Float32),
            pl.Series([datetime.datetime(2024, 1, 1, 5, tzinfo=datetime.UTC)] * 99 + [None]),
        ],
        ids=lambda cells: str(cells.dtype),
    )
    def test_every_kind_of_column_comes_back_in_its_kind(self, cells):
        data = pl.DataFrame({"v": cells, "x": np.random.default_rng(0).normal(size=100)})
        made = quick(data, "nsf", settings=TINY, epochs=1, missing="model")
        drawn = made.sample(20, seed=0)
        assert drawn.schema == data.schema
        assert (
            set(drawn["v"].cast(pl.String)) <= set(data["v"].cast(pl.String))
            or made.schema.column("v").counted
        )

    def test_values_of_an_interval_stay_between_its_ends(self):
        share = np.random.default_rng(0).beta(0.3, 0.3, 300).clip(1e-3, 1.0)
        table = {"share": share, "x": share * share + 0.01 * np.random.default_rng(1).random(300)}
        made = quick(table, "nsf", types={"share": "interval:0,1"})
        drawn = made.sample(2_000, seed=0)["share"]
        assert drawn.is_between(0.0, 1.0).all()

    def test_an_angle_that_half_of_the_rows_share(self):
        angle = np.random.default_rng(0).uniform(0.0, 360.0, 400)
        angle[::2] = 0.0
        table = {"x": np.random.default_rng(1).normal(size=400), "angle": angle}
        made = quick(table, types={"angle": "circular:360"}, steps=200)
        drawn = made.sample(2_000, seed=0)["angle"]
        assert abs((drawn == 0.0).mean() - 0.5) < 0.05
        # a probability of a half at the atom, and else a density over the turn
        log_p = made.marginal({"angle": [0.0, 90.0]}, ["angle"]).log_prob
        assert log_p[0] == pytest.approx(np.log(0.5), abs=0.1)
        assert log_p[1] == pytest.approx(np.log(0.5 / 360.0), abs=0.5)


class TestSaving:
    def test_it_is_the_same_after_loading(self, people, tmp_path):
        data = mixed(seed=3)
        people.save(tmp_path / "m.safetensors")
        again = pf.load(tmp_path / "m.safetensors")
        assert again.schema == people.schema
        assert np.array_equal(again.log_prob(data), people.log_prob(data))
        assert again.sample(20, seed=0).equals(people.sample(20, seed=0))
        assert again.report == people.report

    def test_a_mixed_context_is_saved(self, tmp_path):
        made = quick(
            mixed(200).drop("height"), "nsf", settings=TINY, context=["kind", "when", "angle"]
        )
        again = pf.load(pf.save(made, tmp_path / "m.safetensors"))
        data = mixed(20, seed=3).drop("height")
        assert np.array_equal(again.log_prob(data), made.log_prob(data))
        given = {"kind": "red", "when": "2024-01-31", "angle": 90}
        drawn = again.sample(4, given=given, seed=0)
        assert drawn.equals(made.sample(4, given=given, seed=0))
        assert drawn["when"].to_list() == [datetime.date(2024, 1, 31)] * 4


class TestFit:
    def test_what_was_chosen_is_said(self, people):
        assert people.report["reference"] == "columns independent of each other"
        assert np.isfinite(people.report["reference_nats"])
        assert people.choice["head"]["components"] >= 1

    def test_a_table_of_nothing_but_labels(self):
        data = {"a": ["x", "y", "y", "z"] * 50, "b": [True, False] * 100}
        made = quick(data, "nsf")
        every = pl.DataFrame({"a": ["x", "y", "z"] * 2, "b": [True] * 3 + [False] * 3})
        p = np.exp(made.log_prob(every))
        assert p.sum() == pytest.approx(1.0, abs=1e-9)
        assert p[:3].sum() == pytest.approx(0.5, abs=0.1)
        assert p[[0, 3]].sum() == pytest.approx(0.25, abs=0.1)

    def test_it_beats_independent_columns_where_they_are_not(self):
        draw = np.random.default_rng(0)
        kind = draw.integers(2, size=600)
        data = {"kind": [("a", "b")[k] for k in kind], "copy": [("c", "d")[k] for k in kind]}
        made = quick(data, "nsf", steps=150, lr=1e-2)
        assert made.report["nats"] > made.report["reference_nats"] + 0.5  # one bit is 0.69

    def test_the_seed_decides(self):
        one, same, other = (
            quick(small(100), "nsf", settings=TINY, epochs=1, seed=seed) for seed in (1, 1, 2)
        )
        assert np.array_equal(one.log_prob(small()), same.log_prob(small()))
        assert not np.array_equal(one.log_prob(small()), other.log_prob(small()))

    def test_the_global_state_is_left_alone(self):
        state = torch.get_rng_state()
        quick(small(100), "nsf", settings=TINY, epochs=1).sample(3, seed=0)
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize("rows", [3, 10])
    def test_a_handful_of_rows(self, rows):
        said = "no more than columns" if rows < 4 else "^$"
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            made = quick(numbers(rows), "nsf", settings=TINY, epochs=1)
        assert all(re.search(said, str(one.message)) for one in told)
        assert bool(told) == (rows < 4)
        assert made.sample(3, seed=0).shape == (3, 3)
        assert np.isfinite(made.log_prob(numbers(rows))).all()

    @pytest.mark.filterwarnings("ignore:.*fewer than columns")
    def test_of_two_rows_of_numbers_both_are_learned_from_and_that_is_said(self):
        with pytest.warns(UserWarning, match="none of its 2 rows can be spared to be held out"):
            made = quick(numbers(2), "nsf", settings=TINY, epochs=1)
        assert np.isfinite(made.log_prob(numbers(2))).all()
        assert made.report["training_rows"] == 2
        assert made.report["nats_error"] is None

    def test_a_flow_of_ones_own_takes_all_columns_as_numbers(self):
        data = pl.DataFrame({"n": np.arange(60) % 7, "t": np.arange(60) % 2 == 0})
        made = quick(data, flow=pf.flows.nice(2), settings=None, epochs=1)
        assert [column.type for column in made.schema.columns] == ["real", "real"]
        assert made.sample(4, seed=0).schema == data.schema

    def test_a_recipe_of_angles_takes_numbers_as_they_are_and_text_besides(self):
        data = mixed(200).select("angle", "income", "spent", "kind")
        settings = {"layers": 1, "hidden": (8,), "period": 400.0}
        made = quick(data, "ncsf", settings=settings)
        assert [column.type for column in made.schema.columns] == ["real"] * 3 + ["categorical"]
        assert np.isfinite(made.log_prob(data)).all()
