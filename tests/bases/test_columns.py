"""Densities side by side."""

import math

import pytest
import torch
from torch.testing import assert_close

import pushforward as pf
from pushforward import bases
from pushforward import transforms as T
from pushforward.errors import ArgumentError, ContextError, InputTypeError, ShapeError


def given(features=2, context=3):
    """A density that reads a context."""
    step = T.Coupling(features, map=pf.maps.Affine(), context=context, hidden=(8,))
    for parameter in step.parameters():
        parameter.data.normal_()
    return pf.Flow(step, bases.Normal(features))


def test_its_density_is_the_sum_over_the_parts_from_left_to_right():
    parts = bases.Normal(2, 1.0, 0.5), bases.Uniform(1, 0.0, 4.0), bases.StudentT(3)
    both, z = bases.Columns(*parts), torch.rand(5, 6)
    assert both.event_shape == (6,)
    split = torch.split(z, [2, 1, 3], -1)
    apart = [one.log_prob(part) for one, part in zip(parts, split, strict=True)]
    assert_close(both.log_prob(z), sum(apart))


def test_its_support_is_each_feature_s_own():
    both = bases.Columns(bases.Normal(1), bases.Uniform(1, 0.0, 4.0))
    log_p = both.log_prob(torch.tensor([[9.0, 1.0], [0.0, 5.0], [0.0, -1.0]]))
    assert log_p.isfinite().tolist() == [True, False, False]
    assert both.support.outside(torch.tensor([[9.0, 1.0], [0.0, 5.0]])).tolist() == [False, True]
    codes = bases.MixedColumns([{"codes": 2}])
    assert bases.Columns(codes, bases.Normal(1)).support is None


def test_a_context_goes_to_those_that_read_it():
    reads, free = given(), bases.Normal(1)
    both, z, c = bases.Columns(reads, free), torch.randn(5, 3), torch.randn(5, 3)
    assert both.context == 3
    assert_close(both.log_prob(z, c), reads.log_prob(z[:, :2], c) + free.log_prob(z[:, 2:]))
    assert both.rsample(4, c).shape == (4, 5, 3)
    assert both.rsample((), c).shape == (5, 3)
    for use in (lambda: both.log_prob(z), lambda: both.rsample(4)):
        with pytest.raises(ContextError):
            use()


def test_its_exactness_is_that_of_the_weakest():
    noisy = pf.flows.ffjord(2, hidden=(8,), trace="hutchinson", steps=2)
    assert bases.Columns(bases.Normal(1)).exactness == "exact"
    assert bases.Columns(noisy, bases.Normal(1)).exactness == noisy.exactness == "estimate"


def test_each_looks_at_its_own_features():
    z = torch.cat((torch.randn(400, 2) - 8.0, torch.randint(3, (400, 1)).float()), -1)
    both = bases.Columns(bases.GaussianMixture(2, 1), bases.MixedColumns([{"codes": 3}])).fit(z)
    assert_close(both.bases[0].loc[0], z[:, :2].mean(0), atol=0.2, rtol=0)
    shares = both.bases[1].log_prob(torch.arange(3.0)[:, None]).exp()
    assert_close(shares, torch.bincount(z[:, 2].long()) / 400, atol=0.01, rtol=0)


def test_it_is_saved_with_its_parts(tmp_path):
    flow = pf.Flow(T.LU(3), bases.Columns(bases.Normal(1, 2.0), bases.StudentT(2)))
    again = pf.load(pf.save(flow, tmp_path / "flow.safetensors"))
    x = torch.randn(5, 3)
    assert torch.equal(again.log_prob(x), flow.log_prob(x))


def test_densities_that_do_not_go_together_are_refused():
    with pytest.raises(ArgumentError, match="got no density, expected at least one"):
        bases.Columns()
    with pytest.raises(ShapeError, match=r"contexts of widths \[2, 3\]"):
        bases.Columns(given(context=2), given(context=3))
    picture = torch.distributions.Normal(torch.zeros(2, 3), 1.0)
    with pytest.raises(ShapeError, match=r"a density of shape \(2, 3\), expected one of vectors"):
        bases.Columns(bases.as_base(picture))
    with pytest.raises(InputTypeError, match="expected bases or flows"):
        bases.Columns(picture)


class TestVonMises:
    @pytest.mark.parametrize("concentration", [0.0, 1e-6, 0.5, 10.0, 1e3])
    def test_it_is_scipy_s(self, concentration):
        from scipy import stats

        from pushforward.bases.columns.von_mises import draw_von_mises, log_von_mises

        angle = torch.linspace(-math.pi, math.pi, 101, dtype=torch.float64)
        kappa = torch.tensor(concentration, dtype=torch.float64)
        same = stats.vonmises(concentration) if concentration else stats.uniform(-math.pi, math.tau)
        assert log_von_mises(angle, kappa).numpy() == pytest.approx(same.logpdf(angle), abs=1e-9)
        draws = draw_von_mises(kappa.expand(4_000), torch.Generator().manual_seed(0))
        assert stats.kstest(draws.numpy(), same.cdf).pvalue > 1e-3
        assert bool((draws.abs() <= math.pi).all())
