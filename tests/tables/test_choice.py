"""Which flow a table gets when its owner does not say."""

import itertools
import warnings

import pytest
from tests.tables.cases import numbers, quick

import pushforward as pf
from pushforward.tables.choice import choose


def test_more_rows_never_get_a_smaller_flow():
    def size(choice):
        flow = pf.flows.nsf(4, **choice.arguments)
        return sum(p.numel() for p in flow.parameters())

    made = [choose(rows, 4) for rows in (20, 100, 499, 500, 1_000, 3_000, 10_000, 1_000_000)]
    for small, large in itertools.pairwise(made):
        assert size(small) <= size(large)
        assert small.smoothing >= large.smoothing


def test_many_rows_are_not_blurred_and_few_are():
    assert choose(5_001, 4).smoothing == 0.0
    assert 0.0 < choose(1_000, 4).smoothing <= choose(100, 4).smoothing <= 0.2


def test_few_rows_are_warned_of():
    assert "499 rows are few for a density of 4 columns" in choose(499, 4).warning
    assert choose(500, 4).warning == ""
    with pytest.warns(UserWarning, match="rows are few"):
        pf.TableFlow().fit(numbers(100), epochs=1, progress=False)


def test_a_recipe_that_was_asked_for_is_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(numbers(100), epochs=1)


def test_the_choice_says_why_and_what_was_changed():
    with pytest.warns(UserWarning, match="rows are few"):
        made = pf.TableFlow(settings={"layers": 3}).fit(numbers(60), epochs=1, progress=False)
    assert made.choice["recipe"] == "nsf"
    assert made.choice["arguments"]["layers"] == 3
    assert any("layers=3, as asked for" in line for line in made.choice["reason"])
    assert any("blurred" in line for line in made.choice["reason"])
    assert made.choice["smoothing"] > 0.0
