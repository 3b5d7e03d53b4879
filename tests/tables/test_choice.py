"""Which flow a table gets when its owner does not say."""

import itertools
import warnings

import numpy as np
import polars as pl
import pytest
import torch
from tests.tables.cases import numbers, quick

import pushforward as pf
from pushforward.tables.choice import choose
from pushforward.training.defaults import default_batch_size


def test_more_rows_of_four_columns_never_get_a_smaller_flow():
    def size(choice):
        flow = pf.flows.nsf(4, **choice.arguments)
        return sum(p.numel() for p in flow.parameters())

    rows = (20, 100, 499, 500, 1_000, 3_000, 10_000, 1_000_000)
    made = [choose(n, 4) for n in rows]
    for small, large in itertools.pairwise(made):
        assert size(small) <= size(large)
        assert small.smoothing >= large.smoothing


def test_few_rows_are_blurred_to_the_end_groups_at_first_and_the_rest_never():
    assert choose(5_001, 2).smoothing == choose(5_001, 4, groups=3).smoothing == (0.0, 0.0)
    first, last = choose(5_001, 2, groups=3).smoothing
    assert 0.0 < first < 0.1
    assert last == 0.0
    for groups in (1, 3):
        few, fewer = (choose(rows, 4, groups=groups).smoothing for rows in (1_000, 100))
        assert few[0] == few[1]
        assert 0.0 < few[1] <= fewer[1] <= 0.2


def test_few_columns_get_more_rows_a_step_unless_the_caller_says_how_many():
    made = choose(20_000, 2).training
    assert made["batch_size"] == 2 * default_batch_size(20_000)
    assert choose(20_000, 2, context=2).training == choose(4_999, 2).training == {}
    assert choose(10_000_000, 2).training["batch_size"] == 2048
    for options, batch, rate in (
        ({}, 512, 4e-3),
        ({"batch_size": 256}, 256, 2e-3),
        ({"batch_size": None}, 512, 4e-3),
        ({"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=1e-3)}, 256, None),
    ):
        table = pf.TableFlow(settings={"layers": 1, "hidden": [4, 4], "affine": 0})
        table.fit(numbers(6_000), epochs=1, progress=False, **options)
        used, said = table.history.settings, table.choice["training"]
        assert used["batch_size"] == batch == said.get("batch_size", batch)
        assert rate is None or used["lr"] == rate == said.get("lr", rate)


def test_few_rows_are_warned_of():
    assert "499 rows are few for a density of 4 columns" in choose(499, 4).warning
    assert choose(500, 4).warning == ""
    with pytest.warns(UserWarning, match="rows are few"):
        pf.TableFlow().fit(numbers(100), epochs=1, progress=False)


def test_a_recipe_that_was_asked_for_is_not_warned_of():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "rows are few|.*blurred")
        quick(numbers(100), epochs=1)


def test_the_choice_says_why_and_what_was_changed():
    with pytest.warns(UserWarning, match="rows are few"):
        made = pf.TableFlow(settings={"layers": 3}).fit(numbers(60), epochs=1, progress=False)
    assert made.choice["recipe"] == "nsf"
    assert made.choice["arguments"]["layers"] == 3
    assert any("layers=3, as asked for" in line for line in made.choice["reason"])
    assert any("blurred" in line for line in made.choice["reason"])
    assert made.choice["smoothing"][1] > 0.0


def two_groups(rows, gap=20.0):
    """Twice as many rows, the second half of them apart from the first."""
    return pl.concat((numbers(rows, seed=1), numbers(rows, seed=2) + gap))


def test_groups_of_rows_get_components_of_the_base(tmp_path):
    made = pf.TableFlow().fit(two_groups(900), epochs=1, progress=False)
    assert isinstance(made.flow.base, pf.bases.GaussianMixture)
    assert made.flow.base.components == made.choice["groups"] == 2
    assert any("2 separate groups" in line for line in made.choice["reason"])
    # the components stand on the groups from the start
    low, high = sorted(made.flow.base.loc[:2, 0].tolist())
    assert low < -0.5
    assert high > 0.5
    made.save(tmp_path / "two.safetensors")
    again = pf.load(tmp_path / "two.safetensors")
    assert np.array_equal(again.log_prob(two_groups(50)), made.log_prob(two_groups(50)))


def test_rows_without_gaps_few_rows_and_rows_with_a_context_get_a_normal_base():
    together = pf.TableFlow().fit(two_groups(900, gap=0.0), epochs=1, progress=False)
    few = pf.TableFlow().fit(two_groups(500), epochs=1, progress=False)
    given = pf.TableFlow().fit(two_groups(900), context=["a"], epochs=1, progress=False)
    for made in (together, few, given):
        assert isinstance(made.flow.base, pf.bases.Normal)
        assert made.choice["groups"] == 1


def test_groups_are_those_of_the_rows_that_weigh():
    rows = two_groups(900).with_columns(
        w=pl.when(pl.int_range(pl.len()) < 900).then(1.0).otherwise(1e-6)
    )
    made = pf.TableFlow().fit(rows, weights="w", epochs=1, progress=False)
    assert made.choice["groups"] == 1


def test_a_base_that_was_asked_for_stays_whatever_the_rows():
    settings = {"base": pf.bases.StudentT(3)}
    made = pf.TableFlow(settings=settings).fit(two_groups(900), epochs=1, progress=False)
    assert isinstance(made.flow.base, pf.bases.StudentT)
    assert made.choice["groups"] == 1


def test_a_recipe_that_was_asked_for_keeps_its_own_base():
    made = quick(two_groups(900), epochs=1)
    assert isinstance(made.flow.base, pf.bases.Normal)
