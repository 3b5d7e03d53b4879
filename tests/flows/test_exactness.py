"""Flows whose density is an estimate or a bound say so, and are never taken for exact ones."""

import math

import pytest
import torch
from torch.distributions import Normal
from torch.testing import assert_close

from pushforward import Flow, bases
from pushforward import transforms as T
from pushforward.errors import ArgumentError
from pushforward.transforms.base import Transform, current_generator, weakest


def _noise(x, batch):
    return torch.rand(batch, generator=current_generator(), dtype=x.dtype)


class Jitter(Transform):
    """Adds noise of width 1: what it gives is a lower bound of the density of what is rounded."""

    exactness = "bound"

    def __init__(self, features):
        super().__init__()
        self.event_shape = (features,)

    def _forward(self, x, context):
        return x + _noise(x, x.shape), x.new_zeros(x.shape[:-1])

    def _inverse(self, z, context):
        return z.floor(), z.new_zeros(z.shape[:-1])


class Noisy(Transform):
    """The identity, whose logdet carries noise of mean zero, as an estimated trace would."""

    exactness = "estimate"

    def __init__(self, features):
        super().__init__()
        self.event_shape = (features,)

    def _forward(self, x, context):
        return x, _noise(x, x.shape[:-1]) - 0.5

    def _inverse(self, z, context):
        return z, 0.5 - _noise(z, z.shape[:-1])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def bound():
    return Flow(Jitter(1), bases.Normal(1, scale=2.0)).double()


def estimate():
    return Flow(T.Compose(Noisy(1), T.Diagonal(1)), bases.Normal(1)).double()


CELLS = torch.arange(-3.0, 4.0, dtype=torch.float64)[:, None]


def test_the_weakest_statement_counts():
    assert weakest() == "exact"
    assert weakest("exact", "estimate") == "estimate"
    assert weakest("bound", "estimate", "exact") == "bound"
    assert T.Compose(T.LU(2), T.Diagonal(2)).exactness == "exact"
    assert T.Compose(T.LU(2), Noisy(2)).exactness == "estimate"
    assert T.Compose(Noisy(2), T.LU(2), T.Compose(Jitter(2), T.LU(2))).exactness == "bound"
    assert T.Inverse(Jitter(2)).exactness == "bound"
    assert Flow(Noisy(2), bases.Normal(2)).exactness == "estimate"
    assert Flow(Noisy(2), Flow(Jitter(2), bases.Normal(2))).exactness == "bound"
    assert Flow(T.LU(2), Flow(Noisy(2), bases.Normal(2))).exactness == "estimate"


def test_a_bound_takes_the_log_of_the_mean_over_its_samples():
    """And so converges to the probability of the cell, which is known here."""
    cells = Normal(0.0, 2.0)
    truth = (cells.cdf(CELLS + 1) - cells.cdf(CELLS)).log()[:, 0]
    one = torch.stack([bound().log_prob(CELLS, generator=seeded(i)) for i in range(2000)])
    many = bound().log_prob(CELLS, samples=20_000, generator=seeded())
    assert_close(many, truth, atol=5e-3, rtol=0)
    assert float(one.mean()) < float(truth.mean()) - 5e-3  # on average below: a bound
    some = torch.stack(
        [bound().log_prob(CELLS, samples=8, generator=seeded(i)) for i in range(2000)]
    )
    assert float(one.mean()) < float(some.mean()) < float(truth.mean())  # tighter with more


def test_an_estimate_takes_the_mean_over_its_samples():
    truth = Normal(0.0, 1.0).log_prob(CELLS)[:, 0].double()
    got = estimate().log_prob(CELLS, samples=40_000, generator=seeded())
    assert_close(got, truth, atol=4 * math.sqrt(1 / 12 / 40_000), rtol=0)


def test_estimate_tells_how_far_off_it_may_be():
    for flow in (bound(), estimate()):
        x = CELLS.expand(-1, 1)
        answers = [flow.estimate(x, samples=64, generator=seeded(i)) for i in range(400)]
        spread = torch.stack([a.log_prob for a in answers]).std(0)
        error = torch.stack([a.standard_error for a in answers]).mean(0)
        assert_close(error / spread, torch.ones(7).double(), atol=0.2, rtol=0)
        assert answers[0].samples == answers[0].evaluations == 64
        assert answers[0].exactness == flow.exactness
        assert_close(
            answers[0].log_prob, flow.log_prob(x, samples=64, generator=seeded(0)), atol=0, rtol=0
        )


def test_one_sample_knows_nothing_of_its_error():
    for flow in (bound(), estimate()):
        answer = flow.estimate(CELLS, generator=seeded())
        assert bool(answer.standard_error.isnan().all())


def test_an_exact_flow_is_exact():
    flow = Flow(T.Diagonal(1), bases.Normal(1)).double()
    answer = flow.estimate(CELLS, samples=7)
    assert answer.exactness == "exact"
    assert answer.samples == answer.evaluations == 1
    assert not bool(answer.standard_error.any())
    assert_close(flow.log_prob(CELLS, samples=7), answer.log_prob, atol=0, rtol=0)


def test_a_generator_makes_it_repeatable_and_leaves_the_global_state_alone():
    for flow in (bound(), estimate()):
        before = torch.get_rng_state()
        first, again, other = (flow.log_prob(CELLS, generator=seeded(i)) for i in (1, 1, 2))
        drawn = [flow.sample(9, generator=seeded(i)) for i in (1, 1)]
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(first, again)
        assert torch.equal(drawn[0], drawn[1])
        assert not torch.equal(first, other)
        assert current_generator() is None  # given back, also for what comes after


def test_the_generator_is_given_back_after_an_error():
    with pytest.raises(ArgumentError, match="samples is 0, expected at least 1"):
        bound().log_prob(CELLS, samples=0)
    with pytest.raises(ValueError, match="expected"):
        bound().log_prob(torch.zeros(3, 2), generator=seeded())
    assert current_generator() is None


def test_samples_keep_the_shape_of_the_batch():
    x = torch.zeros(2, 3, 1, dtype=torch.float64)
    for flow in (bound(), estimate()):
        assert flow.log_prob(x, samples=5).shape == (2, 3)
        assert flow.estimate(x, samples=5).standard_error.shape == (2, 3)
