"""A flow for a table: names, types, units and kinds of frames, from the rows that came in."""

import datetime
import json
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from tests.tables.cases import conditional_gaussian, numbers, quick

import pushforward as pf
from pushforward import bases, flows
from pushforward import transforms as T
from pushforward.errors import (
    ArgumentError,
    DataError,
    ModelFileError,
    NotFittedError,
    PushforwardError,
)


@pytest.fixture(scope="module")
def table():
    """A model of a, b and c. Tests do not change it."""
    return quick(numbers())


@pytest.fixture(scope="module")
def given():
    """A model of a and b given c."""
    return quick(numbers(), context=["c"])


KINDS = {
    "polars": lambda frame, folder: frame,
    "pandas": lambda frame, folder: frame.to_pandas(),
    "arrow": lambda frame, folder: frame.to_arrow(),
    "dict": lambda frame, folder: frame.to_dict(as_series=False),
    "csv": lambda frame, folder: _written(frame.write_csv, folder / "t.csv"),
    "parquet": lambda frame, folder: _written(frame.write_parquet, folder / "t.parquet"),
}
RETURNED = {"pandas": pd.DataFrame, "arrow": pa.Table}

every_kind = pytest.mark.parametrize("kind", KINDS)


def _written(write, path):
    write(path)
    return path


def as_polars(frame):
    return frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)


class TestFrames:
    @every_kind
    def test_every_kind_of_table_is_scored_alike(self, table, tmp_path, kind):
        data = numbers()
        assert np.array_equal(table.log_prob(KINDS[kind](data, tmp_path)), table.log_prob(data))

    @every_kind
    def test_every_kind_of_table_gives_the_same_model(self, table, tmp_path, kind):
        again = quick(KINDS[kind](numbers(), tmp_path))
        assert np.array_equal(again.log_prob(numbers()), table.log_prob(numbers()))

    @every_kind
    def test_samples_are_of_the_kind_that_came_in(self, tmp_path, kind):
        made = quick(KINDS[kind](numbers(100), tmp_path), epochs=1).sample(5, seed=0)
        assert isinstance(made, RETURNED.get(kind, pl.DataFrame))
        assert as_polars(made).columns == ["a", "b", "c"]

    @every_kind
    def test_scores_are_of_the_kind_that_is_scored(self, table, tmp_path, kind):
        data = numbers(50).with_columns(word=pl.lit("x"), row=pl.int_range(50))
        scored = table.score(KINDS[kind](data, tmp_path))
        assert isinstance(scored, RETURNED.get(kind, pl.DataFrame))
        scored = as_polars(scored)
        assert scored.columns == [*data.columns, "log_density", "outlier_score"]
        for name in data.columns:
            assert scored[name].to_list() == pytest.approx(data[name].to_list())
        assert np.array_equal(scored["log_density"].to_numpy(), table.log_prob(data))
        assert np.array_equal(scored["outlier_score"].to_numpy(), table.outlier_score(data))

    def test_scoring_twice_replaces_the_scores(self, table):
        once = table.score(numbers(30))
        assert table.score(once).equals(once)
        note = table.notes[-1]
        assert (
            note == "DATA: 'log_density' and 'outlier_score' were there already and are replaced."
        )

    def test_scores_of_a_pandas_frame_keep_its_index(self, table):
        data = numbers(30).to_pandas().set_index(pd.Index(range(100, 130), name="event"))
        scored = table.score(data)
        assert scored.index.equals(data.index)
        assert scored.index.name == "event"

    def test_scores_of_a_pandas_frame_keep_every_kind_of_column(self, table):
        data = numbers(30).to_pandas()
        data["kind"] = pd.Categorical(["x", "y", "z"] * 10)
        data["when"] = pd.date_range("2024-01-01", periods=30, tz="Europe/Paris")
        data["count"] = pd.array([1, None, 3] * 10, dtype="Int64")
        data[7] = 1.0
        scored = table.score(data)
        assert scored.columns.to_list() == [*data.columns, "log_density", "outlier_score"]
        pd.testing.assert_frame_equal(scored[data.columns], data)
        assert "log_density" not in data.columns
        pd.testing.assert_frame_equal(table.score(scored), scored)

    def test_arrays_are_taken_in_order(self, table):
        data = numbers(20)
        assert np.array_equal(table.log_prob(data.to_numpy()), table.log_prob(data))
        tensor = torch.from_numpy(data.to_numpy())
        assert np.array_equal(table.log_prob(tensor), table.log_prob(data))

    def test_arrays_of_another_width_are_refused(self, table):
        with pytest.raises(DataError, match="'a', which the model reads, is missing"):
            table.log_prob(numbers(20).to_numpy()[:, :2])

    def test_a_model_of_an_array_has_names_of_its_own(self):
        data = numbers().to_numpy()
        made = quick(data, epochs=1)
        assert made.schema.features == ("x0", "x1", "x2")
        assert made.sample(3).columns == ["x0", "x1", "x2"]
        assert made.log_prob(data[:5]).shape == (5,)


class TestNames:
    def test_columns_are_matched_by_name(self, table):
        data = numbers(20)
        assert np.array_equal(table.log_prob(data.select("c", "a", "b")), table.log_prob(data))

    def test_extra_columns_are_ignored_with_a_note(self, table):
        data = numbers(20)
        more = data.with_columns(word=pl.lit("x")).select("word", "c", "b", "a")
        want = table.log_prob(data)
        assert np.array_equal(table.log_prob(more), want)
        assert table.notes == ["DATA: the column 'word' is ignored, the model does not read it."]

    @pytest.mark.parametrize("name", ["My rows.csv", "Data.csv"])
    def test_a_note_about_a_file_begins_with_its_name(self, table, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        numbers(20).with_columns(word=pl.lit("x")).write_csv(name)
        table.log_prob(name)
        assert table.notes == [f"{name}: the column 'word' is ignored, the model does not read it."]

    @pytest.mark.parametrize("data", [numbers(20), numbers(20).to_numpy()])
    def test_a_note_is_of_the_last_call_only(self, table, data):
        table.log_prob(numbers(20).with_columns(word=pl.lit("x")))
        table.log_prob(data)
        assert table.notes == []

    def test_a_missing_column_is_answered_with_the_nearest(self, table):
        with pytest.raises(DataError, match=r"'b', which the model reads, is missing.*mean 'bb'"):
            table.log_prob(numbers(20).rename({"b": "bb"}))

    def test_a_gap_is_named_with_its_row(self, table):
        data = numbers(20).with_columns(b=pl.when(pl.int_range(20) != 6).then("b"))
        with pytest.raises(DataError, match=r"'b' has a missing value in row 7"):
            table.log_prob(data)


class TestDensity:
    def test_it_is_float64_and_finite(self, table):
        log_p = table.log_prob(numbers())
        assert log_p.dtype == np.float64
        assert log_p.shape == (400,)
        assert np.isfinite(log_p).all()

    def test_a_row_is_scored_the_same_alone(self, table):
        data = numbers(30)
        alone = [table.log_prob(data[i : i + 1])[0] for i in range(30)]
        assert alone == pytest.approx(table.log_prob(data), rel=1e-12)
        # it is that of the row's neighbours in another order, too
        assert table.log_prob(data.reverse())[::-1] == pytest.approx(alone, rel=1e-12)

    def test_it_is_that_of_the_flow_less_the_offsets(self, table):
        data = numbers(30)
        offsets = [table.schema.column(name).offset for name in "abc"]
        flow = pf.TableFlow.flow.fget(table)
        x = torch.from_numpy(data.to_numpy() - offsets).to(flow.dtype)
        with torch.no_grad():
            assert flow.log_prob(x).numpy() == pytest.approx(table.log_prob(data), abs=1e-3)

    def test_it_is_in_the_units_of_the_table(self, table):
        """A column in tenths of its unit has a tenth of the density."""
        scaled = numbers().with_columns(b=10.0 * pl.col("b"))
        gap = table.log_prob(numbers()) - quick(scaled).log_prob(scaled)
        # the same seed, hence the same run up to rounding in float32
        assert gap == pytest.approx(np.full(400, math.log(10.0)), abs=0.01)

    def test_a_huge_offset_costs_nothing(self, table):
        """Unix times, of which float32 knows no less than two minutes."""
        late = numbers().with_columns(a=1.7e9 + pl.col("a"))
        made = quick(late)
        assert made.log_prob(late) == pytest.approx(table.log_prob(numbers()), abs=0.02)
        drawn = made.sample(2_000, seed=0)["a"] - 1.7e9
        assert drawn.mean() == pytest.approx(10.0, abs=0.5)
        assert drawn.n_unique() > 1_900

    def test_a_table_of_one_column(self):
        made = quick(numbers().select("a"), flow="nsf")
        grid = np.linspace(-5.0, 25.0, 3_001)
        assert np.trapezoid(np.exp(made.log_prob({"a": grid})), grid) == pytest.approx(1, abs=0.01)


class TestBoundedSupport:
    def positive(self):
        return flows.nsf(3, layers=1, hidden=(8,), start=T.Log(3), seed=0)

    def bad_at(self, row):
        return numbers(60).with_columns(
            c=pl.when(pl.int_range(60) != row).then("c").otherwise(-1.0)
        )

    @pytest.mark.parametrize("row", range(0, 60, 6))
    def test_a_row_without_density_is_refused_by_its_number_in_the_table(self, row):
        with pytest.raises(DataError) as caught:
            pf.TableFlow(self.positive()).fit(self.bad_at(row), steps=2, progress=False)
        said = str(caught.value)
        assert said.startswith(f"DATA: row {row + 1} has no density, a = ")
        assert "c = -1; the flow takes numbers in (0, inf)" in said

    def test_a_row_without_weight_may_lie_outside(self):
        data = self.bad_at(7).with_columns(w=pl.when(pl.int_range(60) != 7).then(1.0).otherwise(0))
        made = pf.TableFlow(self.positive()).fit(data, weights="w", epochs=2, progress=False)
        log_p = made.log_prob(data)
        assert log_p[7] == -np.inf
        assert np.isfinite(np.delete(log_p, 7)).all()
        assert made.outlier_score(data)[7] == 1.0


@pytest.fixture(scope="module")
def noisy():
    """A model whose density is an estimate, and its table."""
    draw = np.random.default_rng(0).normal(size=(200, 9)) @ np.triu(np.ones((9, 9)))
    data = pl.DataFrame(draw, schema=[f"c{i}" for i in range(9)])
    return quick(data, "ffjord", settings={"hidden": (8,), "steps": 2}, lr=0.05), data


class TestEstimates:
    """A density that is an estimate: noise in every row, the same noise every time."""

    def test_scores_repeat(self, noisy):
        table, data = noisy
        assert table.flow.exactness == "estimate"
        state = torch.get_rng_state()
        first = table.log_prob(data)
        torch.randn(7)
        assert (table.log_prob(data) == first).all()
        assert (table.score(data)["log_density"].to_numpy() == first).all()
        torch.set_rng_state(state)
        table.log_prob(data)
        assert torch.equal(torch.get_rng_state(), state)

    def test_scores_repeat_in_another_process_s_model(self, noisy, tmp_path):
        table, data = noisy
        table.save(tmp_path / "noisy.safetensors")
        again = pf.load(tmp_path / "noisy.safetensors")
        assert (again.log_prob(data) == table.log_prob(data)).all()

    def test_each_row_has_noise_of_its_own(self, noisy):
        table, data = noisy
        same = pl.concat([data[:1]] * 100)
        scores = table.log_prob(same)
        assert len(np.unique(scores)) > 10


class TestOutliers:
    def test_the_score_is_a_share_that_falls_with_the_density(self, table):
        data = numbers()
        log_p, score = table.log_prob(data), table.outlier_score(data)
        assert ((score >= 0.0) & (score <= 1.0)).all()
        assert (np.diff(score[np.argsort(log_p)]) <= 0.0).all()

    def test_training_rows_are_spread_evenly(self, table):
        score = np.sort(table.outlier_score(numbers()))
        assert np.median(score) == pytest.approx(0.5, abs=0.05)
        assert score == pytest.approx(np.linspace(0.0, 1.0, 400), abs=0.06)

    def test_a_row_far_out_scores_one_and_the_likeliest_place_zero(self, table):
        assert table.outlier_score({"a": [1e3], "b": [-1e3], "c": [500.0]}).tolist() == [1.0]
        data = numbers()
        best = data[int(table.log_prob(data).argmax())]
        assert table.outlier_score(best)[0] < 0.01

    def test_it_is_the_share_of_training_rows_that_were_likelier(self, table):
        data = numbers(2_000, seed=5)
        training = table.log_prob(numbers())
        share = (training[None] > table.log_prob(data)[:, None]).mean(1)
        # a tenth of these rows was held out, and does not count among the known
        assert np.abs(table.outlier_score(data) - share).max() < 0.06


@pytest.fixture(scope="module")
def gaps():
    data = numbers()
    holes = pl.int_range(400) % 10 == 3
    return data.with_columns(
        b=pl.when(~holes).then("b"), c=pl.when(pl.int_range(400) != 7).then("c")
    )


class TestGaps:
    def test_incomplete_rows_get_no_score_and_stay(self, gaps):
        made = quick(gaps, missing="drop")
        assert made.report["rows_dropped"] == 41
        scored = made.score(gaps)
        assert scored.height == 400
        gap = gaps["b"].is_null() | gaps["c"].is_null()
        for name in ("log_density", "outlier_score"):
            assert (scored[name].is_null() == gap).all()
            assert scored[name].is_nan().sum() == 0
        assert np.array_equal(np.isnan(made.log_prob(gaps)), gap.to_numpy())
        assert np.array_equal(np.isnan(made.outlier_score(gaps)), gap.to_numpy())
        assert made.log_prob(gaps)[~gap.to_numpy()] == pytest.approx(
            made.log_prob(gaps.drop_nulls()), rel=1e-12
        )

    def test_rows_without_a_single_number(self, gaps):
        made = quick(gaps, missing="drop", epochs=1)
        empty = pl.DataFrame({"a": [None, None], "b": [1.0, 2.0], "c": [1.0, 2.0]})
        scored = made.score(empty.cast(pl.Float64))
        assert scored["log_density"].to_list() == [None, None]

    def test_the_default_refuses(self, gaps):
        with pytest.raises(DataError, match=r"'c' has.*row 8|'b' has.*row 4|missing"):
            quick(gaps)


@pytest.fixture(scope="module")
def typed():
    draw = np.random.default_rng(3)
    data = pl.DataFrame(
        {
            "count": draw.poisson(1.0, 300).astype(np.uint8),
            "high": (255 - draw.poisson(1.0, 300)).astype(np.uint8),
            "signed": draw.integers(-20, 20, 300),
            "truth": draw.random(300) < 0.3,
            "single": draw.normal(0.0, 1.0, 300).astype(np.float32),
            "double": draw.normal(0.0, 1.0, 300),
        }
    )
    return data, quick(data)


class TestSamples:
    def test_names_and_types_are_those_of_the_table(self, typed):
        data, made = typed
        drawn = made.sample(3_000, seed=0)
        assert drawn.schema == data.schema
        assert drawn.null_count().row(0) == (0,) * 6

    def test_whole_numbers_do_not_leave_their_type(self, typed):
        drawn = typed[1].sample(3_000, seed=0)
        # a type that wraps round would give 255 for -1, far above what was seen
        assert drawn["count"].max() < 50
        assert drawn["count"].min() == 0
        assert drawn["high"].min() > 200
        assert drawn["high"].max() == 255

    def test_truth_values_are_true_about_as_often(self, typed):
        data, made = typed
        assert made.sample(3_000, seed=0)["truth"].mean() == pytest.approx(
            data["truth"].mean(), abs=0.12
        )

    def test_types_of_pandas_and_arrow(self, typed):
        data = typed[0]
        made = quick(data.to_pandas(), epochs=1).sample(4, seed=0)
        assert made.dtypes.to_dict() == data.to_pandas().dtypes.to_dict()
        made = quick(data.to_arrow(), epochs=1).sample(4, seed=0)
        assert made.schema.equals(data.to_arrow().schema)

    def test_whole_numbers_at_the_end_of_their_type(self):
        from pushforward.tables.sampling import _typed

        column = pf.tables.infer_schema({"a": list(range(30))}).columns[0]
        drawn = _typed(column, torch.tensor([1e30, -1e30, 2.0**63, 3.4]).double())
        assert drawn.dtype == pl.Int64
        assert drawn[0] > 9.2e18
        assert drawn[1] < -9.2e18
        assert drawn[3] == 3

    def test_the_seed_decides(self, table):
        assert table.sample(20, seed=1).equals(table.sample(20, seed=1))
        assert not table.sample(20, seed=1).equals(table.sample(20, seed=2))
        state = torch.get_rng_state()
        table.sample(20, seed=1)
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(7)
        first = table.sample(20)
        torch.manual_seed(7)
        assert table.sample(20).equals(first)

    def test_samples_follow_the_density(self, table):
        """The mean of the log-density over samples is minus the entropy of both halves."""
        halves = [table.log_prob(table.sample(4_000, seed=seed)) for seed in (0, 1)]
        error = math.hypot(*(half.std() / math.sqrt(4_000) for half in halves))
        assert abs(halves[0].mean() - halves[1].mean()) < 4.0 * error
        drawn = table.sample(4_000, seed=0)
        for name in "abc":
            assert drawn[name].mean() == pytest.approx(numbers()[name].mean(), rel=0.1)

    @pytest.mark.parametrize("n", [0, -3, 1.5, "4", None])
    def test_a_number_of_rows_that_makes_no_sense(self, table, n):
        with pytest.raises(ArgumentError, match=rf"TableFlow\.sample: n is {n!r}, expected"):
            table.sample(n)

    def test_a_number_of_numpy_will_do(self, table):
        assert table.sample(np.int64(3), seed=0).equals(table.sample(3, seed=0))


class TestGiven:
    def test_a_mapping_gives_every_row_its_values(self, given):
        drawn = given.sample(6, given={"c": 2.5}, seed=0)
        assert drawn.columns == ["a", "b", "c"]
        assert drawn["c"].to_list() == [2.5] * 6

    def test_a_mapping_of_lists_and_a_frame_give_rows_for_each(self, given):
        listed = given.sample(3, given={"c": [1.0, 5.0]}, seed=0)
        assert listed["c"].to_list() == [1.0] * 3 + [5.0] * 3
        for frame in (
            pl.DataFrame({"extra": ["x", "y"], "c": [1.0, 5.0]}),
            pd.DataFrame({"c": [1.0, 5.0]}),
        ):
            assert given.sample(3, given=frame, seed=0).equals(listed)

    def test_what_is_given_matters(self):
        draw = np.random.default_rng(0)
        c = draw.choice([0.0, 100.0], 600) + draw.normal(0.0, 1.0, 600)
        data = pl.DataFrame({"y": c + draw.normal(0.0, 5.0, 600), "c": c})
        made = quick(data, steps=150, context=["c"], lr=1e-2)
        means = [made.sample(500, given={"c": at}, seed=0)["y"].mean() for at in (0.0, 100.0)]
        assert means == pytest.approx([0.0, 100.0], abs=12.0)

    def test_densities_are_conditional(self, given):
        grid = np.linspace(-30.0, 50.0, 401)
        one = quick(numbers().select("a", "c"), flow="nsf", context=["c"])
        for at in (1.0, 4.0):
            density = np.exp(one.log_prob({"a": grid, "c": np.full(401, at)}))
            assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=0.02)

    @pytest.mark.parametrize(
        ("wrong", "error", "says"),
        [
            (None, ArgumentError, "needs given values of c"),
            ({"cc": 1.0}, ArgumentError, r"'cc', which is no column.*mean 'c'"),
            ({"c": 1.0, "d": 2.0}, ArgumentError, "'d', which is no column"),
            ({"a": 1.0}, ArgumentError, "needs given values of c; 'c' is lacking"),
            ({}, ArgumentError, "needs given values of c; 'c' is lacking"),
            ({"c": math.nan}, DataError, "'c' is missing or infinite in row 1"),
            ({"c": [1.0, math.inf]}, DataError, "'c' is missing or infinite in row 2"),
            ({"c": "red"}, ArgumentError, "given holds 'red' for 'c', expected a number"),
            ({"c": [1.0, 2.0], "a": 3.0}, ArgumentError, "holds 2 values of 'a', expected one"),
            ({"c": []}, PushforwardError, "given"),
            (pl.DataFrame({"d": [1.0]}), DataError, "'c' is missing"),
            (pl.DataFrame({"c": ["red"]}), DataError, r"'c' holds text \('red' in row 1\)"),
            (pl.DataFrame({"c": [1.0, None]}), DataError, "'c' is missing or infinite in row 2"),
            (3.0, PushforwardError, "given is a float"),
        ],
    )
    def test_what_cannot_be_given_is_refused(self, given, wrong, error, says):
        with pytest.raises(error, match=says):
            given.sample(2, given=wrong)

    def test_a_frame_is_for_context_columns(self, table):
        with pytest.raises(ArgumentError, match=r"given is a frame, which needs context columns"):
            table.sample(2, given=pl.DataFrame({"c": [1.0, 2.0]}))

    def test_scoring_needs_the_context(self, given):
        with pytest.raises(DataError, match="'c', which the model reads, is missing"):
            given.log_prob(numbers(20).drop("c"))


class TestArguments:
    @pytest.mark.parametrize(
        "use",
        [
            lambda t: t.log_prob(numbers(20)),
            lambda t: t.outlier_score(numbers(20)),
            lambda t: t.score(numbers(20)),
            lambda t: t.sample(2),
            lambda t: t.save("never.safetensors"),
            lambda t: t.schema,
            lambda t: t.history,
            lambda t: t.flow,
        ],
    )
    def test_nothing_works_before_fit(self, use, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(NotFittedError, match="call fit first"):
            use(pf.TableFlow())
        assert list(tmp_path.iterdir()) == []

    def test_an_unknown_recipe_is_answered_with_the_nearest(self):
        with pytest.raises(ArgumentError, match=r"'nfs'.*'nsf'"):
            pf.TableFlow("nfs")

    def test_settings_that_a_recipe_does_not_take(self):
        for settings, says in (({"layer": 3}, "realnvp.*'layer'"), ({"layers": 0}, "layers is 0")):
            with pytest.raises(ArgumentError, match=says):
                quick(numbers(100), settings=settings)

    def test_settings_of_a_flow_are_refused(self):
        with pytest.raises(ArgumentError, match="settings are for a recipe"):
            pf.TableFlow(flows.nice(2), settings={"layers": 2})

    @pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 5])
    def test_the_held_out_share_is_a_share(self, share):
        with pytest.raises(ArgumentError, match=f"validation is {share}, expected a share"):
            quick(numbers(100), validation=share)

    def test_a_flow_of_ones_own(self, tmp_path):
        flow = pf.Flow(T.Compose(T.Standardize(3), T.LU(3)), bases.Normal(3))
        made = quick(numbers(), flow=flow, settings=None, steps=100)
        assert made.flow is flow
        assert made.choice["reason"] == ("the flow that was given",)
        again = pf.load(pf.save(made, tmp_path / "m.safetensors"))
        assert np.array_equal(again.log_prob(numbers()), made.log_prob(numbers()))

    def test_a_flow_of_another_width_is_refused(self):
        with pytest.raises(PushforwardError, match="2"):
            quick(numbers(100), flow=flows.nice(2), settings=None)

    def test_ready_is_called_before_training(self):
        seen = []

        def ready(schema, choice, flow):
            seen.append((schema.features, choice["recipe"], isinstance(flow, pf.Flow)))
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            quick(numbers(100), ready=ready)
        assert seen == [(("a", "b", "c"), "realnvp", True)]

    def test_the_seed_decides_the_model(self):
        first, second, other = (quick(numbers(100), epochs=1, seed=s) for s in (1, 1, 2))
        assert np.array_equal(first.log_prob(numbers()), second.log_prob(numbers()))
        assert not np.array_equal(first.log_prob(numbers()), other.log_prob(numbers()))

    def test_fitting_again_forgets_the_first_table(self, table):
        other = pl.DataFrame({"z": np.random.default_rng(0).normal(size=100)})
        made = quick(numbers(100), epochs=1)
        made.log_prob(numbers())
        made.fit(other, epochs=1, progress=False)
        assert made.schema.names == ("z",)
        assert made.log_prob(other).shape == (100,)
        assert made.sample(2).columns == ["z"]


class TestWeights:
    def test_rows_of_no_weight_have_no_influence(self):
        data = numbers().with_columns(w=(pl.int_range(400) % 4 != 0).cast(pl.Float64))
        scattered = data.with_columns(
            a=pl.when(pl.col("w") > 0).then("a").otherwise(pl.col("a") * 3.0 - 40.0)
        )
        first, second = (quick(d, weights="w") for d in (data, scattered))
        assert second.log_prob(data) == pytest.approx(first.log_prob(data), abs=1e-3)
        assert second.outlier_score(data) == pytest.approx(first.outlier_score(data), abs=0.01)
        assert second.report["nats"] == pytest.approx(first.report["nats"], abs=1e-4)

    def test_too_few_rows_with_a_weight(self):
        data = numbers().with_columns(w=(pl.int_range(400) < 1).cast(pl.Float64))
        with pytest.raises(DataError, match="only 1 row has a weight, expected at least 2"):
            quick(data, weights="w")

    def test_the_weights_are_no_feature_and_not_needed_again(self):
        made = quick(numbers().with_columns(w=pl.lit(2.0) + pl.col("c")), weights="w", epochs=1)
        assert made.schema.features == ("a", "b", "c")
        assert made.sample(2).columns == ["a", "b", "c"]
        assert made.log_prob(numbers(5)).shape == (5,)
        assert made.notes == []


class TestReport:
    @pytest.mark.parametrize("weights", [None, "w"])
    def test_its_figures_are_what_one_computes(self, weights):
        data = numbers().with_columns(w=pl.Series(np.random.default_rng(9).random(400)))
        data = data if weights else data.drop("w")
        made = quick(data, weights=weights, validation=0.2, context=["c"])
        order = torch.randperm(400, generator=torch.Generator().manual_seed(0)).numpy()
        held, train = data[order[:80]], data[order[80:]]
        w = held["w"].to_numpy() if weights else np.ones(80)
        log_p = made.log_prob(held)
        report = made.report
        assert (report["held_out_rows"], report["training_rows"]) == (80, 320)
        assert (report["rows_read"], report["rows_dropped"]) == (400, 0)
        mean = np.average(log_p, weights=w)
        assert report["nats"] == pytest.approx(mean, abs=1e-4)
        error = math.sqrt((w**2 * (log_p - mean) ** 2).sum()) / w.sum()
        assert report["nats_error"] == pytest.approx(error, rel=1e-3)
        gaussian = conditional_gaussian(train, held, train["w"] if weights else None)
        assert report["reference"] == "Gaussian, full covariance"
        assert report["reference_nats"] == pytest.approx(np.average(gaussian, weights=w), abs=1e-4)
        assert report["seconds"] > 0.0


class TestSaving:
    def test_save_and_load_are_equal_to_the_bit(self, given, tmp_path):
        data = numbers()
        given.save(tmp_path / "m.safetensors")
        again = pf.load(tmp_path / "m.safetensors")
        assert isinstance(again, pf.TableFlow)
        assert np.array_equal(again.log_prob(data), given.log_prob(data))
        assert np.array_equal(again.outlier_score(data), given.outlier_score(data))
        drawn = [t.sample(5, given={"c": 2.0}, seed=0) for t in (again, given)]
        assert drawn[0].equals(drawn[1])
        assert again.schema == given.schema
        assert again.report == given.report
        assert again.choice["arguments"]["hidden"] == [16]
        assert json.loads(again.history.to_json()) == json.loads(given.history.to_json())
        assert again.flow.facts == given.flow.facts
        pf.save(again, tmp_path / "again.safetensors")
        files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("m", "again")]
        assert files[0] == files[1]

    def test_another_process_scores_the_same(self, table, tmp_path):
        table.save(tmp_path / "m.safetensors")
        numbers(50).write_parquet(tmp_path / "t.parquet")
        code = (
            "import pushforward as pf; t = pf.load('m.safetensors');"
            "print(*(v.hex() for v in t.log_prob('t.parquet').tolist()))"
        )
        said = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        found = [float.fromhex(word) for word in said.stdout.split()]
        assert found == table.log_prob(numbers(50)).tolist()

    def test_a_loaded_model_can_be_fitted_again(self, table, tmp_path):
        table.save(tmp_path / "m.safetensors")
        again = pf.load(tmp_path / "m.safetensors").fit(numbers(seed=1), epochs=1, progress=False)
        again.save(tmp_path / "again.safetensors")
        loaded = pf.load(tmp_path / "again.safetensors")
        assert np.array_equal(loaded.log_prob(numbers()), again.log_prob(numbers()))

    def test_a_changed_file_is_refused(self, table, tmp_path):
        table.save(tmp_path / "m.safetensors")
        content = bytearray((tmp_path / "m.safetensors").read_bytes())
        content[-9] ^= 1
        (tmp_path / "m.safetensors").write_bytes(content)
        with pytest.raises(ModelFileError, match="damaged"):
            pf.load(tmp_path / "m.safetensors")


def test_dates_may_stand_beside_the_numbers(table):
    day = datetime.date(2024, 2, 29)
    scored = table.score(numbers(20).with_columns(day=pl.lit(day)))
    assert scored["day"].to_list() == [day] * 20
