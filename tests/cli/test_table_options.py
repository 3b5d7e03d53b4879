"""What the commands tell of mixed tables: reasons, calibration, likeness, labels never seen."""

import datetime
import math

import numpy as np
import polars as pl
import pytest
from tests.cli.conftest import QUICK

from pushforward.cli import main

PERCENT = ("--type", "p=interval:0,100")


def mixed(rows=400):
    """A label, a number that follows it, a count, a share of 100, a column with gaps, a date."""
    draw = np.random.default_rng(2)
    label = draw.choice(["red", "blue", "green"], rows, p=[0.5, 0.3, 0.2])
    gap = [None if free < 0.2 else value for free, value in draw.uniform(0.0, 9.0, (rows, 2))]
    first = datetime.date(2024, 1, 1)
    days = [first + datetime.timedelta(int(day)) for day in draw.integers(0, 300, rows)]
    return pl.DataFrame(
        {
            "label": label,
            "x": draw.normal(0.0, 1.0, rows) + 2.0 * (label == "red"),
            "k": draw.poisson(3.0, rows),
            "p": draw.uniform(5.0, 95.0, rows),
            "gap": gap,
            "day": days,
        }
    )


def put(row, **values):
    """The first rows of the table, with values changed in one of them (rows count from 1)."""
    table = mixed().head(40)
    for name, value in values.items():
        column = table[name].to_list()
        column[row - 1] = value
        table = table.with_columns(pl.Series(name, column))
    return table


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table and models of it: gaps modelled, gaps dropped, given the label."""
    folder = tmp_path_factory.mktemp("mixed")
    mixed().write_csv(folder / "table.csv")
    choices = {
        "model": ("--missing", "model"),
        "drop": ("--missing", "drop"),
        "given": ("--missing", "model", "--context", "label"),
    }
    for name, options in choices.items():
        words = ["fit", folder / "table.csv", "--out", folder / f"{name}.safetensors"]
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in (*words, *QUICK, *PERCENT, *options)])
        assert not end.value.code
    return folder


@pytest.fixture
def said(typed, place, here):
    """Type a command of a model and a table: what it says, its lines joined."""

    def run(command, model, *words, status=0, table=None):
        if table is not None:
            table.write_csv("t.csv")
        result = typed(command, place / f"{model}.safetensors", *words)
        assert result.status == status, result.err
        return " ".join(result.err.split())

    return run


class TestUnseen:
    table = put(7, label="lilac")

    def test_it_is_refused_with_the_file_and_its_row(self, said):
        words = said("score", "model", "t.csv", "--explain", status=1, table=self.table)
        assert words.startswith("Error: t.csv: column 'label' holds 'lilac' in row 7, which")
        assert "--unseen lowest" in words

    @pytest.mark.parametrize("model", ["model", "given"])
    def test_reasons_and_calibration_take_it_as_scores_do(self, said, model):
        options = ("--unseen", "lowest", "--explain", "--calibration")
        words = said("score", model, "t.csv", *options, table=self.table)
        assert "40 rows scored" in words
        assert "Why they are unlikely" in words
        assert "Calibration on 40 rows:" in words

    def test_it_is_a_reason_however_likely_the_least_likely_label_is(self, said):
        options = ("--unseen", "lowest", "--explain")
        words = said("score", "model", "t.csv", *options, table=put(1, label="lilac").head(1))
        assert "row 1: label is a value never seen" in words

    def test_it_counts_as_the_least_likely_label_that_is_known(self, typed, place, here):
        rows = [put(1, label=label).head(1) for label in ("lilac", "red", "blue", "green")]
        pl.concat(rows).write_csv("t.csv")
        typed("score", place / "model.safetensors", "t.csv", "--unseen", "lowest", "--out", "s.csv")
        unseen, *known = pl.read_csv("s.csv")["log_density"].to_list()
        assert unseen == pytest.approx(min(known), abs=1e-9)

    def test_no_command_advises_an_option_that_it_lacks(self, typed, said, place):
        words = said("sample", "model", "-n", "20", "--like", "t.csv", status=1, table=self.table)
        again = typed("fit", "t.csv", "--from", place / "model.safetensors")
        for told in (words, " ".join(again.err.split())):
            assert "t.csv: column 'label' holds 'lilac' in row 7" in told
            assert "fit a new model" in told
            assert "--unseen" not in told


class TestRowsWithoutDensity:
    def test_each_is_explained_by_the_bounds_that_it_violates(self, said, here):
        table = put(1, p=150.0).head(3).with_columns(p=pl.Series([150.0, -3.0, 50.0]), k=-1)
        words = said("score", "model", "t.csv", "--explain", "--out", "s.csv", table=table)
        assert words == ""
        because = pl.read_csv("s.csv")["unlikely_because"].to_list()
        assert "p 150 (outside 0 to 100; expected" in because[0]
        assert "k -1 (below 0; expected 3)" in because[0]
        assert "p -3 (outside 0 to 100" in because[1]
        assert because[2].startswith("k -1 (below 0")
        assert "inf" not in "".join(because)

    def test_scores_name_column_row_value_and_bound(self, said):
        words = said("score", "model", "t.csv", "--explain", table=put(3, p=150.0))
        assert "1 row lies where the density is zero, and the mean is that of the others" in words
        assert "Column 'p' holds 150 in row 3, outside 0 to 100." in words
        assert "row 3: p is 150" in words
        assert "+inf" not in words

    def test_nothing_is_said_of_others_where_there_are_none(self, said):
        words = said("score", "model", "t.csv", table=put(1).with_columns(p=101.0))
        assert "40 rows scored: all of them lie where the density is zero." in words
        assert "row 1, outside 0 to 100, the first of 40 such rows" in words
        assert "others" not in words
        assert "mean log-density" not in words

    def test_a_number_so_far_out_that_nothing_is_left_of_its_density(self, said):
        words = said("score", "model", "t.csv", "--explain", table=put(2, x=1e200).head(2))
        assert "x is 1e+200" in words
        assert "its density is zero there" in words


class TestCalibration:
    def test_rows_that_are_not_scored_are_left_out_and_counted(self, typed, place, here):
        table = mixed()
        left, model = table["gap"].null_count(), place / "drop.safetensors"
        words = ("score", model, place / "table.csv", "--calibration", "--out", "s.csv")
        shown = " ".join(typed(*words).out.split())
        assert f"{400 - left} rows ({left} left out, with missing or infinite values):" in shown
        facts = typed(*words, "--json").json()["calibration"]
        assert (facts["rows"], facts["rows_left_out"]) == (400 - left, left)
        assert 0.6 < facts["regions"]["0.9"] <= 1.0

    def test_a_table_of_which_nothing_is_left(self, said):
        table = mixed().head(3).with_columns(gap=pl.lit(None, pl.Float64))
        words = said("score", "drop", "t.csv", "--calibration", status=1, table=table)
        assert words.startswith("Error: t.csv: all of its 3 rows have missing or infinite values")
        assert "No row scored." in said("score", "drop", "t.csv", "--explain")

    def test_a_column_of_nothing_but_gaps_has_no_ranks(self, typed, place, here):
        mixed().head(30).with_columns(gap=pl.lit(None, pl.Float64)).write_csv("t.csv")
        words = ("score", place / "model.safetensors", "t.csv", "--calibration", "--out", "s.csv")
        facts = typed(*words, "--json").json()["calibration"]
        assert set(facts["columns"]) == {"x", "k", "p", "day"}


class TestLike:
    def test_drawn_rows_are_compared_and_copies_found(self, typed, place, here):
        words = ("sample", place / "model.safetensors", "-n", "300", "--out", "s.csv", "--json")
        facts = typed(*words, "--like", place / "table.csv").json()
        assert facts["like"]["rows"] == {"drawn": 300, "data": 400}
        assert facts["like"]["distances"]["copies"] == 0.0
        assert facts["notes"] == []
        typed("sample", place / "model.safetensors", "-n", "20", "--seed", "5", "--out", "c.csv")
        copied = typed(*words[:3], "20", "--seed", "5", "--like", "c.csv", *words[4:]).json()
        assert copied["like"]["distances"]["copies"] == 1.0

    @pytest.mark.parametrize("rows", [1, 5])
    def test_too_few_rows_are_refused_before_any_is_drawn(self, typed, place, here, rows):
        mixed().head(rows).write_csv("t.csv")
        result = typed("sample", place / "model.safetensors", "-n", "10", "--like", "t.csv")
        assert (result.status, result.out) == (1, "")
        assert result.err.startswith(f"Error: t.csv: there {'is' if rows == 1 else 'are'} {rows} ")
        assert "expected at least 10" in result.err
        assert result.err.count("\n") == 1

    def test_one_drawn_row_is_too_few(self, said):
        words = said("sample", "model", "-n", "1", "--like", "t.csv", status=1, table=mixed())
        assert "1 drawn row" in words
        assert "at least 2" in words

    def test_a_column_that_is_the_same_in_all_rows_is_left_out(self, typed, place, here):
        mixed().head(12).with_columns(k=pl.lit(3), label=pl.lit("red")).write_csv("t.csv")
        words = ("sample", place / "model.safetensors", "-n", "50", "--like", "t.csv")
        result = typed(*words)
        assert "Without k, the same in all rows of t.csv" in " ".join(result.err.split())
        found = typed(*words, "--out", "s.csv", "--json").json()["like"]
        assert "k" in found["columns"]
        assert found["left_out"] == ["k"]
        assert math.isfinite(found["distances"]["drawn"])
        assert 0.0 < found["distances"]["drawn"] < 10.0
        assert 0.0 < found["correlations"]["mean"] < 1.0

    @pytest.mark.parametrize("model", ["model", "given"])
    def test_given_rows_are_said_to_stand_beside_all(self, said, model):
        words = ("--given", "label=red", "--like", "t.csv")
        told = said("sample", model, "-n", "50", *words, table=mixed())
        assert "the drawn rows are those given label = red, and they are compared" in told
        assert "with all rows of t.csv" in told


class TestFrom:
    def test_it_goes_on_and_tells_of_drift(self, typed, place, here):
        words = ("fit", place / "table.csv", "--from", place / "model.safetensors", "--json")
        facts = typed(*words, "--out", "m.safetensors", "--epochs", "1").json()
        assert math.isfinite(facts["drift"]["nats"])
        assert facts["rows_read"] == 400

    def test_one_row_is_refused_before_the_report(self, typed, place, here):
        mixed().head(1).write_csv("t.csv")
        result = typed("fit", "t.csv", "--from", place / "model.safetensors")
        assert (result.status, result.out) == (1, "")
        assert result.err == (
            "Error: t.csv: there is 1 row that can be learned from, expected at least 2; "
            "give more rows.\n"
        )
        assert not list(here.glob("*.safetensors"))


class TestFit:
    def test_types_are_as_asked_for(self, typed, place):
        words = typed("info", place / "model.safetensors").out
        assert "p interval" in " ".join(words.split())
        assert "p: as asked for" in words

    def test_the_error_of_a_single_held_out_row_is_not_known(self, typed, here):
        mixed().select("x", "k").head(6).write_csv("t.csv")
        words = " ".join(typed("fit", "t.csv", *QUICK[:-1]).out.split())
        assert "of 1 held-out row" in words
        assert words.count("± unknown") == 2

    def test_negative_weights_need_to_be_asked_for(self, typed, here):
        signs = pl.Series("w", [-1.0 if row % 10 == 0 else 1.0 for row in range(400)])
        mixed().select("x", "p").with_columns(signs).write_csv("t.csv")
        words = ("fit", "t.csv", "--weights", "w", "--out", "m.safetensors", *QUICK)
        refused = typed(*words)
        assert refused.status == 1
        assert "--signed-weights" in refused.err
        assert typed(*words, "--signed-weights").status == 0
        assert typed("score", "m.safetensors", "t.csv", "--out", "s.csv").status == 0
