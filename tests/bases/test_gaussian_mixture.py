"""Normal components that the data places."""

import math

import pytest
import torch
from torch.testing import assert_close

import pushforward as pf
from pushforward import bases
from pushforward.errors import ArgumentError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def lumps(n=4_000, dtype=torch.float64):
    """Three lumps of shares 1/2, 1/4 and 1/4, the first long and tilted."""
    noise = torch.randn(n, 2, generator=seeded(1), dtype=dtype)
    first, second, third = noise.split([n // 2, n // 4, n // 4])
    tilt = torch.tensor([[2.0, 0.0], [1.5, 0.3]], dtype=dtype)
    rows = torch.cat((first @ tilt.mT, 0.5 * second + 8.0, third - 8.0))
    return rows[torch.randperm(n, generator=seeded(2))], tilt


def test_fit_finds_shares_centres_and_covariances():
    z, tilt = lumps()
    base = bases.GaussianMixture(2, 3).double().fit(z)
    order = base.logits.argsort(descending=True)
    shares = base.logits.exp()
    found = shares.sort(descending=True).values
    assert_close(found, shares.new_tensor([0.5, 0.25, 0.25]), atol=0.02, rtol=0)
    largest = int(order[0])
    assert_close(base.loc[largest], z.new_zeros(2), atol=0.15, rtol=0)
    covariance = torch.linalg.inv(base._whitening()[largest])
    assert_close(covariance @ covariance.mT, tilt @ tilt.mT, atol=0.25, rtol=0.05)
    assert_close(base.loc[order[1:], 0].sort().values, z.new_tensor([-8.0, 8.0]), atol=0.1, rtol=0)


def test_the_same_rows_give_the_same_components_whatever_the_seed():
    z, _ = lumps()
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made.append(bases.GaussianMixture(2, 3, background=0.1).double().fit(z))
    state = torch.get_rng_state()
    for a, b in zip(*(base.parameters() for base in made), strict=True):
        assert torch.equal(a, b)
    bases.GaussianMixture(2, 3).fit(z.float())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_background_is_as_wide_as_all_rows_and_has_its_share():
    z, _ = lumps()
    base = bases.GaussianMixture(2, 3, background=0.05).double().fit(z)
    assert_close(base.logits.exp().sum(), z.new_tensor(1.0))
    assert_close(base.logits[-1].exp(), z.new_tensor(0.05))
    assert_close(base.loc[-1], z.mean(0), atol=0.01, rtol=0)
    assert_close(base.log_diagonal[-1], -(1.2 * z.std(0)).log(), atol=0.01, rtol=0)
    base.requires_grad_(False)
    far = z.new_tensor([[30.0, -30.0]])
    without = bases.GaussianMixture(2, 3, learn=False).double().fit(z)
    assert float(base.log_prob(far)) > float(without.log_prob(far)) + 100.0


def test_responsibilities_are_shares_of_the_density():
    z, _ = lumps(400)
    base = bases.GaussianMixture(2, 3, background=0.05).double().fit(z)
    shares = base.responsibilities(z)
    assert shares.shape == (400, 4)
    assert_close(shares.sum(-1), torch.ones(400).double())
    assert float(shares.detach()[:, :3].amax(-1).median()) > 0.9


def test_one_far_row_gets_no_component():
    noise = torch.randn(6_000, 2, generator=seeded())
    z = noise + torch.tensor([-5.0, 5.0]).repeat(3_000)[:, None]
    for far in (1e3, 1e6):
        z[17] = torch.tensor([far, -far])
        base = bases.GaussianMixture(2, 2, background=0.05).fit(z)
        centres = base.loc[:2, 0].detach().sort().values
        assert_close(centres, torch.tensor([-5.0, 5.0]), atol=0.2, rtol=0)


def test_a_pattern_in_the_order_of_the_rows_hides_no_group():
    noise = torch.randn(40_000, 1, generator=seeded())
    z = noise + torch.tensor([-5.0, 5.0]).repeat(20_000)[:, None]
    want = torch.tensor([-5.0, 5.0])
    base = bases.GaussianMixture(1, 2).fit(z)
    assert_close(base.loc.detach().flatten().sort().values, want, atol=0.1, rtol=0)
    flow = pf.flows.nsf(1, layers=1, start="none", base=bases.GaussianMixture(1, 2)).fit(z)
    assert_close(flow.base.loc.detach().flatten().sort().values, want, atol=0.1, rtol=0)


def test_infinite_numbers_have_no_density():
    base = bases.GaussianMixture(2, 3, learn=False).double().fit(lumps()[0])
    z = torch.tensor([[math.inf, 0.0], [0.0, -math.inf], [0.0, 0.0]])
    assert base.log_prob(z.double()).isneginf().tolist() == [True, True, False]
    assert base.log_prob(z.float()).isneginf().tolist() == [True, True, False]


def test_few_rows_for_the_components_are_refused():
    with pytest.raises(ArgumentError, match="got 1 rows for 1 components, expected at least 2"):
        bases.GaussianMixture(2, 1).fit(torch.zeros(1, 2))
    with pytest.raises(ArgumentError, match="got 2 rows for 3 components, expected at least"):
        bases.GaussianMixture(2, 3).fit(torch.zeros(2, 2))
    with pytest.raises(ArgumentError, match="got 24 rows for 48 components, expected at least 25"):
        bases.GaussianMixture(2, 48).fit(torch.zeros(24, 2))
    assert len(bases.GaussianMixture(2, 48).fit(torch.randn(30, 2)).loc.detach().unique(dim=0)) == 1


@pytest.mark.parametrize("rows", [100, 200])
def test_few_rows_place_few_components_and_other_rows_keep_their_density(rows):
    z, others = torch.randn(rows, 2, generator=seeded()), torch.randn(2_000, 2, generator=seeded(1))
    base = bases.GaussianMixture(2, 48, background=0.1).fit(z)
    assert len(base.loc[:48].detach().unique(dim=0)) == rows // 25
    assert_close(base.logits.exp().sum(), torch.tensor(1.0))
    with torch.no_grad():  # the truth has -2.84
        assert float(base.log_prob(others).mean()) > -3.3
    assert base.state_dict()["loc"].shape == (49, 2)


def test_rows_enough_place_every_component():
    z, _ = lumps(1_200)
    assert len(bases.GaussianMixture(2, 48).fit(z).loc.detach().unique(dim=0)) == 48


@pytest.mark.parametrize("rows", ["equal", "few", "flat"])
def test_rows_without_a_covariance_give_finite_components(rows):
    z = torch.randn(50, 3, generator=seeded())
    z = {"equal": torch.ones(50, 3), "few": z[:3], "flat": z * torch.tensor([1.0, 1.0, 0.0])}[rows]
    base = bases.GaussianMixture(3, 3, background=0.1).fit(z)
    assert bool(base.log_prob(z).isfinite().all())


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True])
def test_a_wrong_number_of_components_is_refused(wrong):
    with pytest.raises(ArgumentError, match="components is"):
        bases.GaussianMixture(2, wrong)


@pytest.mark.parametrize("wrong", [-0.1, 1.0, float("nan")])
def test_a_background_that_is_no_share_is_refused(wrong):
    with pytest.raises(ArgumentError, match="background is"):
        bases.GaussianMixture(2, 2, background=wrong)


def test_what_does_not_learn_has_no_parameters():
    base = bases.GaussianMixture(2, 3, learn=False)
    assert not list(base.parameters())
    assert {"logits", "loc", "log_diagonal", "below"} <= set(base.state_dict())


def test_a_flow_places_it_on_its_latents_and_saves_it(tmp_path):
    x, _ = lumps(dtype=torch.float32)
    flow = pf.flows.nsf(2, layers=2, hidden=(8,), seed=0, base=bases.GaussianMixture(2, 3))
    flow.fit(100.0 * x + 7.0)
    plain = pf.flows.nsf(2, layers=2, hidden=(8,), seed=0).fit(100.0 * x + 7.0)
    x = 100.0 * x + 7.0
    with torch.no_grad():
        gain = flow.log_prob(x).mean() - plain.log_prob(x).mean()
    assert float(gain) > 1.0
    pf.save(flow, tmp_path / "flow.safetensors")
    again = pf.load(tmp_path / "flow.safetensors")
    assert torch.equal(again.log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (20_000, 3)])
def test_a_base_is_fitted_to_a_flow_with_any_context(shape):
    x, context = torch.randn(20_000, 2, generator=seeded()), torch.randn(shape, generator=seeded(1))
    for base in (bases.GaussianMixture(2, 2), pf.flows.nsf(2, layers=1, context=3)):
        flow = pf.flows.nsf(2, layers=1, context=3, base=base, seed=0).fit(100.0 * x, context)
        assert bool(flow.log_prob(100.0 * x[:5], context[0].expand(5, 3)).isfinite().all())


def test_under_autocast_the_density_keeps_full_precision():
    z, _ = lumps(500, torch.float32)
    base = bases.GaussianMixture(2, 3).fit(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = base.log_prob(z)
    assert torch.equal(half, base.log_prob(z))


def test_it_compiles_whole_and_maps_over_batches():
    z, _ = lumps(64)
    base = bases.GaussianMixture(2, 3, background=0.1).double().fit(z)
    compiled = torch.compile(base.log_prob, fullgraph=True, backend="aot_eager")
    assert_close(compiled(z), base.log_prob(z))
    assert_close(torch.vmap(base.log_prob)(z), base.log_prob(z))
    slope = torch.func.grad(lambda x: base.log_prob(x))(z[0])
    assert slope.shape == (2,)


def test_it_says_what_it_is():
    assert repr(bases.GaussianMixture(2, 3)) == "GaussianMixture(features=2, components=3)"
    told = repr(bases.GaussianMixture(2, 3, background=0.1))
    assert told == "GaussianMixture(features=2, components=3, background=0.1)"
