"""Laws every flow keeps: it is a density, and it samples from that density."""

import copy
import functools
import math
import pickle

import pytest
import torch
from scipy import stats
from tests.flows.cases import CASES, contexts, made, rows
from torch.testing import assert_close

import pushforward as pf
from pushforward.flows import RECIPES

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
widths = pytest.mark.parametrize("features", [1, 2, 7], ids=lambda n: f"D{n}")
either_context = pytest.mark.parametrize("context", [0, 2], ids=lambda n: f"context{n}")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def one(context):
    """The first context alone."""
    many = contexts(8, context)
    return None if many is None else many[0]


def box(flow, context, features):
    """Ends of each feature between which all but a ten-thousandth of the mass lies."""
    x = flow.sample(20_000, context, generator=seeded(9))
    low, high = (x.quantile(q, 0) for q in (0.001, 0.999))
    spread = high - low
    return low - 1.5 * spread, high + 1.5 * spread


def test_every_recipe_has_a_case():
    covered = {case.build(2, 0).facts.get("recipe", {}).get("name") for case in CASES}
    assert set(RECIPES) <= covered


NAMED = {case.name: case for case in CASES}


@functools.cache
def on_a_line(name, context):
    """A flow of one feature, points, and its density there: two laws look at them."""
    flow, c = made(NAMED[name], 1, context), one(context)
    low, high = box(flow, c, 1)
    x = torch.linspace(float(low), float(high), 40_001, dtype=torch.float64)
    with torch.no_grad():
        return flow, x, flow.log_prob(x[:, None], c).exp()


@functools.cache
def on_a_plane(name):
    """A flow of two features, the sides of a grid, and its density on the grid."""
    flow, c = made(NAMED[name], 2, 2), one(2)
    ends = zip(*box(flow, c, 2), strict=True)
    sides = [torch.linspace(float(a), float(b), NAMED[name].points).double() for a, b in ends]
    with torch.no_grad():
        return flow, sides, flow.log_prob(torch.cartesian_prod(*sides), c).exp()


@every_case
@either_context
def test_the_density_integrates_to_one_on_a_line(case, context):
    _, x, density = on_a_line(case.name, context)
    assert float(torch.trapezoid(density, x)) == pytest.approx(1.0, abs=2e-3)


@every_case
def test_the_density_integrates_to_one_on_a_plane(case):
    _, sides, density = on_a_plane(case.name)
    cell = math.prod(float(side[1] - side[0]) for side in sides)
    assert float(density.sum()) * cell == pytest.approx(1.0, abs=5e-3)


@every_case
@either_context
def test_samples_follow_the_density_on_a_line(case, context):
    """Kolmogorov-Smirnov against the integral of the density, at one in a thousand."""
    flow, x, density = on_a_line(case.name, context)
    below = torch.cumulative_trapezoid(density, x)
    below = torch.cat((torch.zeros(1), below)) + (1.0 - below[-1]) / 2.0
    drawn = flow.sample(4000, one(context), generator=seeded(3))[:, 0]
    place = ((drawn - x[0]) / (x[1] - x[0])).long().clamp(0, len(x) - 1)
    assert stats.kstest(below[place].numpy(), "uniform").pvalue > 1e-3


@every_case
def test_samples_follow_the_density_on_a_plane(case):
    """Chi-square over cells of about equal mass, their mass by quadrature, at one in a thousand."""
    c, n = one(2), 4000
    flow, sides, mass = on_a_plane(case.name)
    reference = flow.sample(20_000, c, generator=seeded(9))
    inner = []
    for i, side in enumerate(
        sides
    ):  # cut halfway between points of the grid, so that none is split
        cuts = reference[:, i].quantile(torch.linspace(0, 1, 7)[1:-1].double())
        place = torch.bucketize(cuts, side)
        inner.append((side[place] + side[place - 1]) / 2.0)
    grid = torch.cartesian_prod(*sides)

    def cells(x):
        return sum(torch.bucketize(x[:, i].contiguous(), inner[i]) * 6**i for i in (0, 1))

    expected = torch.zeros(36).double().index_add(0, cells(grid), mass)
    expected = expected / expected.sum() * n
    drawn = cells(flow.sample(n, c, generator=seeded(3)))
    found = torch.bincount(drawn, minlength=36).double()
    full = expected > 5.0
    assert int(full.sum()) > 10
    chi = ((found - expected).square() / expected)[full].sum()
    assert float(chi) < stats.chi2.ppf(0.999, int(full.sum()))


@every_case
@widths
@either_context
def test_samples_carry_the_density_that_log_prob_gives(case, features, context):
    flow, c = made(case, features, context), contexts(4, context)
    x, log_p = flow.sample_and_log_prob((50,), c, generator=seeded(3))
    assert_close(flow.log_prob(x, c), log_p, atol=case.double, rtol=1e-9)


@every_case
@widths
@either_context
def test_encode_and_decode_undo_each_other(case, features, context):
    flow, c, x = made(case, features, context), contexts(8, context), rows(8, features)
    z = flow.encode(x, c)
    assert z.shape == x.shape
    assert_close(flow.decode(z, c), x, atol=case.double, rtol=0)
    drawn = flow.base.rsample((8,), generator=seeded(2)).detach()
    assert_close(flow.encode(flow.decode(drawn, c), c), drawn, atol=case.double, rtol=0)


@every_case
@either_context
def test_the_density_is_base_and_logdet(case, context):
    flow, c, x = made(case, 3, context), contexts(8, context), rows(8, 3)
    e = c if flow.embed is None or c is None else flow.embed(c)
    z, logdet = flow.transform(x, e)
    assert_close(flow.log_prob(x, c), flow.base.log_prob(z) + logdet, atol=1e-12, rtol=0)
    assert_close(flow(x, c), flow.log_prob(x, c), atol=0, rtol=0)


@every_case
@either_context
def test_log_prob_is_in_the_units_of_the_data(case, context):
    """The same rows in units a thousand times smaller lose log(1000) nats a feature."""
    values = []
    for unit in (1.0, 1000.0):
        torch.manual_seed(1)
        flow, c, x = case.build(3, context).double(), contexts(64, context), rows(64, 3) * unit
        values.append(flow.fit(x, c).log_prob(x, c))
    assert_close(
        values[0] - values[1], torch.full((64,), 3 * math.log(1000.0)).double(), atol=1e-6, rtol=0
    )


@every_case
@either_context
@pytest.mark.parametrize("n", [(), 3, (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("ahead", [(), (4,), (2, 4)], ids=str)
def test_samples_have_the_shape_asked_for(case, context, n, ahead):
    flow = made(case, 3, context)
    c = torch.randn(*ahead, context).double() if context else None
    want = (*((n,) if isinstance(n, int) else n), *(ahead if context else ()), 3)
    assert flow.sample(n, c).shape == want
    x, log_p = flow.sample_and_log_prob(n, c)
    assert x.shape == want
    assert log_p.shape == want[:-1]


@every_case
def test_each_context_has_samples_of_its_own(case):
    flow, c = made(case, 2, 2), contexts(3, 2)
    together = flow.sample(2000, c, generator=seeded(0))
    for i in range(3):
        alone = flow.sample(2000, c[i], generator=seeded(1))
        for a, b in zip(together[:, i].T, alone.T, strict=True):
            assert stats.ks_2samp(a.numpy(), b.numpy()).pvalue > 1e-3


@every_case
def test_the_same_generator_gives_the_same_samples(case):
    flow = made(case, 2, 0)
    before = torch.get_rng_state()
    first, again, other = (flow.sample(20, generator=seeded(seed)) for seed in (1, 1, 2))
    assert_close(first, again, atol=0, rtol=0)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@every_case
def test_without_a_generator_torchs_own_state_counts(case):
    flow = made(case, 2, 0)
    torch.manual_seed(5)
    first = flow.sample(20)
    torch.manual_seed(5)
    assert_close(flow.sample(20), first, atol=0, rtol=0)


@every_case
@either_context
def test_states_lead_from_the_data_to_the_latent(case, context):
    flow, c, x = made(case, 3, context), contexts(4, context), rows(4, 3)
    states = flow.states(x, c)
    assert states[0][0] == "data"
    assert_close(states[0][1], x, atol=0, rtol=0)
    assert_close(states[-1][1], flow.encode(x, c), atol=0, rtol=0)
    assert_close(
        states[-1][2] + flow.base.log_prob(states[-1][1]), flow.log_prob(x, c), atol=1e-12, rtol=0
    )
    names = [name for name, _, _ in states]
    assert len(set(names)) == len(names)


@every_case
@either_context
def test_distribution_speaks_torchs_language(case, context):
    flow = made(case, 3, context, torch.float32)
    c = torch.randn(4, context) if context else None
    distribution = flow.distribution(c)
    assert isinstance(distribution, torch.distributions.Distribution)
    batch = (4,) if context else ()
    assert distribution.batch_shape == batch
    assert distribution.event_shape == (3,)
    x = distribution.sample((5,))
    assert x.shape == (5, *batch, 3)
    assert not x.requires_grad
    assert distribution.rsample((5,)).requires_grad
    assert_close(distribution.log_prob(x), flow.log_prob(x, c), atol=0, rtol=0)
    wide = distribution.expand((2, *batch))
    assert wide.batch_shape == (2, *batch)
    assert wide.sample((5,)).shape == (5, 2, *batch, 3)
    assert wide.log_prob(wide.sample()).shape == (2, *batch)
    assert wide.log_prob(torch.zeros(3)).shape == (2, *batch)


@every_case
@either_context
def test_gradients_reach_every_weight(case, context):
    flow, c = made(case, 3, context), contexts(64, context)
    (-flow.log_prob(rows(64, 3), c).mean()).backward()
    silent = [n for n, p in flow.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert not silent
    flow.zero_grad()
    x, log_p = flow.rsample_and_log_prob((64,), c)
    (x.sum() + log_p.sum()).backward()
    # the shares of a mixture are learned from densities, not through the choice they make
    silent = [n for n, p in flow.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert not silent
    assert not flow.sample(2, c).requires_grad


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_far_rows_have_a_finite_density_and_gradient(case, dtype):
    flow = made(case, 2, 0, dtype)
    x = torch.tensor([[0.0, 0.0], [1e6, -1e6], [-1e6, 3.0], [1e-40, 1e3]], dtype=dtype)
    x.requires_grad_()
    log_p = flow.log_prob(x)
    assert bool(log_p.isfinite().all())
    for gradient in torch.autograd.grad(log_p.sum(), [x, *flow.parameters()]):
        assert bool(gradient.isfinite().all())


@every_case
@either_context
def test_the_flow_keeps_its_dtype_and_takes_others(case, context):
    for dtype in (torch.float32, torch.float64):
        flow = made(case, 3, context, dtype)
        assert flow.dtype == dtype
        c = contexts(4, context)
        for given in (rows(4, 3), rows(4, 3).float(), rows(4, 3).long()):
            assert flow.log_prob(given, c).dtype == dtype
        assert flow.sample(2, c).dtype == dtype


@every_case
@either_context
def test_save_and_load_are_equal_to_the_bit(case, context, tmp_path):
    flow, c, x = made(case, 3, context), contexts(8, context), rows(8, 3)
    pf.save(flow, tmp_path / "flow.safetensors")
    again = pf.load(tmp_path / "flow.safetensors")
    assert_close(again.log_prob(x, c), flow.log_prob(x, c), atol=0, rtol=0)
    assert_close(
        again.sample(5, c, generator=seeded(0)),
        flow.sample(5, c, generator=seeded(0)),
        atol=0,
        rtol=0,
    )
    assert again.facts == flow.facts
    assert [n for n, _ in again.named_parameters()] == [n for n, _ in flow.named_parameters()]
    pf.save(again, tmp_path / "again.safetensors")
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("flow", "again")]
    assert files[0] == files[1]


@every_case
def test_copies_and_pickles_are_the_same_flow(case):
    flow, x = made(case, 3, 0), rows(8, 3)
    for twin in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        assert_close(twin.log_prob(x), flow.log_prob(x), atol=0, rtol=0)
        for parameter in twin.parameters():
            parameter.data.zero_()
    assert_close(copy.deepcopy(flow).log_prob(x), flow.log_prob(x), atol=0, rtol=0)


@every_case
def test_rows_do_not_see_each_other(case):
    flow, x, c = made(case, 3, 2), rows(6, 3), contexts(6, 2)
    alone = torch.stack([flow.log_prob(x[i], c[i]) for i in range(6)])
    assert_close(flow.log_prob(x, c), alone, atol=1e-10, rtol=0)
