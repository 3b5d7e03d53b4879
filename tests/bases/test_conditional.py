"""Bases that follow a context: each context has a density of its own."""

import pytest
import torch
from scipy import stats
from torch import distributions as D
from torch.testing import assert_close

import pushforward as pf
from pushforward import bases, maps
from pushforward import transforms as T
from pushforward.errors import ArgumentError, ContextError, ShapeError
from pushforward.numerics.conditioning import reach

WIDTH, FEATURES = 3, 2
HIDDEN = (8,)
COVARIANCE = [[2.0, 0.6], [0.6, 1.0]]

KINDS = {
    "normal": (
        lambda **more: bases.Normal(FEATURES, 0.5, 0.8, context=WIDTH, hidden=HIDDEN, **more),
        lambda loc, scale: D.Normal(loc, scale),
    ),
    "laplace": (
        lambda **more: bases.Laplace(FEATURES, 0.5, 0.8, context=WIDTH, hidden=HIDDEN, **more),
        lambda loc, scale: D.Laplace(loc, scale),
    ),
    "logistic": (
        lambda **more: bases.Logistic(FEATURES, 0.5, 0.8, context=WIDTH, hidden=HIDDEN, **more),
        lambda loc, scale: D.TransformedDistribution(
            D.Uniform(torch.zeros_like(loc), torch.ones_like(loc)),
            [D.SigmoidTransform().inv, D.AffineTransform(loc, scale)],
        ),
    ),
    "student-t": (
        lambda **more: bases.StudentT(
            FEATURES, 4.0, loc=0.5, scale=0.8, context=WIDTH, hidden=HIDDEN, **more
        ),
        lambda loc, scale, df: D.StudentT(df, loc, scale),
    ),
    "multivariate-normal": (
        lambda **more: bases.MultivariateNormal(
            FEATURES, 0.5, COVARIANCE, context=WIDTH, hidden=HIDDEN, **more
        ),
        lambda loc, factor: D.MultivariateNormal(loc, scale_tril=factor),
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def mixture():
    """Two lumps; the context moves one of them, and the shares."""
    return bases.Mixture(
        bases.Normal(FEATURES, -2.0, context=WIDTH, hidden=HIDDEN),
        bases.Normal(FEATURES, 2.0),
        weights=[0.3, 0.7],
        context=WIDTH,
        hidden=HIDDEN,
    )


def shaken(base, seed=0):
    """The same base with a network that does something."""
    torch.manual_seed(seed)
    for module in base.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.6)
            torch.nn.init.normal_(module.bias, std=0.3)
    return base.double()


def contexts(*batch, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, WIDTH, generator=generator, dtype=torch.float64)


def same(kind, base, context):
    """The density of each context by PyTorch, with the parameters as the docstring has them."""
    raw = base.network(reach(context)).detach()
    if kind == "multivariate-normal":
        bounded = 3 * torch.tanh(raw[..., 2:] / 3)
        turned = torch.zeros(*raw.shape[:-1], 2, 2).double()
        turned[..., 0, 0], turned[..., 1, 1] = bounded[..., 0].exp(), bounded[..., 1].exp()
        turned[..., 1, 0] = bounded[..., 2]
        return KINDS[kind][1](raw[..., :2] + base.loc.detach(), base.scale_tril.detach() @ turned)
    raw = raw.unflatten(-1, (-1, FEATURES))
    moved = [raw[..., 0, :] + base.loc]
    moved.append((base.log_scale + 3 * torch.tanh(raw[..., 1, :] / 3)).exp())
    if kind == "student-t":
        moved.append(((4.0 - 0.1) * (3 * torch.tanh(raw[..., 2, :] / 3)).exp()) + 0.1)
    return D.Independent(KINDS[kind][1](*(value.detach() for value in moved)), 1)


@every_kind
def test_each_context_has_the_density_torch_knows(kind):
    base, context = shaken(KINDS[kind][0]()), contexts(40)
    z = 2.0 * torch.randn(40, FEATURES, dtype=torch.float64)
    assert_close(
        base.log_prob(z, context), same(kind, base, context).log_prob(z), atol=1e-6, rtol=0
    )
    spread = base.log_prob(z[:1].expand(40, -1), context).detach().std()
    assert float(spread) > 0.1


@every_kind
def test_draws_of_each_context_follow_its_density(kind):
    base, context = shaken(KINDS[kind][0]()), contexts(2)
    ours = base.rsample(4000, context, generator=torch.Generator().manual_seed(0)).detach()
    torch.manual_seed(1)
    theirs = same(kind, base, context).sample((4000,))
    assert ours.shape == (4000, 2, FEATURES)
    for row in range(2):
        for i in range(FEATURES):
            a, b = ours[:, row, i].numpy(), theirs[:, row, i].numpy()
            assert stats.ks_2samp(a, b).pvalue > 1e-3
    assert stats.ks_2samp(ours[:, 0, 0].numpy(), ours[:, 1, 0].numpy()).pvalue < 1e-3


@pytest.mark.parametrize("build", [*(make for make, _ in KINDS.values()), mixture])
def test_contexts_of_any_shape_that_broadcasts(build):
    base = shaken(build())
    z, context = torch.randn(5, 4, FEATURES).double(), contexts(4)
    many = base.log_prob(z, context)
    assert many.shape == (5, 4)
    alone = torch.stack([base.log_prob(z[:, i], context[i]) for i in range(4)], 1)
    assert_close(many, alone, atol=1e-12, rtol=0)
    for n, batch in (((), (4,)), (3, (4,)), ((2, 3), (5, 4)), (0, (4,)), (2, ()), (2, (0,))):
        shape = (n,) if isinstance(n, int) else n
        draws = base.rsample(n, contexts(*batch))
        assert draws.shape == (*shape, *batch, FEATURES)
        assert base.log_prob(draws, contexts(*batch)).shape == (*shape, *batch)


@every_kind
def test_before_training_a_context_changes_nothing(kind):
    base = KINDS[kind][0]().double()
    z, context = torch.randn(10, FEATURES).double(), contexts(10)
    assert torch.equal(base.log_prob(z, context), base.log_prob(z, contexts(10, seed=9)))
    assert_close(
        base.log_prob(z, context), same(kind, base, context).log_prob(z), atol=1e-6, rtol=0
    )


@every_kind
@pytest.mark.parametrize("learn", [True, False])
def test_the_network_learns_and_the_rest_as_asked(kind, learn):
    base = KINDS[kind][0](learn=learn)
    own = {name for name, _ in base.named_parameters() if "network" not in name}
    shapes = {
        "student-t": {"log_scale", "raw_df"},
        "multivariate-normal": {"log_diagonal", "below"},
    }
    assert own == ({"loc"} | shapes.get(kind, {"log_scale"}) if learn else set())
    for value in (
        base.log_prob(torch.randn(9, FEATURES), torch.ones(WIDTH)),
        base.rsample(9, torch.ones(WIDTH)),
    ):
        gradients = torch.autograd.grad(value.square().sum(), base.network.last.parameters())
        assert all(bool(g.any()) and bool(g.isfinite().all()) for g in gradients)


@every_kind
def test_a_far_context_does_not_overflow(kind):
    base = shaken(KINDS[kind][0]()).float()
    far = torch.full((4, WIDTH), 1e6).requires_grad_()
    value = base.log_prob(torch.randn(4, FEATURES), far)
    assert bool(value.isfinite().all())
    assert bool(torch.autograd.grad(value.sum(), far)[0].isfinite().all())


@pytest.mark.parametrize("build", [*(make for make, _ in KINDS.values()), mixture])
def test_a_missing_or_wrong_context_is_refused(build):
    base = build()
    name = type(base).__name__
    z = torch.zeros(5, FEATURES)
    with pytest.raises(ContextError, match=rf"{name}.log_prob: needs a context of shape"):
        base.log_prob(z)
    with pytest.raises(ContextError, match=rf"{name}.rsample: needs a context of shape"):
        base.rsample(3)
    with pytest.raises(ShapeError, match=rf"{name}.log_prob: context has shape \(5, 2\)"):
        base.log_prob(z, torch.zeros(5, 2))
    with pytest.raises(ShapeError, match="must broadcast to the batch of z"):
        base.log_prob(z, torch.zeros(4, WIDTH))


def test_a_negative_width_is_refused():
    with pytest.raises(
        ArgumentError, match="Laplace: context is -1, expected a whole number from 0 up"
    ):
        bases.Laplace(2, context=-1)


@every_kind
@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated"
)  # forward mode compiles with it
def test_compiled_and_mapped_over_batches_it_is_the_same(kind):
    base, context = shaken(KINDS[kind][0]()), contexts(6)
    z = torch.randn(6, FEATURES).double()
    want = base.log_prob(z, context)
    compiled = torch.compile(base.log_prob, fullgraph=True, backend="aot_eager")
    assert_close(compiled(z, context), want)
    assert_close(torch.vmap(base.log_prob)(z, context), want)
    hessian = torch.func.hessian(base.log_prob)(z[0], context[0])
    by_hand = torch.autograd.functional.hessian(lambda row: base.log_prob(row, context[0]), z[0])
    assert_close(hessian, by_hand)


@every_kind
def test_a_flow_reads_its_context_and_is_saved(kind, tmp_path):
    base = shaken(KINDS[kind][0]()).float()
    for context, step in ((0, 0), (WIDTH, WIDTH)):
        transform = T.Elementwise(FEATURES, map=maps.Affine(), context=step, hidden=HIDDEN)
        flow = pf.Flow(transform, base).eval()
        assert flow.context == WIDTH, context
        c = contexts(4).float()
        x, log_p = flow.sample_and_log_prob(7, c)
        assert x.shape == (7, 4, FEATURES)
        assert_close(flow.log_prob(x, c), log_p, atol=1e-4, rtol=1e-4)
        again = pf.load(pf.save(flow, tmp_path / "flow.safetensors"))
        assert torch.equal(again.log_prob(x, c), flow.log_prob(x, c))


def test_training_finds_the_density_of_each_context():
    """A normal whose mean and deviation are lines of the context, in its logarithm."""
    torch.manual_seed(0)
    context = torch.rand(4000, 1) * 2 - 1
    x = 2.0 * context + (0.5 * context).exp() * torch.randn(4000, 1)
    flow = pf.Flow(T.Standardize(1), bases.Normal(1, context=1, hidden=(16,)))
    pf.fit(flow, x, context=context, steps=300, progress=False)
    truth = D.Normal(2.0 * context, (0.5 * context).exp()).log_prob(x).mean()
    found = flow.log_prob(x, context).detach().mean()
    assert float(truth - found) < 0.02


def test_shares_of_a_mixture_follow_the_context():
    base = shaken(mixture())
    z, context = torch.randn(6, FEATURES).double(), contexts(6)
    first, second = base.components
    share = torch.softmax(base.logits + base.network(reach(context)), -1)
    parts = torch.stack((first.log_prob(z, context), second.log_prob(z)), -1)
    assert_close(base.log_prob(z, context), (share * parts.exp()).sum(-1).log())
    assert float(share.detach()[:, 0].std()) > 0.05
    draws = base.rsample(8000, context[:2], generator=torch.Generator().manual_seed(0))
    drawn = base.responsibilities(draws, context[:2]).mean(0).detach()
    assert_close(drawn, share[:2].detach(), atol=0.02, rtol=0)


def test_parts_that_read_contexts_of_other_widths_are_refused():
    with pytest.raises(ShapeError, match=r"Mixture: the parts read contexts of widths \[2, 3\]"):
        bases.Mixture(bases.Normal(1, context=2), context=3)


@pytest.mark.parametrize("features", [1, 2, 5])
def test_a_full_covariance_by_context_is_the_one_of_its_draws(features):
    base = shaken(bases.MultivariateNormal(features, context=WIDTH, hidden=HIDDEN))
    context, elsewhere = contexts(2)
    draws = base.rsample(100_000, context, generator=torch.Generator().manual_seed(0)).detach()
    known = D.MultivariateNormal(draws.mean(0), draws.T.cov().reshape(features, features))
    ours = base.log_prob(draws[:500], context).detach()
    assert_close(ours, known.log_prob(draws[:500]), atol=0.1, rtol=0)
    other = base.rsample(500, elsewhere).detach()
    assert float(base.log_prob(other, context).detach().mean()) < float(ours.mean()) - 0.1
