"""Ensembles of conditional flows of one number, and chains of them: densities, exactly."""

import math

import pytest
import torch
from torch.testing import assert_close

import pushforward as pf
from pushforward.errors import ArgumentError, DataError, NotFiniteError, ShapeError
from pushforward.flows import Chain, Ensemble
from pushforward.networks import Ramps
from pushforward.numerics.tails.student_t_curves import student_t_log_density
from pushforward.training.members import fit_members, plan
from pushforward.training.members.flat import Flat

NUMBER = {"value": "number"}


def ensemble(features=2, members=3, size=3.0):
    """One with weights large enough that densities have several modes and heavy tails."""
    made = Ensemble(Ramps([NUMBER] * features, [0] * features), members, hidden=(16,))
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.mul_(size)
        made.raw_df.copy_(torch.linspace(0.0, 3.0, members)[:, None])
        made.center.fill_(2.0)
        made.scale.fill_(5.0)
        made.width.fill_(1.2)
    return made


def context(rows=4, features=2):
    return torch.randn(rows, features, dtype=torch.float64)


def test_a_density_is_the_slope_of_its_distribution_function_which_ends_at_one():
    made, c = ensemble(size=1.5), context()
    ends = 2.0 + 5.0 * torch.tensor([-1e7, 1e7]).double()  # of tails with df = 2: 1e-14 is beyond
    for row in c:
        wide = row.expand(2, 2)
        below = made.cdf(ends, wide)
        assert_close(below, torch.tensor([0.0, 1.0]).double(), atol=1e-12, rtol=0)
        y = torch.linspace(-60.0, 60.0, 20_001, dtype=torch.float64)
        many = row.expand(len(y), 2)
        density = made.log_prob(y, many).exp()
        below = made.cdf(y, many)
        assert bool((below.diff() > 0).all())
        steps = torch.cumulative_trapezoid(density, y)
        # the trapezoid is wrong by its step of 0.006 squared times how the density bends, which
        # it does most at the knots of the splines
        assert_close(steps.detach(), below[1:] - below[0], atol=2e-4, rtol=0)


def test_quantiles_invert_the_distribution_function():
    levels = torch.tensor([1e-9, 0.001, 0.05, 0.4, 0.5, 0.95, 1.0 - 1e-6], dtype=torch.float64)
    for members in (1, 5):
        made, c = ensemble(members=members, size=6.0), context(50)
        y = made.quantile(levels, c)
        assert bool((y.diff(dim=1) > 0).all())
        for i, level in enumerate(levels):
            # where the members leave a gap between them the function is flat, and y is anything
            assert_close(made.cdf(y[:, i], c), level.expand(50), atol=1e-8, rtol=0)


def test_the_mean_is_the_integral_of_y_times_its_density():
    made, c = ensemble(size=1.5), context(3)
    with torch.no_grad():
        made.raw_df.fill_(2.0)  # so that the tails beyond the grid weigh nothing
    y = torch.linspace(-900.0, 900.0, 200_001, dtype=torch.float64)
    for row, mean in zip(c, made.mean(c), strict=True):
        density = made.log_prob(y, row.expand(len(y), 2)).exp()
        assert_close(mean, torch.trapezoid(y * density, y), atol=5e-3, rtol=0)


@pytest.mark.parametrize(("size", "members"), [(1.5, 3), (3.0, 1), (5.0, 20), (3.0, 60)])
def test_means_are_exact_where_modes_lie_far_apart(size, members):
    """By numbers at so many latents that no jump between modes is missed."""
    made, c = ensemble(members=members, size=size), context(6)
    with torch.no_grad():
        made.raw_df.fill_(2.0)
        # evenly spread angles, so that latents reach as far as heavy tails do
        angle = ((torch.arange(20_000).double() + 0.5) / 20_000 - 0.5) * math.pi
        z = 3.0 * angle.tan()
        share = student_t_log_density(z, made.df[:1]).exp() / angle.cos().square()
        u = made.given(c).number(z.expand(members, 6, -1))
        want = 2.0 + 5.0 * (u @ (share / share.sum())).mean(0)
        spread = made.quantile(torch.tensor([0.16, 0.84]).double(), c).diff(dim=1)[:, 0] / 2.0
    assert_close((made.mean(c) - want) / spread, torch.zeros(6).double(), atol=1e-3, rtol=0)


def test_draws_are_distributed_as_the_density_says():
    made, c = ensemble(), context(3)
    generator = torch.Generator().manual_seed(0)
    drawn = made.sample(4000, c, generator)
    assert drawn.shape == (4000, 3)
    place = made.cdf(drawn, c.expand(4000, 3, 2)).sort(0).values
    even = (torch.arange(4000).double() + 0.5)[:, None] / 4000
    # Kolmogorov's statistic: above 0.03 in one of 700 runs of 4000 draws
    assert float((place - even).abs().max()) < 0.03
    again = made.sample(4000, c, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_draws_have_the_gradients_of_their_density():
    """Of a mean: by the draws, as it is for the density."""
    made, c = ensemble(members=2), context(1)
    with torch.no_grad():
        made.raw_df.fill_(3.0)
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    drawn = made.rsample((200,), c + shift, torch.Generator().manual_seed(0))
    assert bool(torch.autograd.grad(drawn.sum(), shift)[0].isfinite())
    y = drawn.detach().requires_grad_(True)
    log_p = made.log_prob(y, c.expand(200, 1, 2))
    assert bool(torch.autograd.grad(log_p.sum(), y)[0].isfinite().all())


def test_far_numbers_have_a_density_and_no_nan():
    made, c = ensemble(), context(2)
    y = torch.tensor([1e30, -1e300], dtype=torch.float64)
    assert bool(made.log_prob(y, c).isfinite().all())
    assert_close(made.cdf(y, c), torch.tensor([1.0, 0.0]).double(), atol=1e-15, rtol=0)


def test_a_chain_is_the_product_of_its_steps():
    chain, c = Chain([ensemble(2), ensemble(3), ensemble(4)]), context(5)
    y = torch.randn(5, 3).double()
    want = sum(
        chain.step(i).log_prob(y[:, i], torch.cat((c, y[:, :i]), 1)) for i in range(chain.targets)
    )
    assert_close(chain.log_prob(y, c), want, atol=1e-12, rtol=0)
    drawn = chain.sample((2, 3), c, torch.Generator().manual_seed(0))
    assert drawn.shape == (2, 3, 5, 3)


def test_the_marginal_of_a_later_number_is_averaged_over_those_before_it():
    chain, c = Chain([ensemble(2), ensemble(3)]), context(2)
    first = chain.marginal(0, c)
    levels = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    assert_close(first.quantile(levels), chain.step(0).quantile(levels, c))
    drawn = chain.sample(1000, c, torch.Generator().manual_seed(0))[..., 1]
    place = chain.marginal(1, c).cdf(drawn.T).mean(1)
    # half of the draws lie below each; a mean of 1000 uniform numbers is right to 0.01, that of 64
    # points in the place of draws to about 0.02
    assert_close(place, torch.full((2,), 0.5).double(), atol=0.06, rtol=0)
    alone = chain.marginal(1, c[1:]).quantile(levels)
    assert_close(alone, chain.marginal(1, c).quantile(levels)[1:], atol=1e-9, rtol=0)


def test_both_are_saved_and_loaded(tmp_path):
    x = torch.randn(60, 3).double()
    first = Ensemble(Ramps.of([NUMBER] * 2, x[:, :2]), 2, hidden=(8,))
    chain = Chain([first, Ensemble(Ramps.of([NUMBER] * 3, x), 2, hidden=(8,))])
    y = torch.randn(60, 2).double()
    again = pf.load(pf.save(chain, tmp_path / "chain.safetensors"))
    assert torch.equal(again.log_prob(y, x[:, :2]), chain.log_prob(y, x[:, :2]))
    first.save(tmp_path / "one.safetensors")
    one = pf.load(tmp_path / "one.safetensors")
    assert torch.equal(one.log_prob(y[:, 0], x[:, :2]), first.log_prob(y[:, 0], x[:, :2]))


def test_what_does_not_fit_is_refused():
    made, c = ensemble(), context()
    with pytest.raises(ShapeError, match=r"y has shape \(3,\) and context \(4, 2\)"):
        made.log_prob(torch.zeros(3), c)
    with pytest.raises(ArgumentError, match="expected numbers between 0 and 1"):
        made.quantile(torch.tensor([0.0, 0.5]), c)
    with pytest.raises(ArgumentError, match="embed is a Identity, expected a module with features"):
        Ensemble(torch.nn.Identity())
    with pytest.raises(ArgumentError, match="members is 0, expected at least 1"):
        Ensemble(Ramps([NUMBER], [0]), members=0)
    with pytest.raises(ArgumentError, match=r"the steps take \[2, 2\] inputs"):
        Chain([ensemble(2), ensemble(2)])
    with pytest.raises(ArgumentError, match="got no steps"):
        Chain([])
    with pytest.raises(ShapeError, match=r"y has shape \(4,\)"):
        Chain([made]).log_prob(torch.zeros(4), c)


# ---------------------------------------------------------------------- training


def rows(n=120):
    x = torch.randn(n, 1).double()
    y = 10.0 + x[:, 0] + (0.2 + 0.3 * (x[:, 0] > 0)) * torch.randn(n).double()
    return x, y


def fitted(x, y, steps=150, **options):
    torch.manual_seed(0)
    made = Ensemble(Ramps.of([NUMBER] * x.shape[1], x), 3, hidden=(32,))
    return made, fit_members(made, x, y, plan(len(y))._replace(steps=steps), **options)


def test_training_finds_a_noise_that_depends_on_the_context():
    x, y = rows(300)
    made, history = fitted(x, y, 300)
    at = torch.tensor([[-1.0], [1.0]]).double()
    low, high = made.quantile(torch.tensor([0.1587, 0.8413]).double(), at).unbind(1)
    assert 1.3 < float((high - low)[1] / (high - low)[0]) < 5.0  # 2.5 in truth
    assert_close(made.mean(at), torch.tensor([9.0, 11.0]).double(), atol=0.3, rtol=0)
    assert history.skipped == 0
    assert 0.7 < history.width < 2.0
    assert all(0 < step <= 300 for step in history.best_step)


def test_the_same_seed_gives_the_same_and_nothing_else_is_touched():
    x, y = rows()
    before = torch.get_rng_state()
    first, _ = fitted(x, y, 20, seed=3, jitter=0.1)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    made = Ensemble(Ramps.of([NUMBER], x), 3, hidden=(32,))
    made.load_state_dict(first.state_dict())
    torch.set_rng_state(state)
    second, _ = fitted(x, y, 20, seed=3, jitter=0.1)
    other, _ = fitted(x, y, 20, seed=4, jitter=0.1)
    assert torch.equal(first.log_prob(y, x), second.log_prob(y, x))
    assert not torch.equal(first.log_prob(y, x), other.log_prob(y, x))
    torch.set_rng_state(before)
    state = torch.get_rng_state()
    fit_members(made, x, y, plan(len(y))._replace(steps=3))
    assert torch.equal(torch.get_rng_state(), state)


def test_jitter_keeps_a_lattice_from_growing_spikes():
    torch.manual_seed(1)
    x = torch.rand(150, 1).double()
    y = (2.0 * torch.rand(150).double()).round()  # 0, 1 and 2
    spiky, _ = fitted(x, y, 250)
    even, _ = fitted(x, y, 250, jitter=1.0)
    assert float(spiky.log_prob(y, x).detach().max()) > 0.7  # above one over the step
    assert float(even.log_prob(y, x).detach().max()) < 0.3


def test_rows_count_by_their_weights():
    x = torch.randn(200, 1).double()
    y = torch.randn(200).double() + 3.0 * (torch.arange(200) % 2)
    weights = torch.where(torch.arange(200) % 2 == 0, 1.0, 1e-6).double()
    made, _ = fitted(x, y, 150, weights=weights)
    assert float(made.mean(x).detach().mean().abs()) < 0.5


@pytest.mark.parametrize("n", [2, 3, 7, 12])
def test_few_rows_are_shared(n):
    x, y = rows(n)
    made, history = fitted(x, y, 5)
    assert len(history.held_out) == 3
    assert bool(made.log_prob(y, x).isfinite().all())


def test_training_refuses_what_has_no_density():
    x, y = rows()
    with pytest.raises(DataError, match="y is 3 in all 120 rows, so that its density is infinite"):
        fitted(x, torch.full_like(y, 3.0))
    with pytest.raises(DataError, match="y has 1 rows, expected at least 2"):
        fitted(x[:1], y[:1])


def test_what_is_not_finite_does_not_pass_silently():
    x, y = rows()
    made = Ensemble(Ramps.of([NUMBER], x), 2, hidden=(8,))
    short = plan(120)._replace(steps=10)
    with pytest.raises(NotFiniteError, match="a member has found no finite density"):
        fit_members(made, torch.full_like(x, math.nan), y, short)  # what no door lets through
    # a row that no member holds out: all have it to learn from
    last = int(torch.randperm(120, generator=torch.Generator().manual_seed(0))[-1])
    x[last] = math.nan
    with pytest.warns(UserWarning, match=r"steps of members were skipped, since their gradients"):
        fit_members(made, x, y, short)
    assert all(bool(parameter.isfinite().all()) for parameter in made.parameters())


def test_flat_parameters_are_those_of_the_module():
    module = pf.networks.SideBySideMLP(2, 3, 1, (4,))
    x = torch.randn(5, 3)
    want = torch.autograd.grad(module(x).square().sum(), list(module.parameters()))
    before = module(x).detach()
    flat = Flat(module)
    assert torch.equal(module(x), before)
    flat.backward(module(x).square().sum())
    assert_close(flat.gradients, torch.cat([part.reshape(2, -1) for part in want], 1))
    flat.values.zero_()
    assert not bool(module(x).any())
    assert int(flat.columns("weights").sum()) == 3 * 4 + 4
