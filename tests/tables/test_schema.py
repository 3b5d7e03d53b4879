"""The schema says what a table holds; whatever is wrong with it is said once, clearly."""

import os

import numpy as np
import pandas
import polars as pl
import pytest
import torch

from pushforward.data import cms_dimuon, open_table, write_table
from pushforward.errors import ArgumentError, DataError, ModelFileError
from pushforward.tables import Schema, infer_schema, load_matrix, match


def numbers(rows=100, columns="abc", seed=0):
    values = np.random.default_rng(seed).standard_normal((rows, len(columns)))
    return {name: values[:, place] for place, name in enumerate(columns)}


def with_value(row, value, name="b", **options):
    table = numbers(**options)
    table[name] = table[name].copy()
    table[name][row] = value
    return table


def test_statistics_are_those_of_the_rows():
    table = numbers()
    schema = infer_schema(table)
    assert schema.names == schema.features == ("a", "b", "c")
    assert (schema.rows_read, schema.rows_dropped) == (100, 0)
    for column in schema.columns:
        x = table[column.name]
        assert (column.low, column.high, column.dtype) == (x.min(), x.max(), "Float64")
        assert np.isclose(column.mean, x.mean(), rtol=1e-12, atol=1e-15)
        assert np.isclose(column.std, x.std(), rtol=1e-12)
        assert (column.unique, column.atoms, column.offset, column.treatment) == (100, (), 0.0, "")


def test_the_schema_does_not_depend_on_how_the_table_is_cut(tmp_path):
    table = pl.DataFrame(numbers(1000))
    for place in range(4):
        write_table(table[place * 250 : (place + 1) * 250], tmp_path / f"{place}.parquet")
    whole, parts = infer_schema(table), infer_schema(tmp_path)
    for one, two in zip(whole.columns, parts.columns, strict=True):
        assert (one.low, one.high, one.unique) == (two.low, two.high, two.unique)
        assert np.allclose([one.mean, one.std], [two.mean, two.std], rtol=1e-12, atol=1e-15)


def test_roles_of_columns():
    table = numbers(columns="abcde")
    table["e"] = np.abs(table["e"])
    schema = infer_schema(table, context=["b", "a"], weights="e")
    assert (schema.features, schema.context, schema.weights) == (("c", "d"), ("b", "a"), "e")
    assert schema.names == ("c", "d", "b", "a")
    x, context, weights = load_matrix(table, schema, dtype=torch.float64)
    assert np.array_equal(x, np.stack([table["c"], table["d"]], 1))
    assert np.array_equal(context, np.stack([table["b"], table["a"]], 1))
    assert np.array_equal(weights, table["e"])
    assert load_matrix(table, schema, weights=False)[2] is None
    assert infer_schema(table, columns=["d", "a"]).features == ("d", "a")


def test_json_round_trip_is_strict_and_equal():
    table = {**numbers(columns="ab"), "t": 1.7e9 + np.arange(100.0)}
    table["a"] = np.where(np.arange(100) % 3 == 0, 0.0, table["a"])
    table["kind"] = ["x", "y"] * 50
    schema = infer_schema(table, context=["b"], missing="drop", types={"t": "integer:0"})
    assert schema.column("a").atoms == ((0.0, 0.34),)
    assert schema.column("t").ends == (0.0, None)
    assert Schema.from_json(schema.to_json()) == schema
    assert Schema.from_dict(schema.to_dict()) == schema
    assert schema != infer_schema(table, columns=["b", "t"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "no JSON"),
        ("{}", "columns"),
        ('{"columns": [], "colour": 1}', "unknown field 'colour'"),
        ('{"columns": [{"name": "a"}]}', "missing"),
        ('{"columns": 3}', "not iterable"),
    ],
)
def test_a_foreign_schema_is_refused_with_its_reason(text, message):
    with pytest.raises(ModelFileError, match=message):
        Schema.from_json(text)


def test_printing_names_every_column_and_what_was_done_to_it():
    late = 1.7e9 + np.arange(100.0) + 0.25 * (np.arange(100) % 2)
    table = {**numbers(columns="a"), "n": np.arange(100) ** 2, "t": late}
    schema = infer_schema(table, columns=["a", "t"], context=["n"])
    text = str(schema)
    assert "100 rows used" in text
    assert len(schema.rows()) == 3
    assert all(len(row) == len(Schema.HEADER) for row in schema.rows())
    assert "integer, context" in text
    assert "whole numbers" in text
    assert "subtracted before rounding to float32" in text
    # Ends of a far-off narrow range are told apart.
    assert {"1700000000", "1700000099"} <= {cell.split(".")[0] for cell in schema.rows()[1]}


class TestOffset:
    def test_unix_times_keep_their_seconds_in_float32(self):
        seconds = 1.7e9 + np.random.default_rng(0).uniform(0, 1e5, 200).round(1)
        schema = infer_schema({"t": seconds})
        offset = schema.columns[0].offset
        assert abs(offset - seconds.mean()) < 1e5
        assert offset % 1e5 == 0
        x, _, _ = load_matrix({"t": seconds}, schema)
        assert x.dtype == torch.float32
        # 1e5 in float32 has steps of 2 ** -7.
        assert np.abs(x[:, 0].double().numpy() + offset - seconds).max() <= 2.0**-8
        direct = seconds.astype(np.float32).astype(float)
        assert np.abs(direct - seconds).max() > 10

    @pytest.mark.parametrize("centre", [-3e4, 7.123456e3, 1e-3])
    def test_small_units_and_negative_means(self, centre):
        spread = abs(centre) * 1e-5
        values = centre + spread * np.random.default_rng(0).standard_normal(100)
        column = infer_schema({"v": values}).columns[0]
        assert 0 < abs(column.offset - centre) < 10 * spread or column.offset == centre
        assert len(repr(column.offset)) < 12

    def test_a_column_that_float32_resolves_is_left_alone(self):
        values = 900.0 + np.random.default_rng(0).standard_normal(100)
        assert infer_schema({"v": values}).columns[0].offset == 0.0


def refusal(table, **options):
    with pytest.raises(DataError) as caught:
        infer_schema(table, **options)
    lines = str(caught.value).split("\n")
    title = str(table) if isinstance(table, str | os.PathLike) else "DATA"
    assert all(line.startswith(f"{title}: ") and line.endswith((".", "?")) for line in lines)
    return lines


class TestRefusals:
    def test_names_of_rows_are_refused_with_the_columns_that_remain(self, tmp_path):
        table = pl.DataFrame(
            {
                **numbers(30),
                "city": ["1"] * 20 + ["Oslo"] * 10,
                "my id": [f"x{i}" for i in range(30)],
            }
        )
        write_table(table, tmp_path / "t.csv")
        (line,) = refusal(tmp_path / "t.csv")
        assert "'my id' holds 30 different texts in 30 rows: names of rows" in line
        assert "columns=['a', 'b', 'c', 'city']" in line
        assert "types={'my id': 'categorical'}" in line
        made = infer_schema(tmp_path / "t.csv", columns=["a", "city"])
        assert made.column("city").labels == ("1", "Oslo")
        insisted = infer_schema(tmp_path / "t.csv", types={"my id": "categorical"})
        assert len(insisted.column("my id").labels) == 30

    def test_text_of_more_than_200_values_is_no_category(self):
        table = {**numbers(1000, "a"), "word": [f"w{i % 250}" for i in range(1000)]}
        (line,) = refusal(table)
        assert "'word' holds text of 250 different values, more than 200: too many" in line
        assert len(infer_schema(table, types={"word": "categorical"}).column("word").labels) == 250

    def test_numbers_in_quotes_and_lists(self):
        table = {**numbers(30, "a"), "s": [str(i) for i in range(30)]}
        assert "'s' looks like numbers written as text; convert them" in refusal(table)[0]
        assert (
            "holds List(Float64) values, which no model reads"
            in refusal(pl.DataFrame({"l": [[1.0]] * 30}))[0]
        )

    def test_missing_and_infinite_values_each_get_a_sentence(self, tmp_path):
        table = with_value([4, 7], np.nan)
        table["c"][60] = -np.inf
        missing, infinite = refusal(table)
        assert "column 'b' has 2 missing values, the first in row 5;" in missing
        assert "column 'c' has 1 infinite value, the first in row 61;" in infinite
        assert "missing='drop'" in missing
        frame = pl.DataFrame(table).with_columns(pl.col("b").fill_nan(None))
        assert refusal(frame) == [missing, infinite]
        write_table(frame, tmp_path / "t.csv")
        line = refusal(tmp_path / "t.csv")[0]
        assert line.startswith(f"{tmp_path}/t.csv: column 'b'")
        assert "row 5;" in line

    def test_columns_that_are_not_used_may_hold_anything(self):
        assert infer_schema(with_value(3, np.nan), columns=["a"], context=["c"]).rows_dropped == 0

    def test_a_column_of_gaps_only(self):
        for missing in ("refuse", "drop", "model"):
            lines = refusal({**numbers(30), "g": [None] * 30}, missing=missing)
            assert "column 'g' has no value in any row; leave it out." in lines[0]

    def test_nothing_but_constant_columns(self):
        still = {"k": np.full(100, 3.5), "l": ["x"] * 100}
        assert "all columns have the same value in every row" in refusal(still)[0]
        assert "all columns" in refusal({**numbers(), **still}, columns=["k", "l"])[0]
        made = infer_schema({**numbers(), **still}, context=["k"])
        assert [made.column(name).type for name in "kl"] == ["constant"] * 2

    def test_too_few_rows(self):
        (line,) = refusal(numbers(1))
        assert "there is 1 row, expected at least 2" in line
        assert infer_schema(numbers(2, "a")).rows_read == 2
        (line,) = refusal(with_value(1, np.nan, rows=2), missing="drop")
        assert "there is 1 row (2 less 1 with missing values)" in line

    def test_numbers_beyond_float32(self):
        assert "change its unit" in refusal(with_value(3, 1e300))[0]
        assert "change its unit" in refusal({"a": numbers()["a"] * 1e-40})[0]

    def test_unknown_names_are_answered_with_the_nearest(self):
        table = {"alpha": numbers()["a"], "beta": numbers()["b"]}
        lines = refusal(table, columns=["alhpa"], context=["bta"], weights="w")
        assert "columns names 'alhpa', which is no column. Did you mean 'alpha'?" in lines[0]
        assert "context names 'bta', which is no column. Did you mean 'beta'?" in lines[1]
        assert "weights names 'w', which is no column. There are: alpha, beta." in lines[2]

    def test_one_column_has_one_part(self):
        assert "'a' is named twice" in refusal(numbers(), columns=["a", "b"], context=["a"])[0]
        assert "'a' is named twice" in refusal(numbers(), columns=["a", "a"])[0]
        assert "no column is left" in refusal(numbers(columns="a"), context=["a"])[0]

    def test_an_unnamed_column_is_refused_where_it_is_used(self, tmp_path):
        pandas.DataFrame(numbers()).to_csv(tmp_path / "t.csv")
        (line,) = refusal(tmp_path / "t.csv")
        assert "column 1 has no name" in line
        assert "columns=['a', 'b', 'c']" in line
        assert infer_schema(tmp_path / "t.csv", columns=["a"]).names == ("a",)

    @pytest.mark.parametrize(
        ("row", "value", "message"),
        [
            (6, -1.0, "the weights in column 'w' are negative in row 7; weights"),
            (6, np.nan, "column 'w' has 1 missing value, the first in row 7"),
            ([6, 9], -1.0, "are negative in 2 rows, the first is row 7; weights"),
            (slice(None), 0.0, "the weights in column 'w' are all zero"),
        ],
    )
    def test_weights(self, row, value, message):
        weights = np.ones(100)
        weights[row] = value
        assert message in refusal({**numbers(), "w": weights}, weights="w")[0]

    def test_missing_is_refuse_drop_or_model(self):
        with pytest.raises(ArgumentError, match="expected 'refuse', 'drop' or 'model'"):
            infer_schema(numbers(), missing="mean")

    def test_an_option_with_blanks_is_quoted_for_the_shell(self):
        table = {"my x": numbers()["a"], "t": [f"u{i}" for i in range(100)]}
        assert "columns=['my x']" in refusal(table)[0]


class TestDrop:
    def test_rows_are_dropped_and_counted(self, tmp_path):
        table = with_value([4, 7], np.nan)
        table["c"][60] = np.inf
        keep = np.setdiff1d(np.arange(100), [4, 7, 60])
        frame = pl.DataFrame(table)
        write_table(frame[:50], tmp_path / "1.parquet")
        write_table(frame[50:], tmp_path / "2.parquet")
        for source in (table, frame, tmp_path):
            schema = infer_schema(source, missing="drop")
            assert (schema.rows_read, schema.rows_dropped, schema.missing) == (100, 3, "drop")
            x, context, weights = load_matrix(source, schema, dtype=torch.float64)
            assert (context, weights) == (None, None)
            assert np.array_equal(x, np.stack([table[n][keep] for n in "abc"], 1))
        assert "3 dropped" in str(schema)

    def test_statistics_are_of_the_rows_that_stay(self):
        assert infer_schema(with_value(3, np.inf), missing="drop").column("b").high < 10


class TestLoading:
    def test_columns_are_found_by_name_in_any_order(self):
        table = numbers()
        schema = infer_schema(table)
        other = {"z": ["text"] * 100, **{name: table[name] for name in "cab"}}
        assert torch.equal(load_matrix(other, schema)[0], load_matrix(table, schema)[0])
        assert match(tuple(other), schema).columns == ("a", "b", "c")
        assert "the column 'z' is ignored" in match(tuple(other), schema).note
        assert "'y', 'z' are ignored" in match(("y", "z", "a", "b", "c"), schema).note
        assert match(("a", "b", "c"), schema).note == ""

    def test_missing_columns_are_refused_with_the_nearest_name(self):
        schema = infer_schema({"alpha": numbers()["a"], "beta": numbers()["b"]})
        with pytest.raises(DataError, match=r"'alpha'.*missing\. Did you mean 'Alpha'"):
            match(["Alpha", "beta"], schema)
        with pytest.raises(DataError) as caught:
            match(["x0"], schema)
        assert len(str(caught.value).split("\n")) == 2

    def test_gaps_and_text_name_their_place(self):
        schema = infer_schema(numbers())
        with pytest.raises(DataError, match="'b' has a missing value in row 4"):
            load_matrix(with_value(3, np.nan), schema)
        with pytest.raises(DataError, match="'b' has an infinite value in row 4"):
            load_matrix(with_value(3, np.inf), schema)
        with pytest.raises(DataError, match=r"'b' holds text \('u' in row 1\)"):
            load_matrix({**numbers(), "b": ["u"] * 100}, schema)

    @pytest.mark.parametrize("extension", [".csv", ".parquet", ".arrow", ".npz"])
    def test_every_format_gives_the_same_tensors(self, tmp_path, extension):
        frame = pl.DataFrame(numbers()).cast(pl.Float32)
        write_table(frame, tmp_path / f"t{extension}")
        source = open_table(tmp_path / f"t{extension}")
        schema = infer_schema(source)
        assert np.array_equal(load_matrix(source, schema)[0].numpy(), frame.to_numpy())

    def test_what_has_codes_comes_first_then_whole_numbers_then_numbers(self):
        table = {"x": numbers(40)["a"], "n": np.arange(40), "t": np.arange(40) % 3 == 0}
        schema = infer_schema(table)
        assert [column.type for column in schema.columns] == ["real", "integer", "boolean"]
        x = load_matrix(table, schema, dtype=torch.float64)[0]
        assert x[:4, :2].tolist() == [[1, 0], [0, 1], [0, 2], [1, 3]]
        assert np.array_equal(x[:, 2], table["x"])

    def test_the_kind_of_frame_is_remembered(self):
        frame = pandas.DataFrame(numbers())
        assert infer_schema(frame).native == "pandas"
        assert infer_schema(pl.from_pandas(frame).to_arrow()).native == "arrow"
        assert infer_schema(numbers()).native == "polars"


class TestDependence:
    """A column that others determine has no density given those: it would be infinite."""

    def test_linear_dependence_names_the_columns(self):
        table = numbers()
        table["sum"] = table["a"] - 2 * table["c"]
        (line,) = refusal(table)
        assert "'sum' is a linear combination of 'a', 'c', so that the density is infinite" in line
        assert "columns=['a', 'b', 'c']" in line

    def test_a_copy_in_another_unit(self):
        table = numbers()
        table["d"] = 3 * table["a"] + 1
        assert "'d' is a copy of 'a', but for unit and offset" in refusal(table)[0]

    def test_a_feature_that_the_context_determines(self):
        table = numbers()
        table["d"] = 3 * table["a"] + 1
        assert "'a' is a copy of 'd'" in refusal(table, context=["d"])[0]

    def test_whole_numbers_may_depend_on_each_other(self):
        draw = np.random.default_rng(0)
        table = {"boys": draw.poisson(1.0, 100), "girls": draw.poisson(1.0, 100)}
        table["children"] = table["boys"] + table["girls"]
        assert len(infer_schema(table).columns) == 3  # a probability is 1 at most

    def test_a_number_that_whole_numbers_determine(self):
        draw = np.random.default_rng(0)
        table = {"count": draw.poisson(20.0, 100), "other": draw.normal(size=100)}
        table["price"] = 1.99 * table["count"]
        assert "'price' is a copy of 'count'" in refusal(table)[0]

    def test_a_product_or_ratio_of_columns_above_zero(self):
        draw = np.random.default_rng(0)
        table = {"unit": draw.lognormal(1.0, 1.0, 300), "qty": draw.lognormal(0.0, 0.5, 300)}
        assert {c.type for c in infer_schema(table).columns} == {"positive"}
        table["total"] = table["unit"] * table["qty"]
        (line,) = refusal(table)
        assert "'total' is a product of powers of 'unit', 'qty', as a total or a ratio is" in line
        assert "columns=['unit', 'qty']" in line
        square = {"side": table["unit"], "area": table["unit"] ** 2}
        assert "'area' is a power of 'side', but for its unit" in refusal(square)[0]
        # a copy is named once, and a sum of the same columns is no product
        assert len(refusal({"side": table["unit"], "copy": 3.0 * table["unit"]})) == 1
        loose = table["total"] * draw.lognormal(0.0, 0.01, 300)
        assert len(infer_schema({**table, "total": loose}).columns) == 3

    def test_a_price_that_a_count_and_a_price_a_piece_determine(self):
        draw = np.random.default_rng(0)
        count, each = 1 + draw.poisson(3.0, 300), draw.lognormal(1.0, 1.0, 300)
        (line,) = refusal({"each": each, "count": count, "all": count * each})
        assert "'all' is a product of powers of 'count', 'each'" in line

    def test_copies_of_what_has_a_probability_are_noted(self):
        draw = np.random.default_rng(0)
        gaps = np.where(draw.random(100) < 0.2, np.nan, 1.0)
        table = {"n": draw.poisson(9.0, 100), "word": ["yes", "no"] * 50}
        table |= {"n2": table["n"] * 1.0, "word2": table["word"], "other": ["b", "a"] * 50}
        table["holes"] = table["n"] * gaps
        notes = {row[0]: row[-1] for row in infer_schema(table, missing="model").rows()}
        assert "the same as column 'n' in every row: one of them can be left out" in notes["n2"]
        assert "the same as column 'word' in every row" in notes["word2"]
        for name in ("n", "word", "other", "holes"):
            assert "the same as" not in notes[name]

    def test_copies_among_more_columns_than_rows(self):
        draw = np.random.default_rng(0)
        table = {f"x{i}": draw.normal(size=30) for i in range(41)}
        with pytest.warns(UserWarning, match="fewer than columns"):
            infer_schema(table)
        table["b"] = 2.0 * table["x1"]
        (line,) = refusal(table)
        assert "'b' is a copy of 'x1', but for unit and offset" in line

    def test_context_columns_may_depend_on_each_other(self):
        table = numbers()
        table["d"] = 3 * table["a"] + 1
        assert infer_schema(table, context=["a", "d"]).features == ("b", "c")


class TestPackagedTable:
    def test_atoms(self):
        frame = cms_dimuon()
        schema = infer_schema(frame, columns=["pt1", "iso1"])
        assert schema.column("iso1").type == "positive"
        ((value, share),) = schema.column("iso1").atoms
        assert value == 0.0
        assert abs(share - (frame["iso1"] == 0).mean()) < 2e-3
        assert "an atom" in schema.column("iso1").treatment
        assert schema.column("pt1").atoms == ()

    def test_the_kinematic_columns_are_numbers_and_angles(self):
        schema = infer_schema(cms_dimuon(["pt1", "eta1", "phi1", "pt2", "eta2", "phi2"]))
        assert schema.rows_read == 10583
        assert {column.treatment for column in schema.columns} == {""}
        assert [column.type for column in schema.columns] == ["real", "real", "circular"] * 2


def test_one_row_is_spoken_of_in_the_singular():
    with pytest.raises(DataError, match="there is 1 row, expected at least 2;"):
        infer_schema({"a": [1.0], "b": [2.0]})
