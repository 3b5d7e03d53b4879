"""Continuous flows against closed solutions, other solvers, and integrals done by hand."""

import math
from functools import partial

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import torch
from tests.transforms.cases import scatter
from torch import nn
from torch.testing import assert_close

import pushforward as pf
from pushforward import Flow, bases
from pushforward import transforms as T
from pushforward.errors import ArgumentError, InverseError
from pushforward.networks import MLP, TimeMLP
from pushforward.numerics.solvers.runge_kutta import TABLEAUS, integrate_in_steps
from pushforward.objectives import Batch, MaximumLikelihood, RegularizedLikelihood
from pushforward.transforms.base import drawing_from
from pushforward.transforms.continuous import measuring

MATRIX = torch.tensor([[0.5, -1.0, 0.2], [0.3, -0.4, 0.0], [1.0, 0.1, 0.7]], dtype=torch.float64)


class Field(nn.Module):
    """A field by its formula, of z itself: what networks are shown is compressed."""

    def __init__(self, formula, features, calls=None):
        super().__init__()
        self.formula, self.features, self.calls = formula, features, calls

    def forward(self, seen):
        if self.calls is not None:
            self.calls.append(1)
        z = 4.0 * torch.sinh(seen[..., : self.features] / 4.0)
        return self.formula(z, seen[..., self.features : -1], seen[..., -1:])


def field(formula, features=3, **options):
    make = lambda inputs, outputs: Field(formula, features)
    return T.Continuous(features, network=make, **options).double()


def linear(**options):
    return field(lambda z, c, t: z @ MATRIX.mT, **options)


def drawn(features=2, spread=1.0, **options):
    """A field of its own network, far from zero."""
    torch.manual_seed(0)
    own = {} if "network" in options else {"hidden": (16, 16)}
    transform = T.Continuous(features, **own | options).double()
    scatter(transform, spread)
    return transform


def rows(n, features, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, features, generator=generator, dtype=torch.float64)


SOLVERS = [
    {},
    {"solver": "bosh3", "tolerance": 1e-9},
    {"gradient": "adjoint"},
    {"steps": 16},
    {"solver": "rk4", "steps": 100},
]
solvers = pytest.mark.parametrize("options", SOLVERS, ids=str)


# ---------------------------------------------------------------- closed solutions


@solvers
def test_a_linear_field_is_the_exponential_of_its_matrix(options):
    transform, x = linear(**options), rows(5, 3)
    z, logdet = transform(x)
    want = torch.from_numpy(scipy.linalg.expm(-MATRIX.numpy()))
    assert_close(z, x @ want.mT, atol=1e-7, rtol=0)
    assert_close(logdet, -MATRIX.trace().expand(5), atol=1e-9, rtol=0)
    assert_close(transform.inverse(z)[0], x, atol=1e-7, rtol=0)


@solvers
def test_data_is_at_time_one_and_latent_at_zero(options):
    """For dz/dt = z + t the solution is z(t) = C exp(t) - t - 1."""
    transform, x = field(lambda z, c, t: z + t, **options), rows(5, 3)
    z, logdet = transform(x)
    assert_close(z, (x + 2.0) / math.e - 1.0, atol=1e-7, rtol=0)
    assert_close(logdet, torch.full_like(logdet, -3.0), atol=1e-7, rtol=0)


@solvers
def test_each_row_follows_its_own_context(options):
    transform = field(lambda z, c, t: c * z, context=1, **options)
    x, c = rows(5, 3), rows(5, 1, seed=1)
    seen = 4.0 * torch.asinh(c / 4.0)
    assert_close(transform(x, c)[0], x * torch.exp(-seen), atol=1e-7, rtol=0)
    assert_close(transform(x, c)[1], -3.0 * seen[:, 0], atol=1e-7, rtol=0)


def test_the_path_is_that_of_another_solver():
    """scipy's, of the eighth order."""
    transform, x = drawn(spread=1.5), rows(1, 2)[0]

    def rate(t, z):
        seen = torch.tensor([*(4.0 * np.arcsinh(z / 4.0)), t])
        return transform.network(seen).detach().numpy()

    path = scipy.integrate.solve_ivp(rate, (1.0, 0.0), x.numpy(), "DOP853", rtol=1e-10, atol=1e-10)
    assert_close(transform(x)[0], torch.from_numpy(path.y[:, -1]), atol=1e-8, rtol=0)


@pytest.mark.parametrize("solver", TABLEAUS)
def test_the_error_falls_with_the_order_of_the_solver(solver):
    exact = math.exp(math.sin(1.0))
    errors = []
    for steps in (8, 16):
        start = torch.ones(1, dtype=torch.float64)
        rates = lambda t, y: torch.cos(t)[..., None] * y
        found = integrate_in_steps(rates, start, TABLEAUS[solver], steps)
        errors.append(abs(float(found) - exact))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(TABLEAUS[solver].order, abs=0.5)


# ---------------------------------------------------------------- tolerances


@torch.no_grad()
@pytest.mark.parametrize("solver", ["dopri5", "bosh3"])
def test_a_smaller_tolerance_costs_more_and_errs_less(solver):
    x = rows(50, 2)
    exact, errors, evaluations = drawn()(x), [], []
    for tolerance in (1e-3, 1e-5, 1e-7):
        transform = drawn(solver=solver, tolerance=tolerance)
        found = transform(x)
        error = max(float((a - b).abs().max()) for a, b in zip(found, exact, strict=True))
        assert error < 30.0 * tolerance
        errors.append(error)
        evaluations.append(transform.evaluations)
    assert errors == sorted(errors, reverse=True)
    assert evaluations == sorted(set(evaluations))


def test_a_tolerance_that_rounding_cannot_reach_is_raised():
    transform = drawn(tolerance=1e-14).float()
    x = rows(20, 2).float()
    back, _ = transform.inverse(transform(x)[0])
    assert_close(back, x, atol=1e-4, rtol=0)
    assert transform.evaluations < 200


@pytest.mark.parametrize("solver", ["dopri5", "bosh3"])
def test_a_row_does_not_feel_how_hard_the_others_are(solver):
    """With steps shared by the batch it would move by about the tolerance."""
    transform = drawn(spread=1.5, solver=solver, tolerance=1e-3)
    x = rows(40, 2)
    far = torch.cat((x[:1], 1e6 * rows(3, 2, seed=1), 5.0 * x))
    alone, among = transform(x[:1]), transform(far)
    assert_close(among[0][:1], alone[0], atol=1e-12, rtol=0)
    assert_close(among[1][:1], alone[1], atol=1e-12, rtol=0)


def test_a_field_that_runs_away_is_told_of_with_its_row():
    """dz/dt = -z^2 from 1 to 0 is infinite at t = 1 - 1/x: row 1 gets half of the way."""
    transform = field(lambda z, c, t: -z.square(), features=1, tolerance=1e-3)
    x = torch.tensor([[0.1], [2.0], [0.2]], dtype=torch.float64)
    with pytest.raises(InverseError, match=r"^Continuous: row 1 came only 0\.5 of the way before"):
        transform(x)


def test_a_solver_that_gives_up_is_told_of():
    transform = field(lambda z, c, t: -z.square(), features=1, gradient="adjoint", tolerance=1e-3)
    with pytest.raises(InverseError, match=r"^Continuous: torchdiffeq gave up \(.*\); the field"):
        transform(torch.tensor([[2.0]], dtype=torch.float64))


@solvers
def test_what_is_not_a_number_stays_in_its_row(options):
    transform = drawn(context=1, **options)
    x, c = rows(4, 2), rows(4, 1)
    clean = transform(x, c)
    x[1, 0], c[2, 0] = torch.inf, torch.nan
    z, logdet = transform(x, c)
    assert bool(z[1:3].isnan().all())
    assert bool(logdet[1:3].isnan().all())
    others = [0, 3]
    assert_close(z[others], clean[0][others], atol=1e-8, rtol=0)


# ---------------------------------------------------------------- the trace


@pytest.mark.parametrize("noise", ["rademacher", "normal"])
def test_an_estimated_trace_is_right_on_average(noise):
    exact = drawn(10, trace="exact", tolerance=1e-6)
    rough = drawn(10, trace="hutchinson", noise=noise, tolerance=1e-6)
    x = rows(1, 10)
    with drawing_from(torch.Generator().manual_seed(5)), torch.no_grad():
        end, truth = exact(x)
        z, draws = rough(x.expand(2000, 10))
    assert_close(z, end.expand(2000, 10), atol=1e-5, rtol=0)
    error = float(draws.std()) / math.sqrt(2000)
    assert error < 0.1
    assert abs(float(draws.mean() - truth)) < 4.0 * error


@pytest.mark.parametrize("network", [None, partial(MLP, hidden=(8, 8), activation="tanh")])
def test_the_direction_of_an_estimate_is_the_same_along_the_whole_path(network):
    """The estimate is then v' M v integrated, with M the Jacobian along the path."""
    options = {} if network is None else {"network": network}
    rough = drawn(3, trace="hutchinson", steps=12, solver="rk4", **options)
    x = rows(4, 3)
    with drawing_from(torch.Generator().manual_seed(5)):
        _, logdet = rough(x)
    signs = torch.randint(0, 2, (4, 3), generator=torch.Generator().manual_seed(5))
    v = (2 * signs - 1).double()

    def rates(s, state):
        def speed(z):
            return rough.network(torch.cat((4.0 * torch.asinh(z / 4.0), 1.0 - s[:, None]), -1))

        z = state[:, :3]
        f, slope = torch.autograd.functional.jvp(speed, z, v)
        return -torch.cat((f, (v * slope).sum(-1, keepdim=True)), -1)

    start = torch.cat((x, torch.zeros(4, 1).double()), -1)
    by_hand = integrate_in_steps(rates, start, TABLEAUS["rk4"], 12)
    assert_close(logdet, by_hand[:, -1], atol=1e-12, rtol=0)


def test_the_same_generator_gives_the_same_estimate():
    flow = Flow(drawn(10, tolerance=1e-4), bases.Normal(10)).double()
    x, seeded = rows(5, 10), lambda i: torch.Generator().manual_seed(i)
    first, again, other = (flow.log_prob(x, generator=seeded(i)) for i in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_estimate_says_so_and_how_sure_it_is():
    transform = drawn(10, tolerance=1e-4)
    flow, x = Flow(transform, bases.Normal(10)).double(), rows(3, 10)
    assert flow.exactness == transform.exactness == "estimate"
    exact = drawn(10, tolerance=1e-4, trace="exact")
    truth = Flow(exact, bases.Normal(10)).double().log_prob(x)
    found = flow.estimate(x, samples=400, generator=torch.Generator().manual_seed(3))
    assert bool((found.standard_error > 0.0).all())
    assert bool(((found.log_prob - truth).abs() < 4.0 * found.standard_error).all())
    assert found.samples == 400
    assert found.evaluations == transform.evaluations > 6


def test_the_trace_is_exact_where_there_are_few_features():
    assert T.Continuous(8).exactness == T.Continuous(20, trace="exact").exactness == "exact"
    assert T.Continuous(9).exactness == T.Continuous(2, trace="hutchinson").exactness == "estimate"
    flow = Flow(drawn(), bases.Normal(2)).double()
    found = flow.estimate(rows(3, 2))
    assert found.exactness == "exact"
    assert found.evaluations == flow.transform.evaluations


def test_the_density_integrates_to_one():
    flow = Flow(drawn(spread=0.6, tolerance=1e-6), bases.Normal(2)).double()
    line = torch.linspace(-9.0, 9.0, 181, dtype=torch.float64)
    with torch.no_grad():
        density = flow.log_prob(torch.cartesian_prod(line, line)).exp()
    assert float(density.sum()) * 0.1**2 == pytest.approx(1.0, abs=1e-4)


# ---------------------------------------------------------------- gradients


def test_the_adjoint_gives_the_gradients_of_the_steps():
    gradients = []
    for options in ({}, {"gradient": "adjoint"}):
        transform = drawn(context=2, spread=0.8, **options)
        x, c = rows(6, 2).requires_grad_(), rows(6, 2, seed=1).requires_grad_()
        z, logdet = transform(x, c)
        before = transform.evaluations
        loss = (z.square().sum(-1) - logdet).mean()
        gradients.append(torch.autograd.grad(loss, [x, c, *transform.parameters()]))
        assert (transform.evaluations > before) is (transform.gradient == "adjoint")
    assert_close(gradients[1], gradients[0], atol=1e-7, rtol=1e-6)
    assert all(bool(g.any()) for g in gradients[0])


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
def test_gradients_are_those_of_finite_differences(gradient):
    transform = drawn(context=1, spread=0.8, hidden=(4,), gradient=gradient, tolerance=1e-7)
    x, c = rows(2, 2).requires_grad_(), rows(2, 1, seed=1).requires_grad_()
    weight = transform.network.layers[0].linear.weight

    def loss(x, c, w):
        call = {"network.layers.0.linear.weight": w}
        return torch.func.functional_call(transform, call, (x, c))

    assert torch.autograd.gradcheck(loss, (x, c, weight), eps=1e-4, atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------- energies


def test_energies_are_the_integrals_along_the_path():
    transform, x = linear(), rows(2, 3)
    z, logdet, (kinetic, jacobian) = transform.energies(x)
    assert_close((z, logdet), transform(x), atol=0, rtol=0)
    matrix = MATRIX.numpy()
    for i in range(2):
        speed = lambda s, i=i: matrix @ scipy.linalg.expm(-matrix * s) @ x[i].numpy()
        want = scipy.integrate.quad(lambda s: (speed(s) ** 2).sum(), 0.0, 1.0)[0]  # noqa: B023
        assert float(kinetic[i]) == pytest.approx(want, abs=1e-8)
    assert_close(jacobian, MATRIX.square().sum().expand(2), atol=1e-9, rtol=0)


@pytest.mark.parametrize("options", [{}, {"gradient": "adjoint"}, {"steps": 36}], ids=str)
def test_energies_are_the_same_from_either_end(options):
    transform, x = drawn(**options), rows(5, 2)
    z, logdet, there = transform.energies(x)
    with measuring() as found:
        transform.inverse(z)
    assert_close(found[0], there, atol=1e-6, rtol=0)
    assert bool((there.kinetic >= (z - x).square().sum(-1)).all())  # no path is shorter
    assert_close((z, logdet), transform(x), atol=1e-12, rtol=0)
    assert len(found) == 1  # and what ran afterwards is not in it


def test_estimated_energies_are_right_on_average():
    rough, exact = drawn(4, trace="hutchinson", steps=6), drawn(4, trace="exact", steps=6)
    x = rows(1, 4)
    with torch.no_grad(), drawing_from(torch.Generator().manual_seed(2)):
        truth = exact.energies(x)[2]
        found = rough.energies(x.expand(2000, 4))[2]
    assert_close(found.kinetic, truth.kinetic.expand(2000), atol=1e-12, rtol=0)
    error = float(found.jacobian.std()) / math.sqrt(2000)
    assert abs(float(found.jacobian.mean() - truth.jacobian)) < 4.0 * error


@pytest.mark.parametrize("features", [2, 10])
def test_a_regularized_likelihood_adds_the_energies_of_the_same_solve(features):
    transform = drawn(features, steps=5, noise="rademacher")
    flow, x = (
        Flow(T.Compose(T.LU(features), transform), bases.Normal(features)).double(),
        rows(6, features),
    )
    weights = torch.tensor([0.0, 1.0, 2.0, 1.0, 1.0, 1.0]).double()
    objective = RegularizedLikelihood(kinetic=0.3, jacobian=0.2)
    torch.manual_seed(0)
    got = objective(flow.train(), Batch(x, None, weights))
    evaluations = transform.evaluations
    torch.manual_seed(0)
    plain = MaximumLikelihood()(flow, Batch(x, None, weights))
    torch.manual_seed(0)
    _, _, energies = transform.energies(flow.transform.transforms[0](x)[0])
    want = plain + (weights * (0.3 * energies.kinetic + 0.2 * energies.jacobian)).mean()
    assert_close(got, want, atol=1e-12, rtol=0)
    assert evaluations == transform.evaluations == 31
    torch.manual_seed(0)
    assert_close(objective(flow.eval(), Batch(x, None, weights)), plain, atol=1e-12, rtol=0)


def test_a_penalty_makes_the_paths_straighter():
    energy = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        transform = T.Continuous(2, hidden=(16,), steps=4)
        flow = Flow(transform, bases.Normal(2))
        x = 0.3 * torch.randn(200, 2)
        objective = RegularizedLikelihood(kinetic=weight, jacobian=weight)
        optimizer = torch.optim.Adam(flow.parameters(), 0.02)
        for _ in range(40):
            optimizer.zero_grad()
            objective(flow, Batch(x)).backward()
            optimizer.step()
        energy.append(float(transform.energies(x)[2].kinetic.mean().detach()))
    assert energy[1] < 0.5 * energy[0]


def test_a_penalty_on_what_has_no_path_is_refused():
    flow = Flow(T.LU(2), bases.Normal(2))
    with pytest.raises(ArgumentError, match="no Continuous transform was measured; a flow without"):
        RegularizedLikelihood()(flow, Batch(torch.zeros(3, 2)))
    with pytest.raises(ArgumentError, match=r"^RegularizedLikelihood: jacobian is -1.0, expected"):
        RegularizedLikelihood(jacobian=-1.0)
    assert (
        repr(RegularizedLikelihood(0.5, 0.1)) == "RegularizedLikelihood(kinetic=0.5, jacobian=0.1)"
    )
    assert repr(RegularizedLikelihood(smoothing=0.5)).endswith("jacobian=0.01, smoothing=0.5)")


# ---------------------------------------------------------------- construction


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"solver": "rk45"}, "solver is 'rk45', expected one of dopri5, bosh3, rk4, midpoint"),
        ({"solver": "rk4"}, "solver 'rk4' cannot choose its steps; write steps=20, or take"),
        ({"steps": 0}, "steps is 0, expected at least 1"),
        ({"steps": 2.5}, "steps is 2.5, expected a whole number, or None"),
        ({"tolerance": 0.0}, "tolerance is 0.0, expected a number between 0 and 1"),
        ({"tolerance": 1e-3, "steps": 4}, "a tolerance and a number of steps; leave one"),
        ({"gradient": "adjoint", "steps": 4}, 'gradient="adjoint" chooses its steps by'),
        ({"gradient": "both"}, "gradient is 'both', expected one of direct, adjoint"),
        ({"trace": "approximate"}, "trace is 'approximate', expected one of auto, exact, hutch"),
        ({"noise": "uniform"}, "noise is 'uniform', expected one of rademacher, normal"),
        ({"activation": "relu"}, "activation is 'relu', expected a smooth one: tanh, softplus"),
        ({"hidden": (0,)}, r"hidden is \(0,\), expected widths of at least 1"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(options, says):
    with pytest.raises(ArgumentError, match=says):
        T.Continuous(2, **options)


def test_a_continuous_flow_shows_its_states():
    for options in ({}, {"steps": 3}):
        flow, x = Flow(drawn(**options), bases.Normal(2)).double(), rows(3, 2)
        (_, first, _), (name, last, logdet) = flow.states(x)
        assert name == "Continuous"
        assert_close(first, x, atol=0, rtol=0)
        assert_close((last, logdet), flow.transform(x), atol=0, rtol=0)


def test_a_continuous_flow_is_saved_and_loaded(tmp_path):
    network = partial(TimeMLP, hidden=(8,), activation="silu")
    flow = Flow(T.Continuous(2, network=network, tolerance=1e-4), bases.Normal(2))
    scatter(flow, 0.5)
    x = rows(5, 2).float()
    before = flow.log_prob(x)
    pf.save(flow, tmp_path / "flow.safetensors")
    again = pf.load(tmp_path / "flow.safetensors")
    assert_close(again.log_prob(x), before, atol=0, rtol=0)
    assert again.transform.tolerance == 1e-4
    assert "solver=dopri5, tolerance=0.0001, trace=exact" in repr(again)


def test_containers_count_the_evaluations_of_their_parts():
    one, other = T.Continuous(2, steps=3), T.Continuous(2, steps=5)
    both = T.Compose(one, T.Columns(T.Standardize(1), T.Standardize(1)), T.Inverse(other))
    both(torch.zeros(4, 2))
    assert both.evaluations == one.evaluations + other.evaluations > one.evaluations > 0
    beside = T.Columns(one, other)
    assert T.Inverse(beside).evaluations == both.evaluations
