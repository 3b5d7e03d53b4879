"""What columns are taken for, and why; what their owner may say instead."""

import datetime
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from pushforward.errors import ArgumentError, DataError
from pushforward.tables import Schema, infer_schema, load_matrix
from pushforward.tables.layout import Layout
from pushforward.tables.schema.dates import as_dates, as_text

ROWS = 300


def draws(seed=0):
    return np.random.default_rng(seed)


def column(values, **options):
    return infer_schema({"x": values}, **options).columns[0]


def skewed():
    return draws().lognormal(0.0, 1.0, ROWS)


DAYS = [datetime.date(2024, 1, 1) + datetime.timedelta(days=5 * i) for i in range(60)]

FOUND = [
    ("numbers", draws().normal(size=ROWS), "real", "numbers"),
    ("skewed numbers", skewed(), "positive", "above zero and skewed to the right"),
    ("even numbers above zero", draws().uniform(1.0, 2.0, ROWS), "real", "numbers"),
    (
        "zero or above",
        np.where(draws(1).random(ROWS) < 0.3, 0.0, skewed()),
        "positive",
        "zero in many rows, above it in others",
    ),
    ("counts", draws().poisson(9.0, ROWS), "integer", "whole numbers"),
    ("counts with a point", draws().poisson(9.0, ROWS) * 1.0, "integer", "whole numbers"),
    ("two numbers", draws().integers(2, size=ROWS), "boolean", "two values"),
    ("two other numbers", 0.5 + draws().integers(2, size=ROWS), "boolean", "two values"),
    (
        "few numbers",
        draws().integers(1, 5, ROWS) / 2.0,
        "ordinal",
        "4 different numbers only",
    ),
    ("radians", draws().uniform(0.0, 2.0 * np.pi, ROWS), "circular", "a turn of two pi"),
    ("degrees", draws().uniform(-180.0, 180.0, ROWS), "circular", "a turn of 360"),
    ("half a turn", draws().uniform(0.0, 180.0, ROWS), "real", "numbers"),
    ("truth", draws().random(ROWS) < 0.3, "boolean", "true and false"),
    ("text", ["red", "green", "blue"] * 100, "categorical", "text of 3 values"),
    ("one number", np.full(ROWS, 3.0), "constant", "the same in all rows"),
    ("one text", ["red"] * ROWS, "constant", "the same in all rows"),
    ("dates", DAYS * 5, "date", "dates"),
    ("times", [datetime.datetime(2024, 1, 1, h) for h in range(24)] * 5, "date", "dates"),
    ("dates as text", [str(day) for day in DAYS], "date", "texts written as %Y-%m-%d"),
    ("numbers as text", [str(i % 7) for i in range(ROWS)], "categorical", "text of 7 values"),
]


@pytest.mark.parametrize(
    ("values", "type", "reason"), [c[1:] for c in FOUND], ids=[c[0] for c in FOUND]
)
def test_what_values_look_like_decides_and_the_reason_is_said(values, type, reason):
    beside = {"x": values, "beside": draws(9).normal(size=len(values))}
    schema = infer_schema(beside)
    found = schema.columns[0]
    assert found.type == type
    assert reason in found.reason
    row = schema.rows()[0]
    assert row[:2] == ("x", type)
    assert reason in row[-1]
    assert Schema.from_json(schema.to_json()) == schema
    insisted = infer_schema(beside, types={"x": type}) if ":" not in _said(type) else None
    assert insisted is None or insisted.columns[0].reason == "as asked for"


def _said(type):
    return {"circular": ":", "constant": ":"}.get(type, type)


def test_whole_numbers_from_zero_up_stay_there_and_others_have_no_ends():
    assert column(draws().poisson(9.0, ROWS)).ends == (0.0, None)
    assert column(draws().integers(-20, 20, ROWS)).ends == (None, None)


def test_large_numbers_with_a_fraction_are_no_whole_numbers():
    """A fraction of a number above 1e9 is as much of a fraction."""
    late = 1.7e9 + draws().uniform(0.0, 1e5, ROWS)
    assert column(late).type == "real"
    assert column(np.floor(late)).type == "integer"


def test_rounded_numbers_have_a_step():
    assert column(draws().normal(size=ROWS).round(2)).step == pytest.approx(0.01)
    assert column(draws().normal(size=ROWS)).step == 0.0
    assert column(draws().lognormal(8.0, 3.0, ROWS).round(2)).step == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("values", "said", "steps"),
    [
        (draws().normal(0.0, 3.0, ROWS).round(2), "real", (0.01, 1, 0)),
        ((4.0 * draws().normal(0.0, 3.0, ROWS)).round() / 4.0, "real", (0.01, 25, 0)),
        (draws().integers(-9, 9, ROWS) + 0.5, "real", (0.1, 10, 5)),
        (10 * draws().integers(1, 99, ROWS), "real", (1.0, 10, 0)),
        (10 * draws().integers(1, 99, ROWS) - 3, "integer", (1.0, 10, 7)),
        (draws().integers(-99_999_999, 99_999_999, ROWS), "integer", (1.0, 1, 0)),
    ],
)
def test_numbers_of_any_steps_come_back_in_steps(values, said, steps):
    found = column(values, types={"x": said})
    assert (found.step, found.stride, found.phase) == pytest.approx(steps)
    if said == "real":
        layout = Layout([replace(found, atoms=())])
        drawn = torch.linspace(-50.0, 50.0, 1001).double()[:, None]
        units = (layout.numbers(drawn) / found.step).round() - found.phase
        assert bool((units % found.stride == 0.0).all())
        assert (layout.numbers(drawn) - drawn).abs().max() <= 0.501 * found.step * found.stride


def test_numbers_in_steps_do_not_reach_an_end_that_has_no_density():
    half = (2.0 * draws().gamma(1.0, 3.0, ROWS)).round() / 2.0 + 0.5
    found = replace(column(half, types={"x": "positive"}), atoms=())
    assert (found.type, found.ends) == ("positive", (0.0, None))
    numbers = Layout([found]).numbers(torch.tensor([[0.01], [0.3], [0.8]]))
    assert numbers[:, 0].tolist() == [0.5, 0.5, 1.0]


def test_few_rows_do_not_make_labels_of_numbers():
    assert column([0.5, 1.5, 2.5, 0.5, 1.5]).type == "real"
    assert column([0, 1, 0, 1, 0]).type == "integer"


class TestAtoms:
    def test_a_number_of_many_rows_is_an_atom(self):
        x = draws().normal(size=ROWS)
        x[:60] = 1.25
        found = column(x)
        assert found.type == "real"
        assert found.atoms == ((1.25, 0.2),)
        assert "1.25 in 20% of the rows (an atom)" in found.treatment

    def test_rare_repetitions_are_none(self):
        x = draws().normal(size=ROWS)
        x[:4] = 1.25
        assert column(x).atoms == ()

    def test_zeros_among_counts(self):
        x = draws().poisson(30.0, 1_000)
        x[:600] = 0
        assert column(x).atoms == ((0.0, 0.6),)
        # what is frequent among few numbers is no atom, but a number like others
        assert column(draws().poisson(1.0, 1_000)).atoms == ()

    @pytest.mark.parametrize("types", [{}, {"x": "circular:360"}])
    def test_an_angle_that_many_rows_share(self, types):
        """As the direction of no wind."""
        x = draws().uniform(0.0, 360.0, ROWS)
        assert column(x, types=types).treatment == ""
        x[::2] = 0.0
        found = column(x, types=types)
        assert (found.type, found.atoms) == ("circular", ((0.0, 0.5),))
        (one,) = Layout([found]).mixed
        assert (one["codes"], one["value"], one["period"]) == (2, "angle", 360.0)

    def test_ends_that_are_reached_are_atoms(self):
        x = draws().uniform(0.0, 1.0, ROWS)
        x[0], x[1:3] = 0.0, 1.0
        found = column(x, types={"x": "interval:0,1"})
        assert found.ends == (0.0, 1.0)
        assert dict(found.atoms) == {0.0: 1 / ROWS, 1.0: 2 / ROWS}


class TestSaid:
    def test_every_type_may_be_said(self):
        number = draws().uniform(0.1, 0.9, ROWS)
        for text, type in (
            ("real", "real"),
            ("positive", "positive"),
            ("interval:0,1", "interval"),
            ("circular:1", "circular"),
        ):
            assert column(number, types={"x": text}).type == type
        count = draws().integers(1, 6, ROWS)
        for text in ("integer", "integer:0", "integer:0,10", "ordinal", "categorical", "real"):
            assert column(count, types={"x": text}).type == text.split(":")[0]
        assert column(count, types={"x": "integer:0,10"}).ends == (0.0, 10.0)
        assert column(number, types={"x": "circular:1"}).period == 1.0

    def test_ordinal_labels_have_the_order_that_was_said_and_may_be_unseen(self):
        words = ["low", "high"] * 20
        said = {"x": "ordinal:low, middle, high"}
        found = column(words, types=said)
        assert found.labels == ("low", "middle", "high")
        assert found.shares == (0.5, 0.0, 0.5)
        with pytest.raises(DataError, match="'x' holds 'huge', which is none of the values"):
            column([*words, "huge"], types=said)

    @pytest.mark.parametrize(
        ("said", "says"),
        [
            ("number", "the type of column 'x' is 'number', expected one of real, positive"),
            ("catgorical", "Did you mean 'categorical'"),
            ("constant", "expected one of"),
            ("interval", "write interval:0,100, the lower end first"),
            ("interval:1,0", "write interval:0,100, the lower end first"),
            ("interval:0", "write interval:0,100"),
            ("circular", "write circular:360, the period in the column's unit"),
            ("circular:-1", "write circular:360"),
            ("integer:a", "write integer, integer:0 or integer:0,10"),
            ("integer:3,1", "write integer, integer:0 or integer:0,10"),
            ("real:3", "write real"),
        ],
    )
    def test_what_is_no_type_is_refused(self, said, says):
        with pytest.raises(ArgumentError, match=says):
            column(draws().normal(size=ROWS), types={"x": said})

    @pytest.mark.parametrize(
        ("values", "said", "says"),
        [
            ([-1.0, 2.5, 3.0], "positive", "'x' is said to be positive and holds -1"),
            ([0.1, 2.5, 0.3], "interval:0,1", "said to be interval from 0 to 1 and holds 2.5"),
            ([1, -2, 3], "integer:0", "said to be integer from 0 up and holds -2"),
            ([1, 11, 3], "integer:0,10", "said to be integer from 0 to 10 and holds 11"),
            ([0.5, 1.25, 2.0], "integer", "said to be integer and holds numbers with a fraction"),
            (["a", "b", "c"], "real", r"said to be real and holds text \('[abc]'\)"),
            ([1.5, 2.5, 3.5], "date", "said to be date"),
            ([datetime.date(2024, 1, 1)] * 3, "real", "is said to be real and holds dates"),
        ],
    )
    def test_values_that_are_not_what_was_said_are_refused(self, values, said, says):
        with pytest.raises(DataError, match=says):
            column(values * 10, types={"x": said})

    def test_a_type_of_a_column_that_is_not_there(self):
        with pytest.raises(DataError, match=r"types names 'y', which is no column.*There are: x"):
            column(draws().normal(size=ROWS), types={"y": "real"})


class TestDates:
    @pytest.mark.parametrize(
        ("format", "unit"),
        [
            ("%Y-%m-%d", "day"),
            ("%d.%m.%Y", "day"),
            ("%d/%m/%Y", "day"),
            ("%m/%d/%Y", "day"),
            ("%Y-%m-%d %H:%M:%S", "hour"),
            ("%Y-%m-%dT%H:%M", "hour"),
            ("%d.%m.%Y %H:%M", "hour"),
            ("%m/%d/%Y %I:%M %p", "hour"),
            ("%d-%b-%Y", "day"),
            ("%B %d, %Y", "day"),
        ],
    )
    def test_texts_of_many_forms_are_dates_of_their_unit(self, format, unit):
        hours = [
            datetime.datetime(2024, 1, 13) + datetime.timedelta(hours=31 * i) for i in range(50)
        ]
        found = column([time.strftime(format) for time in hours])
        assert (found.type, found.unit, found.format) == ("date", unit, format)
        assert found.high - found.low == pytest.approx({"day": 63, "hour": 49 * 31}[unit], abs=1)

    def test_days_before_months_where_both_fit(self):
        found = column([f"0{i}/0{j}/2024" for i in range(1, 8) for j in (1, 2)])
        assert (found.format, found.reason) == (
            "%d/%m/%Y",
            "texts written as %d/%m/%Y, days before months",
        )
        assert "months" not in column([f"{i}/1/2024" for i in range(1, 28)]).reason

    def test_times_with_an_offset_are_counted_and_written_in_utc(self):
        zoned = [f"2020-01-{i % 28 + 1:02}T10:00:00+02:00" for i in range(1, 60, 2)]
        found = column(zoned)
        assert (found.type, found.unit, found.format) == ("date", "hour", "%Y-%m-%dT%H:%M:%S%:z")
        utc = datetime.datetime(2020, 1, 2, 8, tzinfo=datetime.UTC).timestamp() / 3600
        assert found.low == utc
        assert as_text(found, utc) == "2020-01-02T08:00:00+00:00"
        assert as_dates(found, pl.Series([utc]))[0] == "2020-01-02T08:00:00+00:00"

    @pytest.mark.parametrize("kind", [pl.Date, pl.Datetime("ms"), pl.Datetime("ns", "Asia/Tokyo")])
    def test_kinds_of_polars(self, kind):
        days = pl.Series(DAYS).cast(pl.Datetime("us")).cast(pl.Datetime("ms"))
        tokyo = getattr(kind, "time_zone", None)
        cells = (days.dt.replace_time_zone(tokyo) if tokyo else days).cast(kind)
        found = infer_schema(pl.DataFrame({"x": cells})).columns[0]
        assert (found.type, found.unit) == ("date", "day")
        assert found.low == (DAYS[0] - datetime.date(1970, 1, 1)).days

    def test_times_of_pandas(self):
        times = pd.date_range("2024-01-01 00:30", periods=50, freq="37min", tz="Europe/Paris")
        found = infer_schema(pd.DataFrame({"x": times})).columns[0]
        assert (found.type, found.unit) == ("date", "minute")

    def test_text_that_is_no_date_anywhere_is_text(self):
        values = ["2024-01-01", "2024-01-02"] * 30 + ["soon"] * 30
        assert column(values).type == "categorical"


class TestLabels:
    def test_numbers_are_labels_in_the_order_of_numbers(self):
        found = column([10, 9, 2] * 20, types={"x": "categorical"})
        assert found.labels == ("2", "9", "10")
        assert found.shares == pytest.approx((1 / 3, 1 / 3, 1 / 3))
        assert column([10.0, 9.5, 2.0] * 20, types={"x": "categorical"}).labels == (
            "2",
            "9.5",
            "10",
        )

    @pytest.mark.parametrize("kind", [pl.String, pl.Categorical, pl.Enum(["b", "a", "c"])])
    def test_kinds_of_text(self, kind):
        frame = pl.DataFrame({"x": pl.Series(["a", "b"] * 20).cast(kind)})
        assert infer_schema(frame).columns[0].labels == ("a", "b")

    def test_labels_do_not_depend_on_how_a_table_is_cut(self, tmp_path):
        for name, words in (("1", ["a", "b"]), ("2", ["c", "a"])):
            pl.DataFrame({"x": words * 20}).write_parquet(tmp_path / f"{name}.parquet")
        found = infer_schema(tmp_path).columns[0]
        assert (found.labels, found.shares) == (("a", "b", "c"), (0.5, 0.25, 0.25))

    def test_numbers_in_one_file_and_text_in_another(self, tmp_path):
        (tmp_path / "1.csv").write_text("x\n" + "1\n2\n" * 20)
        (tmp_path / "2.csv").write_text("x\n" + "1\nmany\n" * 20)
        assert infer_schema(tmp_path).columns[0].labels == ("1", "2", "many")


class TestGaps:
    def test_gaps_may_be_modelled(self):
        x = draws().normal(size=100)
        x[:20] = np.nan
        table = {"x": x, "word": ["a", None, "b", "a"] * 25}
        schema = infer_schema(table, missing="model")
        assert [one.gaps for one in schema.columns] == [0.2, 0.25]
        assert "missing in 20% of the rows, which is modelled" in schema.rows()[0][-1]
        rows, _, _ = load_matrix(table, schema, dtype=torch.float64)
        assert len(rows) == 100
        assert bool(rows.isfinite().all())
        # the label's code, whether the number is missing, the number
        assert rows[:4, 0].tolist() == [0, 2, 1, 0]
        assert rows[:, 1].tolist() == [1.0] * 20 + [0.0] * 80
        assert np.array_equal(rows[20:, 2], x[20:])

    def test_infinite_numbers_are_no_gaps(self):
        x = draws().normal(size=100)
        x[3] = np.inf
        with pytest.raises(DataError, match="'x' has 1 infinite value, the first in row 4"):
            column(x, missing="model")

    def test_a_column_without_gaps_still_refuses_them(self):
        x = draws().normal(size=100)
        schema = infer_schema(
            {"x": x, "y": np.where(np.arange(100) < 9, np.nan, x * x)}, missing="model"
        )
        x[7] = np.nan
        with pytest.raises(DataError, match=r"'x' has a missing value in row 8.*none was missing"):
            load_matrix({"x": x, "y": x * x}, schema)
