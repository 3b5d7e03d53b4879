"""Contractive transforms: the bound, the inverse, and estimates that are right on average."""

import math

import pytest
import torch
from torch.testing import assert_close

from pushforward import Flow, bases
from pushforward import transforms as T
from pushforward.errors import ArgumentError, InverseError
from pushforward.networks.lipschitz_mlp import Linearization
from pushforward.numerics.log_det import roulette_series
from pushforward.transforms.base import drawing_from


def rows(n, features):
    return torch.randn(n, features, dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def trained(features, logdet="auto", seed=0, **options):
    """Weights so large that every matrix is at its bound, as training makes them."""
    torch.manual_seed(seed)
    t = T.Contractive(features, hidden=(16, 16), logdet=logdet, **options).double()
    with torch.no_grad():
        for p in t.network.layers.parameters():
            p.copy_(torch.randn_like(p) * 2.0)
    return t


def steepest(sign, **options):
    """One feature and one hidden unit: the steepest slope there is, up or down."""
    t = T.Contractive(1, hidden=(1,), **options).double()
    with torch.no_grad():
        for layer, way in zip(t.network.layers, (1.0, sign), strict=True):
            layer.weight.fill_(way * 5.0)
            layer.bias.zero_()
    return t


def jacobians(t, x):
    return torch.func.vmap(torch.func.jacrev(lambda v: t(v)[0]))(x)


@pytest.mark.parametrize("features", [1, 2, 3, 10])
def test_a_contraction_adds_its_network(features):
    t, x = trained(features), rows(30, features)
    z, logdet = t(x)
    assert_close(z, x + t.network(x), atol=0, rtol=0)
    plain = [torch.linalg.slogdet(j).logabsdet for j in jacobians(t, x)]
    assert_close(logdet, torch.stack(plain), atol=1e-12, rtol=0)


def test_contractions_of_slopes_near_their_bound_come_back():
    """One feature and few roundings to lose: a line of slope 1 - 0.97, the steepest there is."""
    t = steepest(-1.0)
    x = torch.linspace(-1e3, 1e3, 2001, dtype=torch.float64)[:, None]
    z, logdet = t(x)
    assert float(logdet.detach().min()) < math.log(1.0 - 0.97 / 1.1)
    assert_close(t.inverse(z)[0], x, atol=1e-11, rtol=1e-13)


def test_an_unbiased_contraction_inverts_as_exactly_as_an_exact_one():
    exact, other = trained(3), trained(3, "unbiased")
    x = rows(200, 3)
    z, _ = exact(x)
    assert_close(other.inverse(z)[0], x, atol=1e-11, rtol=0)
    assert_close(exact.inverse(z)[0], x, atol=1e-12, rtol=0)


def test_the_gradient_of_an_unbiased_inverse_is_that_of_the_exact_one():
    gradients = []
    for logdet in ("exact", "unbiased"):
        t, z = trained(3, logdet), rows(20, 3).requires_grad_()
        x, _ = t.inverse(z)
        gradients.append(torch.autograd.grad(x.square().sum(), [z, *t.parameters()]))
    assert_close(gradients[0], gradients[1], atol=1e-8, rtol=1e-8)


def test_what_has_no_inverse_is_not_clipped_but_refused():
    t = T.Contractive(2)
    t._network = lambda x, c: (1.0 - x, Linearization((torch.zeros(2, 2),), ()))
    with pytest.raises(InverseError, match=r"Contractive\.inverse: .* did not converge for 3 of 3"):
        t.inverse(torch.zeros(3, 2))


def test_an_estimate_says_so():
    assert T.Contractive(32).exactness == "exact"
    assert T.Contractive(33).exactness == "estimate"
    assert T.Contractive(2, logdet="unbiased").exactness == "estimate"
    assert T.Contractive(99, logdet="exact").exactness == "exact"
    assert T.Contractive(3, exact_up_to=2).exactness == "estimate"


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_the_same_generator_gives_the_same_estimate(direction):
    t, x = trained(10, "unbiased"), rows(20, 10)
    before = torch.get_rng_state()
    draws = []
    for seed in (1, 1, 2):
        with drawing_from(seeded(seed)):
            draws.append(getattr(t, direction)(x)[1])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_the_estimate_is_unbiased_over_many_seeds():
    """The mean over 2 000 seeds lies within four standard errors of the truth, at D = 10."""
    x = rows(1, 10)
    t, exact = trained(10, "unbiased"), trained(10)(x)[1]
    draws = []
    with torch.no_grad():
        for seed in range(2000):
            with drawing_from(seeded(seed)):
                draws.append(t(x)[1])
    within_four_errors(torch.stack(draws), exact)


@pytest.mark.parametrize("terms", [1, 3])
def test_the_estimate_is_unbiased_over_many_rows(terms):
    """Rows are draws of their own, and settings do not move the mean."""
    x = rows(3, 10)
    t = trained(10, "unbiased", terms=terms)
    with torch.no_grad(), drawing_from(seeded()):
        within_four_errors(t(x.expand(20_000, 3, 10))[1], trained(10)(x)[1])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("terms", [1, 4])
def test_the_estimate_is_unbiased_where_slopes_are_near_their_bound(sign, terms):
    """There the terms that only chance brings make a good part of the sum."""
    x = torch.zeros(1, 1, dtype=torch.float64)
    t = steepest(sign, logdet="unbiased", terms=terms)
    with torch.no_grad(), drawing_from(seeded()):
        exact = steepest(sign)(x)[1]
        draws = t(x.expand(100_000, 1))[1]
    within_four_errors(draws, exact)
    size = float(torch.expm1(exact))
    certain = sum((-1) ** (k + 1) * size**k / k for k in range(1, terms + 2))
    error = float(draws.std()) / math.sqrt(len(draws))
    assert abs(certain - float(exact)) > 10.0 * error  # else the above could not tell


@pytest.mark.parametrize("size", [0.0, 0.3, 0.97, -0.97])
@pytest.mark.parametrize("certain", [1, 4])
def test_a_series_is_right_on_average_as_close_to_the_bound_as_may_be(size, certain):
    """J = size I: log det(I + J) = D log(1 + size), (I + J)^-T probe = probe / (1 + size)."""
    probe = torch.ones(40_000, 3).double()
    value, solved = roulette_series(lambda v, some: size * v, probe, certain, seeded())
    for got, want in ((value, 3 * math.log1p(size)), (solved[:, 0], 1 / (1 + size))):
        error = float(got.std()) / math.sqrt(len(got))
        assert abs(float(got.mean()) - want) <= 4.0 * error + 1e-14
        assert error < 0.02 * (1.0 + abs(want))  # else the line above could not fail


def within_four_errors(draws, truth):
    error = draws.std(0) / math.sqrt(len(draws))
    assert bool(((draws.mean(0) - truth).abs() < 4.0 * error).all())
    assert bool((error < 0.1 * truth.abs()).all())  # else the line above could not fail


def test_the_gradient_of_the_estimate_is_unbiased():
    """Of weights and of x; row by row, so that one call makes many draws."""
    t, x = trained(4, "unbiased"), rows(1, 4)
    exact = trained(4)
    leaf = x.clone().requires_grad_()
    want = torch.autograd.grad(exact(leaf)[1].sum(), [leaf, *weights_of(exact)])
    draws = []
    for seed in range(40):
        many = x.expand(2000, 4).clone().requires_grad_()
        with drawing_from(seeded(seed)):
            logdet = t(many)[1]
        parts = torch.autograd.grad(logdet.mean(), [many, *weights_of(t)])
        draws.append([parts[0].sum(0, keepdim=True), *parts[1:]])
    for i, expected in enumerate(want):
        each = torch.stack([draw[i] for draw in draws])
        error = each.std(0) / math.sqrt(len(draws))
        assert bool(((each.mean(0) - expected).abs() <= 5.5 * error + 1e-12).all())
        size = float(expected.abs().max())
        assert float(error.max()) < 0.1 * size + 1e-12  # else the line above could not fail


def weights_of(t):
    """All that the Jacobian depends on: every parameter but the shift at the end."""
    return [p for p in t.parameters() if p is not t.network.layers[-1].bias]


def test_a_flow_tells_the_error_of_its_estimate():
    flow = Flow(trained(10, "unbiased"), bases.Normal(10)).double()
    exact = Flow(trained(10), bases.Normal(10)).double()
    x = rows(4, 10)
    with torch.no_grad():
        answers = [flow.estimate(x, samples=100, generator=seeded(i)) for i in range(60)]
        truth = exact.log_prob(x)
    z = torch.stack([(a.log_prob - truth) / a.standard_error for a in answers])
    assert answers[0].exactness == "estimate"
    assert_close(z.std(0), torch.ones(4).double(), atol=0.35, rtol=0)
    assert float(z.mean(0).abs().max()) < 4.0 / math.sqrt(60)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,)], ids=str)
def test_estimates_have_the_shape_of_the_batch(batch, dtype):
    t = trained(3, "unbiased", context=2).to(dtype)
    x, c = torch.randn(*batch, 3, dtype=dtype), torch.randn(2, dtype=dtype)
    for direction in ("forward", "inverse"):
        z, logdet = getattr(t, direction)(x, c)
        assert (z.shape, logdet.shape) == (x.shape, batch)
        assert logdet.dtype == dtype


REFUSED = {
    "logdet is 'trace', expected one of auto, exact": lambda: T.Contractive(2, logdet="trace"),
    "terms is 0, expected at least 1": lambda: T.Contractive(2, terms=0),
    r"coefficient is 1.0, expected a number in \(0": lambda: T.Contractive(2, coefficient=1.0),
    r"hidden is \(\), expected at least one width": lambda: T.Contractive(2, hidden=()),
}


@pytest.mark.parametrize("says", REFUSED)
def test_what_cannot_be_is_refused(says):
    with pytest.raises(ArgumentError, match=says):
        REFUSED[says]()
