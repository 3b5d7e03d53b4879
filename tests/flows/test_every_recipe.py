"""Every recipe as a user takes it: its defaults, a hundred steps, and what is done with it."""

import pytest
import torch
from torch.testing import assert_close

import pushforward as pf
from pushforward.data.toys import TOYS
from pushforward.flows import RECIPES

# Steps, and rows that are checked: fewer of flows that solve an equation for every call.
STEPS, ROWS = {"ffjord": 60, "made": 200, "nice": 200}, {"residual": 200}
# Its integral over the plane takes a minute; test_check.py asks all laws of it before training.
DEAR = {"ffjord"}
GAIN = 0.3  # nats a row above the normal density that most of them start as


@pytest.fixture(scope="module")
def moons():
    """Rows to learn, and others: numbers that are angles, too, between -pi and pi."""
    return TOYS["two_moons"].sample(4000, seed=1), TOYS["two_moons"].sample(2000, seed=2)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_with_its_defaults_is_fitted_checked_sampled_and_saved(name, moons, tmp_path):
    seen, held_out = moons
    start = pf.Flow(pf.transforms.Standardize(2), pf.bases.Normal(2)).fit(seen)
    flow = RECIPES[name].build(2, seed=0)
    pf.fit(flow, seen, steps=STEPS.get(name, 100), progress=False)
    with torch.no_grad():
        gained = float((flow.log_prob(held_out) - start.log_prob(held_out)).mean())
    assert gained > GAIN

    if name not in DEAR:
        report = pf.check(flow, held_out[: ROWS.get(name)], show=False)
        assert report.passed, report

    drawn = flow.sample(500, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (500, 2)
    assert bool(drawn.isfinite().all())
    # a few draws may lie far off; most lie where the data do
    assert bool((drawn.median(0).values - seen.median(0).values).abs().max() < 0.5)

    pf.save(flow, tmp_path / "flow.safetensors")
    again = pf.load(tmp_path / "flow.safetensors")
    with torch.no_grad():
        assert_close(again.log_prob(held_out), flow.log_prob(held_out), atol=0, rtol=0)
    assert again.facts["recipe"]["name"] == name


def test_there_are_as_many_recipes_as_promised():
    assert len(RECIPES) >= 22


def test_a_recipe_says_what_a_reader_needs():
    for recipe in RECIPES.values():
        assert 1990 < recipe.year < 2100
        assert recipe.paper.count(".") == 1
        assert recipe.density
        assert recipe.sampling
        assert 20 < len(recipe.choose) < 100, recipe.name
