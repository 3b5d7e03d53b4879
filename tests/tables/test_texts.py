"""Texts that people meant as numbers or dates: what is wrong with them is said."""

import numpy as np
import polars as pl
import pytest

from pushforward.errors import DataError
from pushforward.tables import infer_schema

ROWS = 600
NUMBERS = np.random.default_rng(0).normal(1e4, 5e4, ROWS).round(2)
TEXTS = [str(value) for value in NUMBERS]
DAYS = [f"20{10 + i // 200}-{i % 12 + 1:02}-{i % 28 + 1:02}" for i in range(ROWS)]


def refusal(texts, **options):
    with pytest.raises(DataError) as caught:
        infer_schema({"a": NUMBERS, "x": texts}, **options)
    (line,) = str(caught.value).split("\n")
    return line


def exchanged(text):
    return text.translate(str.maketrans(",.", ".,"))


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ([t.replace(".", ",") for t in TEXTS], "with decimal commas ('{}' in row 1)"),
        (["$" + t for t in TEXTS], "with currency signs ('{}' in row 1)"),
        ([t + " \u20ac" for t in TEXTS], "with currency signs ('{}' in row 1)"),
        ([t + " %" for t in TEXTS], "with percent signs ('{}' in row 1)"),
        ([f"{v:,.2f}" for v in NUMBERS], "with thousands separators ('{}' in row 1)"),
        ([exchanged(f"{v:,.2f}") for v in NUMBERS], "thousands separators ('{}' in row 1)"),
        ([f"-${abs(v):,.2f}" for v in NUMBERS], "with currency signs ('{}' in row 1), thousands"),
    ],
)
def test_how_numbers_are_written_is_said(texts, says):
    line = refusal(texts)
    assert "column 'x' looks like numbers" in line
    assert says.format(texts[0]) in line
    assert "write plain numbers such as 1234.5, or leave it out with columns=['a']" in line
    assert "or insist with types={'x': 'categorical'}" in line


def test_the_first_text_among_numbers_is_named(tmp_path):
    spoiled = list(TEXTS)
    spoiled[17] = "oops"
    one = "looks like numbers, but 1 of 600 values is not: 'oops' in row 18; correct it"
    assert one in refusal(spoiled)
    spoiled[30] = "?"
    several = "but 2 of 600 values are not, the first 'oops' in row 18; correct them"
    assert several in refusal(spoiled)
    assert "is said to be real and looks like numbers, but 2 of" in refusal(
        spoiled, types={"x": "real"}
    )
    pl.DataFrame({"a": NUMBERS[:300], "x": NUMBERS[:300]}).write_csv(tmp_path / "1.csv")
    pl.DataFrame({"a": NUMBERS[300:], "x": [*spoiled[:299], None]}).write_csv(tmp_path / "2.csv")
    with pytest.raises(DataError, match=r"2 of 599 values.*'oops' in row 18 of .*2.csv"):
        infer_schema(tmp_path)


def test_few_texts_stay_categories_with_a_note():
    texts = [str(i % 100) for i in range(ROWS)]
    texts[5] = "?"
    found = infer_schema({"a": NUMBERS, "x": texts}).column("x")
    assert found.type == "categorical"
    assert found.reason == (
        "text of 101 values; looks like numbers, but 1 of 600 values is not: '?' in row 6"
    )


@pytest.mark.parametrize("other", ["2011-05-01 10:00", "soon", "1.5.2011"])
def test_dates_that_are_not_written_in_one_way(other):
    texts = list(DAYS)
    texts[9] = other
    line = refusal(texts)
    assert "'x' looks like dates written as %Y-%m-%d, but 1 of 600 values is not: " in line
    assert f"{other!r} in row 10; write all dates in one way" in line
    assert infer_schema({"a": NUMBERS, "x": DAYS}).column("x").type == "date"


def test_dates_with_and_without_a_time():
    texts = [day + " 10:00" * (i % 2) for i, day in enumerate(DAYS)]
    assert "but 300 of 600 values are not, the first '2010-02-02 10:00' in row 2" in refusal(texts)


@pytest.mark.parametrize(
    ("values", "said", "says"),
    [
        (NUMBERS, "date", f"is said to be date and holds numbers ({NUMBERS[0]}, …); leave out"),
        (NUMBERS, "categorical", "is said to be categorical and holds numbers of 600 different"),
        (NUMBERS[:100].repeat(6)[:150], "ordinal", ""),
        (["low", "mid", "high"] * 200, "ordinal:low,mid", "types={'x': 'ordinal:low,mid,high'}"),
    ],
)
def test_types_that_do_not_fit(values, said, says):
    if says:
        assert says in refusal(values, types={"x": said})
    else:
        table = {"a": NUMBERS[: len(values)], "x": values}
        assert infer_schema(table, types={"x": said}).column("x").type == said
