"""Flows as components: a mixture of flows is a base, and a density by itself."""

import pytest
import torch
from torch.testing import assert_close

import pushforward as pf
from pushforward import bases, maps
from pushforward import transforms as T
from pushforward.bases import Base
from pushforward.errors import ContextError

WIDTH = 3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def component(seed, context=0):
    flow = pf.flows.nsf(2, context, layers=1, hidden=(8,), start="none", seed=seed)
    torch.manual_seed(seed)
    for p in flow.parameters():
        torch.nn.init.normal_(p, std=0.2)
    flow.base = bases.Normal(2, loc=4.0 * seed)
    return flow.double()


def mixture(*contexts, weights=None, context=0):
    parts = [component(seed, width) for seed, width in enumerate(contexts)]
    return bases.Mixture(*parts, weights=weights, context=context, hidden=(8,)).double()


def test_its_density_is_the_sum_and_integrates_to_one():
    base = mixture(0, 0, weights=[0.25, 0.75])
    z = 3.0 * torch.randn(20, 2, generator=seeded()).double()
    parts = torch.stack([part.log_prob(z) for part in base.components], -1)
    want = (parts.exp() @ torch.tensor([0.25, 0.75]).double()).log()
    assert_close(base.log_prob(z), want)
    line = torch.linspace(-25, 30, 700, dtype=torch.float64)
    mass = base.log_prob(torch.cartesian_prod(line, line)).detach().exp().sum()
    assert float(mass * (line[1] - line[0]) ** 2) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("widths", [(0, 0), (WIDTH, WIDTH), (0, WIDTH)], ids=str)
def test_a_flow_has_it_as_its_base(widths, tmp_path):
    scale = T.Diagonal(2)
    scale.log_scale.data.copy_(torch.tensor([0.5, -0.3]))
    flow = pf.Flow(scale, mixture(*widths)).double().eval()
    context = torch.randn(4, WIDTH, generator=seeded()).double() if any(widths) else None
    x, log_p = flow.sample_and_log_prob(6, context, generator=seeded(1))
    assert x.shape == (6, *(() if context is None else (4,)), 2)
    assert_close(flow.log_prob(x, context).detach(), log_p)
    inner = flow.base.log_prob(x * scale.log_scale.exp(), context) + scale.log_scale.sum()
    assert_close(flow.log_prob(x, context), inner)
    again = pf.load(pf.save(flow, tmp_path / "flow.safetensors"))
    assert torch.equal(again.log_prob(x, context), flow.log_prob(x, context))
    assert pf.check(flow, context=context, show=False).passed


def test_it_is_a_density_by_itself():
    base = mixture(WIDTH, 0, context=WIDTH)
    context = torch.randn(4, WIDTH, generator=seeded()).double()
    draws = base.rsample(5, context, generator=seeded())
    assert draws.shape == (5, 4, 2)
    assert torch.equal(draws, base.rsample(5, context, generator=seeded()))
    assert base.log_prob(draws, context).shape == (5, 4)
    share = base.responsibilities(draws, context)
    assert_close(share.sum(-1), torch.ones(5, 4).double())
    with pytest.raises(ContextError):
        base.log_prob(draws)


def test_draws_come_from_the_components_by_their_shares():
    base = mixture(0, 0, weights=[0.2, 0.8])
    draws = base.rsample(20_000, generator=seeded())
    share = base.responsibilities(draws).detach().mean(0)
    assert_close(share, torch.tensor([0.2, 0.8]).double(), atol=0.01, rtol=0)


class Noisy(Base):
    """A standard normal density whose logarithm is known with noise."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.event_shape, self.kind = (2,), kind

    @property
    def exactness(self):
        return self.kind

    def log_prob(self, z, context=None):
        noise = torch.randn(z.shape[:-1], dtype=z.dtype)
        return bases.Normal(2).double().log_prob(z) + 0.1 * noise

    def rsample(self, n=(), context=None, *, generator=None):
        return bases.Normal(2).double().rsample(n, context, generator=generator)


@pytest.mark.parametrize(
    ("kinds", "weakest"),
    [
        (("exact", "exact"), "exact"),
        (("estimate", "exact"), "estimate"),
        (("exact", "bound"), "bound"),
        (("bound", "estimate"), "bound"),
    ],
    ids=str,
)
def test_it_is_as_exact_as_its_weakest_component(kinds, weakest):
    parts = [component(1) if kind == "exact" else Noisy(kind) for kind in kinds]
    flow = pf.Flow(T.Diagonal(2), bases.Mixture(*parts)).double()
    assert flow.base.exactness == flow.exactness == weakest
    told = flow.estimate(torch.zeros(3, 2), samples=16)
    assert told.exactness == weakest
    assert bool((told.standard_error > 0).all()) == (weakest != "exact")


def test_training_reaches_every_component():
    base = mixture(0, 0)
    flow = pf.Flow(T.Elementwise(2, map=maps.Affine()), base).double()
    x = torch.randn(200, 2, generator=seeded()).double()
    before = float(flow.log_prob(x).mean().detach())
    gradients = torch.autograd.grad(flow.log_prob(x).mean(), list(base.parameters()))
    assert all(bool(g.isfinite().all()) for g in gradients)
    assert all(bool(g.any()) for g in gradients)
    pf.fit(flow, x, steps=30, validation=0, precision="float64", progress=False)
    assert float(flow.log_prob(x).detach().mean()) > before


def test_settling_a_mixture_settles_its_components():
    resampled = bases.Resampled(bases.Normal(2), samples=1000)
    mixture = bases.Mixture(resampled, bases.Normal(2)).eval()
    assert resampled.settled is None
    mixture.settle(torch.zeros(3, 2))
    assert resampled.settled is not None
