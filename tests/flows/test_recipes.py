"""What a recipe is made of."""

from __future__ import annotations

import functools
import inspect
import math

import pytest
import torch

import pushforward as pf
from pushforward import maps
from pushforward import transforms as T
from pushforward.data.toys import TOYS
from pushforward.errors import ArgumentError, DataError
from pushforward.flows.recipes.registry import RECIPES
from pushforward.networks import MLP, MaskedMLP


def affine_layers(flow):
    return [m for m in flow.modules() if isinstance(m, maps.Affine)]


def test_a_spline_flow_begins_with_as_many_affine_layers_as_asked_for():
    for autoregressive in (False, True):
        for count in (0, 1, 3):
            flow = pf.flows.nsf(
                3, layers=1, hidden=(4,), affine=count, autoregressive=autoregressive
            )
            assert len(affine_layers(flow)) == count


@pytest.mark.parametrize("affine", [-1, 1.5, "two"])
def test_a_number_of_affine_layers_that_cannot_be_is_refused(affine):
    with pytest.raises(ArgumentError, match=r"affine is .*, expected (0 or more|a whole number)\."):
        pf.flows.nsf(2, affine=affine)


def far_misses(affine):
    """How far rows of a banana outside the boxes are below the truth, nats, after a short run."""
    toy = TOYS["banana"]
    flow = pf.flows.nsf(2, layers=2, hidden=(32,), affine=affine, seed=0)
    pf.fit(flow, toy.sample(4_000, seed=0).float(), steps=250, progress=False)
    x = toy.sample(100_000, seed=1, dtype=torch.float64)
    x = x[x[:, 1] > 12.0]  # about one row in a thousand
    with torch.no_grad():
        return float((toy.log_prob(x) - flow.double().log_prob(x)).mean())


def test_affine_layers_reach_what_lies_outside_the_boxes_of_the_splines():
    assert far_misses(2) < 0.75 * far_misses(0)


TURNED = ["autoregressive", "naf", "umnn", "sospf", "bernstein", "bnaf", "planar", "sylvester"]


@pytest.mark.parametrize("name", TURNED)
def test_a_direction_is_the_other_one_turned_round(name):
    """The same seed builds the same layers, which then go the other way."""
    build = getattr(pf.flows, name)
    if name == "autoregressive":  # its linear layers stay as they are
        build = functools.partial(build, mix="none")
    small = {} if name in ("planar", "sylvester") else {"hidden": (8,)}
    there, back = (
        build(2, layers=1, start="none", seed=0, direction=d, **small)
        for d in ("density", "sampling")
    )
    for flow in (there, back):
        for i, parameter in enumerate(flow.parameters()):
            torch.manual_seed(i)
            torch.nn.init.normal_(parameter, std=0.2)
    z = torch.randn(5, 2)
    assert torch.allclose(back.decode(z), there.encode(z), atol=1e-5)
    with pytest.raises(ArgumentError, match="direction is 'both', expected 'density' or 'samp"):
        build(2, direction="both")


def test_couplings_have_no_direction():
    with pytest.raises(ArgumentError, match=r"couplings cost the same both ways; add autoregress"):
        pf.flows.nsf(2, direction="sampling")


def test_batch_normalization_ends_with_the_statistics_of_all_rows():
    flow = pf.flows.maf(2, layers=2, hidden=(8,), batch_norm=True, seed=0)
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) * 3.0 + 1.0
    pf.fit(flow, x, steps=20, validation=0, progress=False)
    state = flow.transform.transforms[0](x)[0]
    for step in flow.transform.transforms[1:]:
        if isinstance(step, pf.transforms.BatchNorm):
            assert torch.allclose(step.mean, state.mean(0), atol=1e-4)
            assert torch.allclose(step.variance, state.var(0, unbiased=False), rtol=1e-3)
        state = step(state)[0].detach()


def test_a_mixture_learns_from_few_rows():
    """48 components placed by 90 rows had -38 nats for others."""
    x, others = (TOYS["two_moons"].sample(n, seed=n).float() for n in (100, 5_000))
    flow = pf.flows.mixture_nsf(2, seed=0)
    pf.fit(flow, x, steps=20, progress=False)
    with torch.no_grad():
        assert float(flow.log_prob(others).mean()) > -2.0


def test_a_robust_start_is_not_moved_by_a_few_far_rows():
    x = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    x[:20] *= 1e6
    scale = pf.flows.realnvp(1, start="robust", layers=1, seed=0).fit(x).transform.transforms[0]
    assert abs(float(scale.mean)) < 0.1
    assert float(scale.scale) == pytest.approx(1.0, abs=0.1)
    plain = pf.transforms.Standardize(1).fit(x)
    assert float(plain.scale) > 1e3


def test_a_recipe_brings_its_learning_rate():
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    for name, lr in (("planar", 0.05), ("realnvp", 0.002)):
        flow = getattr(pf.flows, name)(2, layers=4, seed=0)
        assert pf.fit(flow, x, steps=2, progress=False).settings["lr"] == lr
    assert pf.fit(flow, x, steps=2, lr=0.007, progress=False).settings["lr"] == 0.007


def angles(period):
    """About a twelfth of the circle wide, across the seam of numbers from zero to the period."""
    noise = torch.randn(3000, 1, generator=torch.Generator().manual_seed(0))
    return (noise * period / 12.0) % period


def learned(period):
    """A short run on such angles, and the mean log-density that it reached."""
    flow, x = pf.flows.ncsf(1, period=period, layers=2, hidden=(16,), seed=0), angles(period)
    pf.fit(flow, x, steps=100, lr=0.01, progress=False)
    with torch.no_grad():
        return flow, float(flow.log_prob(x).mean())


@pytest.mark.parametrize("period", [360.0, 24.0])
def test_angles_are_learned_and_drawn_in_the_unit_of_the_data(period):
    """As radians are, by the change of unit."""
    (flow, nats), (_, in_radians) = learned(period), learned(2.0 * math.pi)
    assert in_radians > -1.2  # uniform angles: -1.84
    assert nats == pytest.approx(in_radians - math.log(period / (2.0 * math.pi)), abs=0.02)
    x, grid = angles(period), torch.linspace(0.0, period, 4001)[:-1, None]
    with torch.no_grad():
        assert float(flow.log_prob(grid).exp().mean()) * period == pytest.approx(1.0, abs=1e-3)
        assert torch.allclose(flow.log_prob(x + period), flow.log_prob(x), atol=1e-4)
    drawn = flow.sample(2000, generator=torch.Generator().manual_seed(1))
    assert float(drawn.abs().max()) <= period / 2.0
    assert float(drawn.abs().median()) < period / 8.0  # uniform ones: a quarter


def test_a_period_of_two_pi_is_the_default():
    plain, said = (pf.flows.ncsf(2, seed=0, **p) for p in ({}, {"period": 2.0 * math.pi}))
    x = torch.linspace(-7.0, 7.0, 20).reshape(10, 2)
    assert torch.equal(plain.log_prob(x), said.log_prob(x))


def test_degrees_taken_for_radians_stop_a_fit():
    with pytest.raises(DataError, match=r"spans 57\.\d periods of 6\.283, .* such as period=360"):
        pf.flows.ncsf(1, seed=0).fit(angles(360.0))


NO_CIRCLES = {
    "hours": ({"start": T.Circle(1, 24.0)}, r"Circle of period 24, .*; write period=24 in its pl"),
    "both": ({"start": T.Circle(1), "period": 24.0}, "period is 24 beside a start .*; leave one"),
    "none": ({"start": None}, "start is None, expected a transform or one of 'circle'"),
    "number": ({"start": 5}, "start is 5, expected a transform or one of 'circle'"),
    "no period": ({"period": 0.0}, r"period is 0\.0, expected a positive number, such as 360"),
    "endless": ({"period": math.inf}, "period is inf, expected a positive number"),
    "text": ({"period": "360"}, "period is '360', expected a number"),
}


@pytest.mark.parametrize("case", NO_CIRCLES)
def test_angles_that_cannot_be_are_refused_in_a_sentence(case):
    arguments, says = NO_CIRCLES[case]
    with pytest.raises(ArgumentError, match=rf"pf\.flows\.ncsf: .*{says}"):
        pf.flows.ncsf(1, **arguments)


@pytest.mark.parametrize("start", [None, 5, ["robust"]])
def test_a_start_that_is_none_is_refused_with_those_that_are(start):
    with pytest.raises(ArgumentError, match=r"start is .*, expected a transform or one of 'standa"):
        pf.flows.nsf(1, start=start)


@pytest.mark.parametrize("name", ["planar", "radial", "sylvester"])
def test_widths_of_a_network_that_there_is_not_are_refused(name):
    build = getattr(pf.flows, name)
    with pytest.raises(
        ArgumentError, match=rf"{name}: hidden is \(8,\), of a network that reads a"
    ):
        build(2, hidden=(8,))
    assert build(2, 1, layers=1, hidden=(8,)).context == 1


def test_what_the_default_base_takes_is_refused_beside_another():
    for name, more in (("mixture_nsf", {"components": 7}), ("heavy_tailed", {"df": 3.0})):
        build = getattr(pf.flows, name)
        with pytest.raises(
            ArgumentError, match=rf"{name}: \w+ is .* beside a base, which it would"
        ):
            build(2, base=pf.bases.Normal(2), **more)
        assert isinstance(build(2, layers=1, base=pf.bases.Normal(2)).base, pf.bases.Normal)


def test_a_residual_flow_is_exact_where_that_is_asked_for():
    def exactness(features, **more):
        return pf.flows.residual(features, layers=1, **more).exactness

    assert (exactness(32), exactness(33)) == ("exact", "estimate")
    assert (exactness(33, logdet="exact"), exactness(2, logdet="unbiased")) == ("exact", "estimate")


def test_the_index_of_a_feature_is_its_own_whatever_else_moves_it():
    """Far rows tell it, also where most rows are spread by another feature or by the context."""
    torch.manual_seed(0)
    t, c = torch.distributions.StudentT(3.0).sample((20_000, 2)), torch.randn(20_000, 1)
    by_another = torch.stack([t[:, 0], 2.0 * t[:, 0].sin() + t[:, 1]], 1)
    for x, context in ((by_another, None), (t[:, :1] + 2.0 * c, c)):
        flow = pf.flows.heavy_tailed(x.shape[1], 0 if context is None else 1, hidden=(16,), seed=0)
        pf.fit(flow, x, context=context, steps=150, progress=False)
        # by the likelihood of all rows 7 and 8; a hundred rows tell it to a quarter or so
        assert torch.allclose(flow.base.df.detach(), torch.tensor(3.0), rtol=0.35)


def test_every_recipe_that_takes_residual_hands_it_to_its_networks():
    """All of them: the affine layers before the splines, and the networks of couplings."""
    takes = [r for r in RECIPES.values() if "residual" in inspect.signature(r.build).parameters]
    assert len(takes) == 16
    for recipe in takes:
        flow = recipe.build(2, layers=1, hidden=(8, 8), residual=True, seed=0)
        networks = [m for m in flow.modules() if isinstance(m, MLP | MaskedMLP)]
        assert networks, recipe.name
        assert all(network.residual for network in networks), recipe.name
