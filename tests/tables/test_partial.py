"""Rows known in part: samples given some columns, marginal densities, gaps filled, surprise."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from tests.tables.cases import SMALL_TYPES, mixed, numbers, quick, small

from pushforward.errors import ArgumentError, DataError

TINY = {"layers": 1, "hidden": (8, 8)}
GRID = np.linspace(-40.0, 40.0, 2_001)


@pytest.fixture(scope="module")
def few():
    """A model of two kinds, counts up to three, a flag and one number."""
    return quick(small(), "nsf", settings=TINY, types=SMALL_TYPES, steps=60, lr=5e-3)


@pytest.fixture(scope="module")
def plain():
    """A model of three numbers."""
    return quick(numbers(), "nsf", settings={"layers": 2, "hidden": (8, 8)})


@pytest.fixture(scope="module")
def people():
    """A model of all kinds of columns."""
    return quick(mixed(), "nsf", settings=TINY, missing="model")


def joint(model):
    """Probability of every combination of kind, count and flag, and of x on a grid."""
    shape = (2, 4, 2, len(GRID))
    kind, count, flag, x = np.indices(shape).reshape(4, -1)
    rows = pl.DataFrame(
        {"x": GRID[x], "kind": np.array(["a", "b"])[kind], "count": count, "flag": flag == 1}
    )
    return np.exp(model.log_prob(rows)).reshape(shape)


class TestGivenSamples:
    @pytest.mark.parametrize(
        "given",
        [{"kind": "b"}, {"count": 2}, {"flag": True}, {"kind": "a", "flag": False}, {"x": 1.0}],
        ids=str,
    )
    def test_they_follow_the_conditional_density(self, few, given):
        density = joint(few)
        masses = np.trapezoid(density, GRID)
        if "x" in given:
            masses = density[..., np.abs(GRID - given["x"]).argmin()]
        for axis, (name, code) in enumerate(
            (("kind", {"a": 0, "b": 1}), ("count", range(4)), ("flag", {False: 0, True: 1}))
        ):
            if name in given:
                masses = masses.take([code[given[name]]], axis)
        masses = masses / masses.sum()
        drawn = few.sample(3_000, given=given, seed=0)
        for name, value in given.items():
            assert set(drawn[name]) == {value}
        # four standard deviations of what 1 000 independent draws have
        if "kind" not in given:
            assert (drawn["kind"] == "b").mean() == pytest.approx(masses[1].sum(), abs=0.06)
        if "flag" not in given:
            assert drawn["flag"].mean() == pytest.approx(masses[:, :, 1].sum(), abs=0.06)
        if "count" not in given:
            mean = (masses.sum((0, 2)) * np.arange(4)).sum()
            assert drawn["count"].mean() == pytest.approx(mean, abs=0.12)

    def test_numbers_given_numbers(self, plain):
        drawn = plain.sample(2_000, given={"a": 12.0}, seed=0)
        assert drawn["a"].to_list() == [12.0] * 2_000
        (note,) = plain.notes
        assert "given a: 2,000 rows out of" in note
        # b by the trapezoid rule, with draws of c that do not depend on it
        b = np.linspace(0.0, 12.0, 201)
        c = plain.sample(300, seed=1)["c"].to_numpy()
        rows = {"a": np.full(201 * 300, 12.0), "b": np.repeat(b, 300), "c": np.tile(c, 201)}
        log_q = np.log(stats_of(c)(c))
        density = np.exp(plain.log_prob(rows).reshape(201, 300) - log_q).mean(1)
        mean = np.trapezoid(density * b, b) / np.trapezoid(density, b)
        assert drawn["b"].mean() == pytest.approx(mean, abs=0.15)

    def test_a_context_is_exact_and_says_nothing(self):
        made = quick(small(), "nsf", settings=TINY, types=SMALL_TYPES, context=["kind"])
        drawn = made.sample(50, given={"kind": "b"}, seed=0)
        assert set(drawn["kind"]) == {"b"}
        assert made.notes == []
        drawn = made.sample(50, given={"kind": "b", "count": 1}, seed=0)
        assert set(drawn["count"]) == {1}
        assert "given count" in made.notes[0]

    def test_the_seed_decides(self, few):
        one, same, other = (few.sample(20, given={"x": 0.5}, seed=s) for s in (1, 1, 2))
        assert one.equals(same)
        assert not one.equals(other)

    def test_what_is_impossible_is_refused_with_advice(self, few, plain):
        name = plain.schema.names[0]
        says = rf"given {name}: .*are worth .* only.*context=\['{name}'\]"
        with pytest.raises(DataError, match=says):
            plain.sample(5, given={name: 1e9})
        with pytest.raises(DataError, match="'kind' holds 'z' in row 1, which no training row had"):
            few.sample(5, given={"kind": "z"})
        with pytest.raises(DataError, match="'count' holds whole numbers"):
            few.sample(5, given={"count": 1.5})

    def test_values_of_every_kind_may_be_given(self, people):
        given = {
            "kind": "red",
            "count": 2,
            "member": True,
            "when": "2024-02-01",
            "spent": 0.0,
            "country": "here",
        }
        for name, value in given.items():
            drawn = people.sample(3, given={name: value}, seed=0)
            assert set(drawn[name].cast(pl.String)) == {
                {"member": "true", "spent": "0.0"}.get(name, str(value))
            }


def stats_of(values):
    """A smooth density of values, to draw from in a check."""
    from scipy.stats import gaussian_kde

    return gaussian_kde(values)


class TestMarginal:
    @pytest.mark.parametrize(
        "columns", [["kind"], ["count"], ["kind", "flag"], ["x"], ["x", "flag"], ["flag", "count"]]
    )
    def test_it_is_the_joint_density_added_up(self, few, columns):
        density, axes = joint(few), ["kind", "count", "flag"]
        exact = density if "x" in columns else np.trapezoid(density, GRID)
        exact = exact.sum(tuple(i for i, name in enumerate(axes) if name not in columns))
        rows = pl.DataFrame(
            {"kind": ["b"] * 2, "count": [2, 0], "flag": [True] * 2, "x": [GRID[1000]] * 2}
        )
        places = {"kind": [1, 1], "count": [2, 0], "flag": [1, 1], "x": [1000, 1000]}
        want = exact[tuple(places[name] for name in [*axes, "x"] if name in columns)]
        found = few.marginal(rows, columns, draws=4_000)
        error = 5.0 * found.standard_error + 1e-3
        assert (np.abs(found.log_prob - np.log(want)) < error).all()
        assert (found.standard_error < 0.2).all()
        same = few.marginal(rows.select(columns), draws=4_000)
        assert np.array_equal(same.log_prob, found.log_prob)

    def test_of_all_columns_it_is_the_density(self, few, people):
        for model, rows in ((few, small(5)), (people, mixed(5).fill_null(170.0))):
            found = model.marginal(rows)
            assert found.log_prob == pytest.approx(model.log_prob(rows), abs=1e-9)
            assert (found.standard_error == 0.0).all()
            assert np.isinf(found.effective).all()

    def test_what_comes_first_is_exact(self, few):
        found = few.marginal({"kind": ["a", "b"]})
        assert (found.standard_error == 0.0).all()
        assert np.exp(found.log_prob).sum() == pytest.approx(1.0, abs=1e-9)

    def test_what_cannot_be_asked_is_refused(self, few):
        with pytest.raises(ArgumentError, match=r"columns names 'knd'.*Did you mean 'kind'"):
            few.marginal(small(3), ["knd"])
        with pytest.raises(DataError, match="none of the model's columns is there"):
            few.marginal({"z": [1.0]})
        with pytest.raises(DataError, match="column 'x' is missing in row 2"):
            few.marginal({"x": [1.0, None]}, ["x"])


class TestImpute:
    def test_what_is_known_stays_and_the_rest_is_filled(self, people):
        data = mixed(40, seed=5)
        holes = data.with_columns(
            pl.when(pl.int_range(40) % 3 != i % 3).then(name).alias(name)
            for i, name in enumerate(["x", "kind", "count", "member", "when", "spent", "angle"])
        )
        filled = people.impute(holes, draws=100)
        assert filled.schema == data.schema
        assert filled.null_count().row(0) == (0,) * data.width
        for name in data.columns:
            known = holes[name].is_not_null()
            kept, want = filled[name].filter(known), holes[name].filter(known)
            assert (
                kept.to_list() == pytest.approx(want.to_list())
                if kept.dtype.is_float()
                else kept.equals(want)
            )
        assert np.isfinite(people.log_prob(filled)).all()

    def test_whole_columns_may_be_missing(self, few):
        filled = few.impute({"count": [0, 3] * 300, "flag": [False, True] * 300}, draws=50)
        assert filled.columns == ["x", "kind", "count", "flag"]
        # the model learned that those of kind b have more
        share = [(filled["kind"] == "b").filter(filled["count"] == n).mean() for n in (0, 3)]
        assert share[1] > share[0] + 0.1

    def test_the_seed_decides(self, few):
        holes = {"x": [0.5] * 20, "kind": ["a"] * 20}
        one, same, other = (few.impute(holes, draws=50, seed=s) for s in (1, 1, 2))
        assert one.equals(same)
        assert not one.equals(other)

    def test_a_table_without_gaps_comes_back(self, few):
        data = small(5)
        assert few.impute(data)["x"].to_list() == pytest.approx(data["x"].to_list())
        assert few.impute(data).drop("x").equals(data.drop("x"))


class TestRegion:
    @pytest.mark.parametrize("level", [0.5, 0.9])
    def test_it_holds_its_share_of_the_model_s_rows(self, few, level):
        found = few.region(level)
        inside = few.log_prob(few.sample(4_000, seed=9)) >= found.log_density
        assert inside.mean() == pytest.approx(level, abs=4.0 * math.sqrt(0.25 / 4_000))
        assert 0.0 < found.standard_error < 0.2
        assert found.level == level

    def test_a_larger_region_reaches_less_likely_rows(self, people):
        levels = [people.region(level, draws=2_000).log_density for level in (0.2, 0.5, 0.9)]
        assert levels == sorted(levels, reverse=True)

    def test_it_is_given_a_context(self):
        made = quick(small(), "nsf", settings=TINY, types=SMALL_TYPES, context=["kind"])
        found = made.region(0.8, given={"kind": "a"})
        inside = made.log_prob(made.sample(4_000, given={"kind": "a"}, seed=9)) >= found.log_density
        assert inside.mean() == pytest.approx(0.8, abs=0.03)
        with pytest.raises(ArgumentError, match="kind"):
            made.region(0.8)

    @pytest.mark.parametrize("level", [0.0, 1.0, -1.0, 90])
    def test_a_level_is_a_probability(self, few, level):
        with pytest.raises(ArgumentError, match=f"level is {level}, expected a probability"):
            few.region(level)


@pytest.fixture(scope="module")
def learned():
    """b is half of a, and kind says which half of the line a lies in."""
    draw = np.random.default_rng(0)
    a = draw.normal(0.0, 2.0, 800)
    data = pl.DataFrame(
        {
            "a": a,
            "b": 0.5 * a + draw.normal(0.0, 0.2, 800),
            "kind": np.where(a > 0, "up", "down"),
            "free": draw.poisson(3.0, 800),
        }
    )
    settings = {"layers": 2, "hidden": (16, 16)}
    return quick(data, "nsf", settings=settings, steps=250, lr=5e-3)


class TestSurprise:
    @pytest.mark.parametrize(
        ("column", "value"), [("b", 3.0), ("kind", "down"), ("free", 40), ("kind", "up")]
    )
    def test_the_altered_column_is_found(self, learned, column, value):
        usual = {"a": -2.0, "b": -1.0, "kind": "down", "free": 3}
        if value == "down":
            usual |= {"a": 2.0, "b": 1.0, "kind": "up"}
        (before,) = learned.explain(pl.DataFrame([usual]))
        (after,) = learned.explain(pl.DataFrame([{**usual, column: value}]))
        assert {one.column for one in after} == set(usual)
        # a kind that does not go with a is a surprise of both
        assert after[0].column in ({"kind", "a"} if column == "kind" else {column})
        nats = {one.column: one.nats for one in after}
        assert nats[column] > max(one.nats for one in before) + 1.0
        assert [one.nats for one in after] == sorted(nats.values(), reverse=True)

    def test_it_is_what_one_computes(self, few):
        """-log p(x_j | others) less its mean over the values that could stand there."""
        row = small(1)
        (found,) = few.explain(row)
        for one in found:
            if one.column == "x":
                tried, space = GRID, GRID[1] - GRID[0]
            else:
                tried = {"kind": ["a", "b"], "count": range(4), "flag": [False, True]}[one.column]
                space = 1.0
            rows = pl.concat([row] * len(tried)).with_columns(
                pl.Series(one.column, list(tried), dtype=row[one.column].dtype)
            )
            log_p = few.log_prob(rows) + math.log(space)
            total = np.logaddexp.reduce(log_p)
            share = np.exp(log_p - total)
            mean = (share * (total - log_p + math.log(space))).sum()
            here = total - few.log_prob(row)[0]
            assert one.nats == pytest.approx(here - mean, abs=0.02)


class TestCalibration:
    def test_a_model_is_calibrated_on_its_own_samples(self, people):
        drawn = people.sample(1_500, seed=11)
        found = people.calibration(drawn)
        assert found["rows"] == 1_500
        for level, share in found["regions"].items():
            assert share == pytest.approx(float(level), abs=0.05)
        assert {"x", "count", "when", "income", "spent", "height"} <= set(found["columns"])
        for one in found["columns"].values():
            assert one["distance"] < 1.5 * one["distance_by_chance"]
            assert sum(one["pit"]) == pytest.approx(1.0)
            for level, share in one["intervals"].items():
                assert share == pytest.approx(float(level), abs=0.05)

    def test_rows_from_elsewhere_are_not(self, few):
        away = small(500, seed=1).with_columns(x=pl.col("x") + 4.0)
        mine, others = few.calibration(few.sample(500, seed=1)), few.calibration(away)
        assert (
            others["columns"]["x"]["distance"] > 5.0 * others["columns"]["x"]["distance_by_chance"]
        )
        assert others["regions"]["0.9"] < 0.7
        assert others["energy_score"] > mine["energy_score"]

    def test_given_a_context(self):
        made = quick(small(), "nsf", settings=TINY, types=SMALL_TYPES, context=["kind"])
        rows = pl.concat(
            made.sample(200, given={"kind": kind}, seed=seed) for seed, kind in enumerate("ab")
        )
        found = made.calibration(rows)
        assert found["columns"]["x"]["distance"] < 1.5 * found["columns"]["x"]["distance_by_chance"]
        assert found["regions"]["0.9"] == pytest.approx(0.9, abs=0.06)


def test_questions_leave_the_global_state_alone(few):
    state = torch.get_rng_state()
    few.marginal({"x": [0.5]}, draws=20)
    few.impute({"x": [0.5]}, draws=20)
    few.region(0.5, draws=100)
    few.explain(small(1))
    few.calibration(small(50))
    few.sample(3, given={"x": 0.5}, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


class TestWhatIsGiven:
    def test_what_has_no_probability_is_said_to_have_none(self, few):
        with pytest.raises(
            ArgumentError, match="'count' is 9, outside 0 to 3: that has no probability"
        ):
            few.sample(5, given={"count": 9})

    def test_conditions_may_be_anything(self):
        """What is conditioned on has no density, and so no bounds."""
        table = numbers().with_columns(pl.col("a").abs() + 0.1)
        model = quick(table, "nsf", settings=TINY, context=["a"], types={"a": "positive"})
        assert model.sample(3, given={"a": -1.0})["b"].is_finite().all()

    def test_a_gap_can_be_given_where_gaps_are_modelled(self, people):
        name = next(c.name for c in people.schema.columns if c.gaps > 0.0)
        assert people.sample(20, given={name: None}, seed=0)[name].null_count() == 20
        whole = next(c.name for c in people.schema.columns if c.gaps == 0.0)
        with pytest.raises(DataError, match=f"{whole!r} is missing"):
            people.sample(5, given={whole: None})

    @pytest.mark.parametrize("value", [True, "TRUE", "true", 1.0 > 0])
    def test_truth_is_written_in_many_ways(self, few, value):
        assert few.sample(9, given={"flag": value}, seed=0)["flag"].all()

    def test_labels_may_begin_with_a_zero(self):
        table = pl.DataFrame({"zip": ["01", "02", "10"] * 60, "x": np.arange(180) * 0.37 % 5})
        model = quick(table, "nsf", settings=TINY, types={"zip": "categorical"})
        assert set(model.sample(9, given={"zip": "01"}, seed=0)["zip"]) == {"01"}


class TestMarginals:
    def test_a_gap_in_the_only_row_is_a_gap_like_others(self, people):
        name = next(c.name for c in people.schema.columns if c.gaps > 0.0)
        first = mixed()[name].is_null().arg_max()
        table = mixed().select(name).slice(first, 5)
        assert first is not None
        assert table[name].null_count() < 5
        alone = people.marginal(table.head(1)).log_prob[0]
        among = people.marginal(table).log_prob
        assert alone == pytest.approx(among[0], abs=0.02)
        assert alone < -0.1  # the probability of a gap

    def test_nothing_asked_is_refused(self, few):
        with pytest.raises(ArgumentError, match="columns names none"):
            few.marginal(small(), [])
        for call in (few.marginal, few.impute):
            with pytest.raises(ArgumentError, match="draws is 0, expected at least 2"):
                call(small().head(3), draws=0)
        with pytest.raises(ArgumentError, match="draws is 1"):
            few.region(0.5, draws=1)


def test_after_an_update_surprise_knows_the_new_rows():
    draw = np.random.default_rng(0)
    model = quick({"a": draw.normal(size=400)}, "nsf", settings=TINY, steps=40)
    model.update({"a": 30.0 + draw.normal(size=400)}, steps=300, lr=1e-2, progress=False)
    (column,) = model.schema.columns
    assert column.low < -1.0
    assert column.high > 30.0
    assert column.mean == pytest.approx(30.0, abs=0.3)
    ((surprise,),) = model.explain({"a": [30.0]})
    assert surprise.nats < 1.0  # in the middle of what it learned last
