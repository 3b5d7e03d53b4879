"""What a recipe is made of."""

from __future__ import annotations

import functools

import pytest
import torch

import pushforward as pf
from pushforward import maps
from pushforward.data.toys import TOYS
from pushforward.errors import ArgumentError


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
    there, back = (
        build(2, layers=1, start="none", seed=0, direction=d, hidden=(8,))
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
