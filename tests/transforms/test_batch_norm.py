"""Batch normalization in training, in evaluation, and on the way from one to the other."""

import pytest
import torch
from tests.transforms.cases import scatter
from torch.testing import assert_close

import pushforward as pf
from pushforward import Flow, bases, maps
from pushforward import transforms as T
from pushforward.errors import DataError

EPS = 1e-5


def drawn(features=2, **options):
    norm = T.BatchNorm(features, **options).double()
    scatter(norm, 0.4)
    return norm


def rows(n, features=2):
    return 3.0 + 2.0 * torch.randn(n, features, dtype=torch.float64)


def by_definition(norm, x, mean, variance):
    log_scale = 3.0 * torch.tanh(norm.log_scale / 3.0)
    z = (x - mean) / (variance + EPS).sqrt() * log_scale.exp() + norm.shift
    return z, (log_scale - 0.5 * (variance + EPS).log()).sum().expand(len(x))


def moments(x):
    return x.mean(0), x.var(0, unbiased=False)


def test_in_training_it_uses_the_batch():
    norm, x = drawn(), rows(20)
    assert_close(norm(x), by_definition(norm, x, *moments(x)), atol=1e-12, rtol=0)


def test_in_evaluation_it_uses_the_rows_it_was_fitted_on():
    norm, seen, x = drawn(), rows(1000), rows(20)
    norm.fit(seen).eval()
    assert_close(norm(x), by_definition(norm, x, *moments(seen)), atol=1e-12, rtol=0)


def test_gradients_flow_through_the_statistics_of_the_batch():
    """A batch moved as a whole gives the same z: the gradient of its sum vanishes."""
    norm, x = drawn(), rows(20).requires_grad_()
    weights = torch.randn(20, 2, dtype=torch.float64)
    (moved,) = torch.autograd.grad((norm(x)[0] * weights).sum(), x)
    assert_close(moved.sum(0), torch.zeros(2).double(), atol=1e-12, rtol=0)
    (of_logdet,) = torch.autograd.grad(norm(x)[1].sum(), x)
    assert float(of_logdet.norm()) > 0.1
    fixed = norm.fit(x.detach()).eval()
    (alone,) = torch.autograd.grad((fixed(x)[0] * weights).sum(), x)
    assert float(alone.sum(0).norm()) > 0.1


def test_the_logdet_in_training_is_that_of_the_affine_map_with_its_numbers_held():
    norm, x = drawn(), rows(6)
    said = norm(x)[1]
    held = drawn().fit(x).eval()
    matrix = torch.autograd.functional.jacobian(lambda v: held(v)[0], x[0])
    want = torch.linalg.slogdet(matrix).logabsdet.expand(6)
    assert_close(said, want, atol=1e-12, rtol=0)


def test_the_map_of_the_whole_batch_has_no_determinant():
    """It forgets where the batch lay: one direction a feature goes to zero."""
    norm, x = drawn(), rows(6)
    matrix = torch.autograd.functional.jacobian(lambda v: norm(v)[0], x).reshape(12, 12)
    values = torch.linalg.svdvals(matrix)
    assert bool((values[-2:] < 1e-14).all())
    assert bool((values[:-2] > 1e-8).all())


def test_a_row_moves_its_own_z_by_less_than_the_logdet_says():
    """By a share (1 + d^2) / n, since it is part of its own mean and variance."""
    n = 6
    norm, x = drawn(), rows(n)
    mean, variance = moments(x)
    whole = torch.autograd.functional.jacobian(lambda v: norm(v)[0], x)
    own = torch.stack([whole[i, :, i, :].diagonal() for i in range(n)])
    scale = (3.0 * torch.tanh(norm.log_scale / 3.0)).exp() / (variance + EPS).sqrt()
    squared = (x - mean).square() / (variance + EPS)
    assert_close(own, scale * (1.0 - (1.0 + squared) / n), atol=1e-12, rtol=0)


def test_batches_in_training_move_the_fixed_numbers():
    norm, x = drawn(momentum=0.25), rows(50)
    norm(x)
    mean, variance = moments(x)
    assert_close(norm.mean, 0.25 * mean, atol=1e-12, rtol=0)
    assert_close(norm.variance, 0.75 + 0.25 * variance, atol=1e-12, rtol=0)
    for _ in range(100):
        norm(rows(500))
    assert_close(norm.mean, torch.full((2,), 3.0).double(), atol=0.2, rtol=0)
    assert_close(norm.variance, torch.full((2,), 4.0).double(), atol=0.4, rtol=0)
    assert not norm.mean.requires_grad


def test_a_row_that_is_not_finite_spoils_its_batch_alone():
    norm = drawn()
    norm(rows(50, 2))
    before = norm.mean.clone(), norm.variance.clone()
    spoilt = rows(50, 2)
    spoilt[3, 1] = torch.nan
    norm(spoilt)
    for now, was in zip((norm.mean, norm.variance), before, strict=True):
        assert now[0] != was[0]
        assert now[1] == was[1]


def test_in_evaluation_nothing_moves():
    norm = drawn().fit(rows(50)).eval()
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    norm(rows(50))
    norm.inverse(rows(50))
    for name, value in norm.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_inverse_uses_the_fixed_numbers_in_training_too():
    norm, z = drawn().fit(rows(50)), rows(7)
    learning = norm.train().inverse(z)
    assert_close(norm.eval().inverse(z), learning, atol=0, rtol=0)


@pytest.mark.parametrize("batch", [(), (1,), (0,), (1, 1)], ids=str)
def test_a_row_alone_has_no_variance(batch):
    norm = drawn().fit(rows(50))
    x = torch.randn(*batch, 2, dtype=torch.float64)
    before = norm.mean.clone()
    learning = norm.train()(x)
    assert torch.equal(norm.mean, before)
    assert_close(norm.eval()(x), learning, atol=0, rtol=0)


def test_all_dimensions_of_a_batch_are_rows():
    norm, x = drawn(), rows(12)
    z, logdet = norm(x.reshape(3, 4, 2))
    assert_close((z.reshape(12, 2), logdet.reshape(12)), norm(x), atol=1e-13, rtol=0)


@pytest.mark.parametrize("far", [-1e3, 1e3])
def test_however_far_driven_it_can_be_inverted(far):
    norm = T.BatchNorm(2).fit(rows(50).float()).eval()
    norm.log_scale.data.fill_(far)
    x = rows(20).float()
    z, logdet = norm(x)
    assert bool(logdet.isfinite().all())
    assert_close(norm.inverse(z)[0], x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_statistics_in_float32_keep_their_digits(shift):
    x = torch.randn(5000, 2) * 1e-1 + shift
    z = T.BatchNorm(2)(x)[0]
    assert_close(z.std(0, unbiased=False), torch.ones(2), atol=2e-2, rtol=0)


def test_a_constant_column_is_finite():
    x = torch.ones(10, 2)
    for norm in (T.BatchNorm(2), T.BatchNorm(2).fit(x).eval()):
        leaf = x.clone().requires_grad_()
        z, logdet = norm(leaf)
        (z.sum() + logdet.sum()).backward()
        assert bool(z.isfinite().all())
        assert bool(logdet.isfinite().all())
        assert bool(leaf.grad.isfinite().all())


@pytest.mark.parametrize("method", ["fit", "settle"])
def test_rows_that_tell_nothing_are_refused(method):
    norm = T.BatchNorm(2)
    with pytest.raises(DataError) as caught:
        getattr(norm, method)(torch.ones(1, 2))
    assert str(caught.value) == f"BatchNorm.{method}: x has 1 rows, expected at least 2."
    x = torch.ones(5, 2)
    x[3, 1] = torch.nan
    with pytest.raises(DataError, match=f"BatchNorm.{method}: column 1 of x holds values that are"):
        getattr(norm, method)(x)


def test_in_training_it_compiles_whole():
    plain, twin, x = drawn(), drawn(), rows(20)
    torch.compiler.reset()
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), plain(x), atol=1e-12, rtol=0)
    assert_close(twin.mean, plain.mean, atol=1e-12, rtol=0)


# ---------------------------------------------------------------- settling


def stack():
    steps = T.LU(2), T.BatchNorm(2), T.Coupling(2, map=maps.Affine(), hidden=(8,)), T.BatchNorm(2)
    both = T.Compose(*steps, T.LU(2)).double()
    scatter(both, 0.4)
    return both


def test_settled_steps_hold_the_moments_of_what_they_see_in_evaluation():
    both, x = stack(), rows(500)
    both(rows(100))  # a batch in training, which leaves its traces
    assert both.settle(x) is both
    both.eval()
    first, second = both.transforms[1], both.transforms[3]
    with torch.no_grad():
        seen = both.transforms[0](x)[0]
        assert_close(first.mean, seen.mean(0), atol=1e-12, rtol=0)
        assert_close(first.variance, seen.var(0, unbiased=False), atol=1e-12, rtol=0)
        seen = both.transforms[2](first(seen)[0])[0]
        assert_close(second.mean, seen.mean(0), atol=1e-12, rtol=0)
        assert_close(second.variance, seen.var(0, unbiased=False), atol=1e-12, rtol=0)


@pytest.mark.parametrize("method", ["fit", "settle"])
def test_rows_are_pushed_in_evaluation_and_modes_stay(method):
    both, x = stack(), rows(70_000)  # two pieces: in training each would use its own moments
    x[:35_000] += 5.0
    both.transforms[2].eval()
    getattr(both, method)(x)
    assert both.training
    assert both.transforms[1].training
    assert not both.transforms[2].training
    seen = both.transforms[0](x)[0].detach()
    assert_close(both.transforms[1].mean, seen.mean(0), atol=1e-12, rtol=0)


def test_all_rows_settle_and_every_piece_of_them():
    norm = T.Compose(T.Reverse(1), T.BatchNorm(1)).double()
    x = torch.arange(200_000, dtype=torch.float64)[:, None]
    norm.settle(x)
    assert_close(norm.transforms[1].mean, torch.tensor([99_999.5]).double(), atol=1e-6, rtol=0)


class Counting(T.Reverse):
    """Counts how often rows are pushed through it."""

    def __init__(self, features):
        super().__init__(features)
        self.calls = 0

    def _forward(self, x, context):
        self.calls += 1
        return super()._forward(x, context)


def test_nothing_is_pushed_further_than_there_is_something_to_settle():
    ahead, behind = Counting(2), Counting(2)
    T.Compose(ahead, T.BatchNorm(2), behind).settle(torch.randn(10, 2))
    assert (ahead.calls, behind.calls) == (1, 0)
    idle = Counting(2)
    T.Compose(idle, T.Compose(T.LU(2), T.Inverse(T.LU(2)))).settle(torch.randn(10, 2))
    assert idle.calls == 0


def test_a_compose_within_settles_too():
    inner = T.BatchNorm(2).double()
    x = rows(50)
    T.Compose(T.Reverse(2), T.Compose(T.Reverse(2), inner)).settle(x)
    assert_close(inner.mean, x.mean(0), atol=1e-12, rtol=0)


def test_the_context_goes_along():
    layer = T.LU(2, context=1, hidden=(8,))
    norm = T.BatchNorm(2)
    both = T.Compose(layer, norm).double()
    scatter(both, 0.4)
    x, c = rows(50), torch.randn(50, 1, dtype=torch.float64)
    both.settle(x, c)
    assert_close(norm.mean, layer(x, c)[0].detach().mean(0), atol=1e-12, rtol=0)


def test_turned_round_there_is_nothing_to_settle():
    """In training, too, it had only the fixed numbers: other ones would make it another map."""
    inner = drawn().fit(rows(50))
    turned, x = T.Inverse(inner), rows(30)
    learning = turned.train()(x)
    turned.settle(rows(500) * 9.0).fit(rows(500) * 9.0)
    assert_close(turned.train()(x), learning, atol=0, rtol=0)
    assert_close(turned.eval()(x), learning, atol=0, rtol=0)


def test_turned_round_twice_it_settles():
    inner, x = drawn(), rows(50)
    T.Inverse(T.Inverse(inner)).settle(x)
    assert_close(inner.mean, x.mean(0), atol=1e-12, rtol=0)
    norm, lu = drawn(), T.LU(2).double()
    scatter(lu, 0.4)
    T.Inverse(T.Compose(T.Inverse(norm), lu)).settle(x)  # forward: the inverse of lu, then norm
    assert_close(norm.mean, lu.inverse(x)[0].detach().mean(0), atol=1e-12, rtol=0)


def test_a_flow_with_it_learns_and_settles():
    x = torch.randn(2000, 2) @ torch.tensor([[1.0, 0.9], [0.0, 0.3]]) + 5.0
    steps = [T.BatchNorm(2), T.LU(2), T.BatchNorm(2)]
    flow = Flow(T.Compose(*steps), bases.Normal(2))
    pf.fit(flow, x, steps=300, batch_size=200, lr=1e-2, progress=False)
    flow.transform.settle(x)
    flow.eval()
    with torch.no_grad():
        found = -flow.log_prob(x).mean()
    covariance = torch.cov(x.mT)
    best = 0.5 * torch.logdet(2.0 * torch.pi * torch.e * covariance)
    assert_close(found, best, atol=0.02, rtol=0)
