"""Draws that are accepted by a learned chance."""

import copy
import math

import pytest
import torch
from tests.bases.cases import Steps, halved
from torch.testing import assert_close

import pushforward as pf
from pushforward import bases
from pushforward import transforms as T
from pushforward.errors import ArgumentError, ShapeError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def shaken(features=2, **options):
    """A proposal with an uneven network."""
    torch.manual_seed(0)
    options = {"hidden": (16,), "samples": 20_000, **options}
    base = bases.Resampled(bases.Normal(features, learn=True), **options)
    torch.nn.init.normal_(base.network.last.weight, std=2.0)
    return base.double()


def chance(base, z):
    with torch.no_grad():
        return base._log_chance(z).exp()


def test_the_density_is_that_of_truncated_rejection_sampling():
    """By the formula, with Z from a grid, and from counting draws."""
    base = shaken(truncation=4).eval()
    line = torch.linspace(-8, 8, 801, dtype=torch.float64)
    grid, cell = torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2
    pi = base.base.log_prob(grid).detach().exp()
    mean = float((pi * chance(base, grid)).sum()) * cell
    missed = (1 - mean) ** 3
    want = pi * ((1 - missed) * chance(base, grid) / mean + missed)
    assert float(want.sum() * cell) == pytest.approx(1.0, abs=1e-6)
    base.settle(samples=1 << 20)
    assert_close(base.log_prob(grid).detach().exp(), want, rtol=5e-3, atol=0)
    draws = base.rsample(200_000, generator=seeded()).detach()
    for region in (
        lambda z: z[:, 0] > 0.5,
        lambda z: z.sum(-1) > 0,
        lambda z: z.norm(dim=-1) < 1,
    ):
        mass = float(want[region(grid)].sum()) * cell
        assert float(region(draws).double().mean()) == pytest.approx(mass, abs=0.006)


def test_it_begins_as_the_proposal():
    z = torch.randn(50, 2, generator=seeded())
    for base in (bases.Resampled(bases.Normal(2)), bases.Resampled(bases.Normal(2)).eval()):
        assert_close(base.log_prob(z).detach(), bases.Normal(2).log_prob(z), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_density_is_a_function_of_the_weights_in_evaluation_and_random_in_training():
    base, z = shaken(), torch.zeros(2).double()
    assert base.exactness == "estimate"
    assert float(base.log_prob(z)) != float(base.log_prob(z))
    base.eval()
    assert base.exactness == "exact"
    state = torch.get_rng_state()
    first = float(base.log_prob(z))
    assert float(base.log_prob(z)) == first
    assert float(copy.deepcopy(base).log_prob(z)) == first
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        base.network.last.bias.add_(1.0)
    assert float(base.log_prob(z)) != first  # no Z is kept that belongs to other weights


def test_the_standard_error_is_that_of_repetition():
    base = shaken(samples=2000).eval()
    found = torch.tensor([base.normalizer(seed=seed).log_z for seed in range(200)])
    told = base.normalizer()
    assert float(found.std()) == pytest.approx(told.standard_error, rel=0.2)
    assert told.samples == 2000
    assert told.log_z == pytest.approx(float(base._log_z().detach()), abs=1e-12)
    most = math.sqrt((1 - math.exp(told.log_z)) / (math.exp(told.log_z) * 2000))
    assert told.standard_error < most


def test_a_settled_z_is_kept_until_training_goes_on(tmp_path):
    base = shaken()
    flow = pf.Flow(T.Diagonal(2), base).double()
    x = torch.randn(5, 2, generator=seeded()).double()
    before = flow.eval().log_prob(x)
    base.settle(samples=1 << 18)
    settled = flow.log_prob(x)
    gap = float((settled - before).abs().max().detach())
    assert 0 < gap < 5 * base.normalizer().standard_error
    again = pf.load(pf.save(flow, tmp_path / "flow.safetensors"))
    assert torch.equal(again.eval().log_prob(x), settled)
    assert torch.equal(copy.deepcopy(flow).log_prob(x), settled)
    flow.train()
    assert base.settled is None
    assert not bool(base.kept.any())
    assert torch.equal(flow.eval().log_prob(x), before)


def test_compiled_and_mapped_over_batches_a_settled_density_is_the_same():
    base, z = shaken().settle(samples=1 << 12), torch.randn(6, 2, generator=seeded()).double()
    compiled = torch.compile(base.log_prob, fullgraph=True, backend="aot_eager")
    assert_close(compiled(z), base.log_prob(z))
    assert_close(torch.vmap(base.log_prob)(z), base.log_prob(z))
    slope = torch.func.grad(base.log_prob)(z[0])
    row = z[0].clone().requires_grad_()
    assert_close(slope, torch.autograd.grad(base.log_prob(row), row)[0])


def test_the_gradient_of_z_reaches_network_and_proposal():
    """Of log Z = log E a under N(loc, 1), against a step of the proposal's location."""
    base = shaken(1, samples=400_000).eval()

    def log_z(shift):
        line = torch.linspace(-12, 12, 20_001, dtype=torch.float64)[:, None]
        pi = torch.distributions.Normal(shift, 1.0).log_prob(line[:, 0]).exp()
        return float((pi * chance(base, line)).sum() * (line[1] - line[0])).__abs__()

    want = (math.log(log_z(1e-4)) - math.log(log_z(-1e-4))) / 2e-4
    gradients = torch.autograd.grad(base._log_z(), [base.base.loc, base.network.last.bias])
    assert float(gradients[0]) == pytest.approx(want, abs=0.01)
    assert bool(gradients[1].any())


@pytest.mark.parametrize("truncation", [2, 100])
def test_extreme_chances_keep_density_and_gradient_finite(truncation):
    for level in (-1e4, 1e4):
        base = bases.Resampled(bases.Normal(2), truncation=truncation, samples=100)
        base.network.last.bias.data.fill_(level)
        value = base.eval().log_prob(torch.tensor([[0.0, 0.0], [1e6, -1e6]]))
        assert bool(value.isfinite().all())
        gradients = torch.autograd.grad(value.sum(), list(base.parameters()), allow_unused=True)
        assert all(g is None or bool(g.isfinite().all()) for g in gradients)
        assert base.rsample(50, generator=seeded()).shape == (50, 2)


def test_no_more_draws_are_looked_at_than_the_truncation_says():
    base = halved(2)
    count = []
    draw = base.base.rsample

    def counted(n, **options):
        count.append(n)
        return draw(n, **options)

    base.base.rsample = counted
    base.rsample(1000, generator=seeded())
    assert len(count) == 3
    assert count[0] == 1000
    assert count == sorted(count, reverse=True)


def test_two_lumps_from_one():
    """Trained on two far lumps with a transform that cannot tear, against the proposal alone."""
    sign = torch.tensor([-1.0, 1.0]).repeat(2000)[:, None]
    x = 4.0 * sign * torch.tensor([1.0, 0.0]) + 0.5 * torch.randn(4000, 2, generator=seeded())
    flows = {}
    for name, base in (
        ("resampled", bases.Resampled(bases.Normal(2), hidden=(32, 32), samples=20_000)),
        ("normal", bases.Normal(2)),
    ):
        torch.manual_seed(0)
        flows[name] = pf.Flow(T.Compose(T.Standardize(2), T.Diagonal(2)), base)
        pf.fit(flows[name], x, steps=300, progress=False, lr=0.01)
    with torch.no_grad():
        gain = flows["resampled"].log_prob(x).mean() - flows["normal"].log_prob(x).mean()
        assert float(gain) > 0.7
        draws = flows["resampled"].sample(5000, generator=seeded())
    between = (draws[:, 0].abs() < 2.0).double().mean()
    assert float(between) < 0.02
    assert float((draws[:, 0] > 0).double().mean()) == pytest.approx(0.5, abs=0.05)
    flows["resampled"].base.settle()
    assert pf.check(flows["resampled"], x, show=False).passed


def test_latents_place_the_proposal_if_it_looks_at_them():
    z = torch.cat((torch.randn(500, 2) - 5, torch.randn(500, 2) + 5))
    base = bases.Resampled(bases.GaussianMixture(2, 2)).fit(z)
    assert_close(
        base.base.loc.detach()[:, 0].sort().values, torch.tensor([-5.0, 5.0]), atol=0.3, rtol=0
    )
    assert bases.Resampled(bases.Normal(2)).fit(z).base.loc.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("build", "kind", "says"),
    [
        (
            lambda: bases.Resampled(bases.Normal(2), truncation=1),
            ArgumentError,
            "truncation is 1, expected a whole number from 2 up",
        ),
        (
            lambda: bases.Resampled(bases.Normal(2), samples=2.5),
            ArgumentError,
            "samples is 2.5, expected a whole number",
        ),
        (
            lambda: bases.Resampled(bases.Normal(2, context=3)),
            ArgumentError,
            "base reads a context of width 3",
        ),
        (
            lambda: bases.Resampled(
                bases.as_base(torch.distributions.Normal(torch.zeros(2, 2), 1.0))
            ),
            ShapeError,
            r"base is a density of shape \(2, 2\), expected \(features,\)",
        ),
    ],
)
def test_arguments_that_cannot_be_are_refused(build, kind, says):
    with pytest.raises(kind, match=says):
        build()


def test_it_says_what_it_is():
    told = repr(bases.Resampled(bases.Normal(2), Steps))
    assert told.startswith("Resampled(\n  truncation=100, samples=131072")
