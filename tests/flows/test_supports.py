"""What does not fit is refused when it is put together, or at ``fit``, and says what to write."""

import math

import numpy as np
import pytest
import torch
from torch import distributions as D

import pushforward as pf
from pushforward import Flow, bases, maps
from pushforward import transforms as T
from pushforward.errors import ArgumentError, DataError
from pushforward.transforms.domains import Angles, Box, Everywhere, PartOf

PI = math.pi
KEEP, MOVE = [True, False], [False, True]
BOX = maps.RationalQuadratic(bins=3, box=1.0, tails="none")
CIRCLE = maps.RationalQuadratic(bins=3, box=PI, tails="circular")


def _boxed(keep):
    return T.Coupling(2, map=BOX, keep=keep)


def _circular(keep):
    return T.Coupling(2, map=CIRCLE, keep=keep, periodic=True)


def _hours(keep):
    day = maps.RationalQuadratic(bins=3, box=12.0, tails="circular")
    return T.Coupling(2, map=day, keep=keep, periodic=True)


def _turned(keep):
    return T.Coupling(2, map=maps.Additive(), keep=keep, periodic=True)


def _affine(keep):
    return T.Coupling(2, map=maps.Affine(), keep=keep)


MISFITS = {
    "logit behind a scaling": (
        lambda: T.Compose(T.Standardize(2), T.Logit(2)),
        "Compose: Standardize gives every real number, the next step, Logit, takes numbers in "
        "(0, 1); put Logit before Standardize, or Sigmoid(2, 0, 1) between them.",
    ),
    "logarithm behind a scaling": (
        lambda: T.Compose(T.ActNorm(3), T.Log(3)),
        "Compose: ActNorm gives every real number, the next step, Log, takes numbers in (0, inf); "
        "put Log before ActNorm, or Exp(3) between them.",
    ),
    "an interval too wide": (
        lambda: T.Compose(T.Interval(1, 0.0, 255.0), T.Logit(1, 0.2, 0.8)),
        "Compose: Interval gives numbers in [0, 1], the next step, Logit, takes numbers in "
        "(0.2, 0.8); put Logit before Interval, or Interval between them.",
    ),
    "simplex": (
        lambda: T.Compose(T.LU(3), T.Simplex(3)),
        "Compose: LU gives every real number, the next step, Simplex, takes numbers above zero "
        "that sum to one; put Simplex before LU, or Inverse(Simplex(3)) between them.",
    ),
    "sphere": (
        lambda: T.Compose(T.LU(3), T.Sphere(3)),
        "Compose: LU gives every real number, the next step, Sphere, takes vectors of length one; "
        "put Sphere before LU.",
    ),
    "circle": (
        lambda: T.Compose(T.LU(3), T.Circle(3, 24.0)),
        "Compose: LU gives every real number, the next step, Circle, takes angles of period 24; "
        "put Circle before LU.",
    ),
    "columns": (
        lambda: T.Compose(T.LU(3), T.Columns(T.Log(2), T.Diagonal(1))),
        "Compose: LU gives every real number, the next step, Columns, takes numbers in (0, inf) "
        "(2), then every real number (1); put Columns before LU.",
    ),
    "turned": (
        lambda: T.Compose(T.LU(2), T.Inverse(T.Sigmoid(2, -1.0, torch.tensor([1.0, 2.0])))),
        "Compose: LU gives every real number, the next step, Inverse, takes numbers in (-1, 1) x "
        "(-1, 2); put Inverse before LU, or Sigmoid(2, low, high) between them.",
    ),
    "logarithm behind a permutation": (
        lambda: T.Compose(T.Standardize(2), T.Reverse(2), T.Columns(T.Log(1), T.LU(1))),
        "Compose: Standardize gives every real number, a later step, Columns, takes every real "
        "number (1), then numbers in (0, inf) (1); put Columns before Standardize.",
    ),
    "logit behind a permutation": (
        lambda: T.Compose(T.LU(2), T.Permutation(2), T.Logit(2)),
        "Compose: LU gives every real number, a later step, Logit, takes numbers in (0, 1); put "
        "Logit before LU, or Sigmoid(2, 0, 1) behind LU.",
    ),
    "a scaling inside another composition": (
        lambda: T.Compose(T.Compose(T.Sigmoid(1), T.Diagonal(1)), T.Logit(1)),
        "Compose: Compose gives only a part of every real number, the next step, Logit, takes "
        "numbers in (0, 1); put Logit before Compose.",
    ),
    "an interval for a circle": (
        lambda: T.Compose(T.Interval(1, 0.0, 24.0, 0.0, 2 * PI), T.Elementwise(1, map=CIRCLE)),
        "Compose: Interval gives numbers in [0, 6.28319], the next step, Elementwise, takes angles "
        "of period 6.28319; put Elementwise before Interval.",
    ),
    "shares as numbers": (
        lambda: T.Compose(T.Inverse(T.Simplex(3)), T.LU(3)),
        "Compose: Inverse gives numbers above zero that sum to one, the next step, LU, takes every "
        "real number; put LU before Inverse.",
    ),
    "one period, turned": (
        lambda: T.Compose(
            T.Circle(1), T.Elementwise(1, map=maps.Additive()), T.Elementwise(1, map=CIRCLE)
        ),
        "Compose: Circle gives numbers in [-3.14159, 3.14159], the next step, Elementwise, takes "
        "angles of period 6.28319, gone round any number of times; put Elementwise before Circle, "
        "or Inverse(Circle(1)) between them.",
    ),
    "couplings without tails": (
        lambda: T.Compose(T.ActNorm(2), _boxed(KEEP), _boxed(MOVE)),
        "Compose: ActNorm gives every real number, the next step, Coupling, takes numbers in "
        "[-1, 1]; put Coupling before ActNorm, or Sigmoid(2, -1, 1) between them.",
    ),
    "angles that were scaled": (
        lambda: T.Compose(_affine(KEEP), _circular(MOVE), _circular(KEEP)),
        "Compose: Coupling gives every real number, the next step, Coupling, takes angles of "
        "period 6.28319; put Coupling before Coupling.",
    ),
    "an autoregression without tails": (
        lambda: T.Compose(T.LU(2), T.Autoregressive(2, map=BOX)),
        "Compose: LU gives every real number, the next step, Autoregressive, takes numbers in "
        "[-1, 1]; put Autoregressive before LU, or Sigmoid(2, -1, 1) between them.",
    ),
    "a normal base behind a sigmoid": (
        lambda: Flow(T.Sigmoid(2), bases.Normal(2)),
        "Flow: the base, Normal, has mass on every real number, the transform reaches numbers in "
        "(0, 1), so that the density would not integrate to one; take a base within that, such as "
        "bases.Uniform, or end the transform with a step that gives every real number.",
    ),
    "a uniform base that is too wide": (
        lambda: Flow(T.Sigmoid(2), bases.Uniform(2, -1.0, 1.0)),
        "Flow: the base, Uniform, has mass on numbers in [-1, 1], the transform reaches numbers in "
        "(0, 1), so that the density would not integrate to one; take a base within that, such as "
        "bases.Uniform, or end the transform with a step that gives numbers in [-1, 1].",
    ),
    "a matrix behind a sigmoid": (
        lambda: Flow(T.Compose(T.Sigmoid(2), T.LU(2)), bases.Normal(2)),
        "Flow: the base, Normal, has mass on every real number, the transform reaches only a part "
        "of every real number, so that the density would not integrate to one; take a base within "
        "that, or end the transform with a step that gives every real number.",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_refused_in_a_sentence(name):
    build, says = MISFITS[name]
    with pytest.raises(ArgumentError) as caught:
        build()
    assert str(caught.value) == says


def _flow(transform, inner):
    return Flow(transform, Flow(inner, bases.Normal(2)))


REFUSED_BASES = {
    "PyTorch's": lambda: Flow(T.Sigmoid(2), D.Laplace(torch.zeros(2), torch.ones(2))),
    "PyTorch's, one event": lambda: Flow(
        T.Sigmoid(2), D.Independent(D.Normal(torch.zeros(2), torch.ones(2)), 1)
    ),
    "a mixture": lambda: Flow(T.Exp(2), bases.Mixture(bases.Normal(2), bases.Normal(2, 1.0))),
    "heavy": lambda: Flow(T.Tanh(2), bases.StudentT(2)),
    "a flow over the line": lambda: _flow(T.Exp(2), T.LU(2)),
    "a flow over another box": lambda: _flow(T.Sigmoid(2), T.Log(2)),
    "an angle": lambda: Flow(T.Circle(2), bases.Normal(2)),
    "couplings without tails": lambda: Flow(T.Compose(_boxed(KEEP), _boxed(MOVE)), bases.Normal(2)),
    "a coupling without tails for one half": lambda: Flow(_boxed(KEEP), bases.Normal(2)),
    "an autoregression without tails": lambda: Flow(T.Autoregressive(2, map=BOX), bases.Normal(2)),
    "a circular recipe": lambda: pf.flows.ncsf(2, base=bases.Normal(2)),
    "a part of the line that nobody knows": lambda: Flow(
        T.Compose(T.Sigmoid(2), T.LU(2)), bases.Uniform(2, 0.1, 0.2)
    ),
    "a part, in two steps": lambda: Flow(
        T.Compose(T.Compose(T.Sigmoid(2), T.Diagonal(2)), T.Diagonal(2)), bases.Uniform(2)
    ),
    "a smaller circle on a larger one": lambda: Flow(
        T.Compose(T.Circle(2, 2.0), T.Elementwise(2, map=CIRCLE)), bases.Uniform(2, -PI, PI)
    ),
    "a period that is not around zero": lambda: Flow(
        T.Elementwise(2, map=CIRCLE), bases.Uniform(2, 0.0, 2 * PI)
    ),
    "angles that were turned behind the last spline": lambda: Flow(
        T.Compose(T.Elementwise(2, map=CIRCLE), T.Elementwise(2, map=maps.Additive())),
        bases.Uniform(2, -PI, PI),
    ),
    "a mixture that goes too far": lambda: Flow(
        T.Sigmoid(2), bases.Mixture(bases.Uniform(2, 0.0, 0.5), bases.Uniform(2, 0.5, 3.0))
    ),
    "PyTorch's, positive": lambda: Flow(T.Sigmoid(2), D.HalfNormal(torch.ones(2))),
    "PyTorch's, too wide": lambda: Flow(
        T.Sigmoid(2), D.Uniform(torch.zeros(2), torch.tensor([1.0, 2.0]))
    ),
    "shares as numbers": lambda: Flow(T.LU(3), Flow(T.Simplex(3), bases.Normal(2))),
    "PyTorch's shares": lambda: Flow(T.Sigmoid(3), D.Dirichlet(torch.ones(3))),
    "resampled": lambda: Flow(T.Sigmoid(2), bases.Resampled(bases.Normal(2))),
    "a small box within a large one": lambda: Flow(
        T.Compose(
            T.Elementwise(2, map=BOX),
            T.Elementwise(2, map=maps.Linear(bins=2, box=2.0, tails="none")),
        ),
        bases.Uniform(2, -2.0, 2.0),
    ),
}


@pytest.mark.parametrize("name", REFUSED_BASES)
def test_a_base_with_mass_that_nothing_reaches_is_refused(name):
    with pytest.raises(ArgumentError, match="would not integrate to one"):
        REFUSED_BASES[name]()


def _corner():
    ends = torch.tensor([PI, 1.0])
    return bases.Uniform(2, -ends, ends)


FITTING = {
    "uniform behind a sigmoid": lambda: Flow(T.Sigmoid(2), bases.Uniform(2)),
    "uniform on a part": lambda: Flow(T.Sigmoid(2), bases.Uniform(2, 0.2, 0.5)),
    "uniform behind a spline without tails": lambda: Flow(
        T.Elementwise(2, map=maps.RationalQuadratic(box=1.0, tails="none")),
        bases.Uniform(2, -1.0, 1.0),
    ),
    "uniform behind everything": lambda: Flow(T.LU(2), bases.Uniform(2)),
    "not known": lambda: Flow(T.Sigmoid(2), D.Beta(torch.ones(2), torch.ones(2))),
    "PyTorch's, as wide": lambda: Flow(
        T.Exp(2), D.Independent(D.Gamma(torch.ones(2), torch.ones(2)), 1)
    ),
    "a mixture of boxes": lambda: Flow(
        T.Sigmoid(2), bases.Mixture(bases.Uniform(2, 0.0, 0.5), bases.Uniform(2, 0.5, 1.0))
    ),
    "resampled in a box": lambda: Flow(T.Sigmoid(2), bases.Resampled(bases.Uniform(2))),
    "circular splines on a circle": lambda: Flow(
        T.Compose(T.Circle(2), T.Elementwise(2, map=CIRCLE)), bases.Uniform(2, -PI, PI)
    ),
    "angles that are turned": lambda: Flow(
        T.Compose(
            T.Circle(2),
            T.Inverse(T.Circle(2)),
            T.Elementwise(2, map=maps.Additive()),
            T.Elementwise(2, map=CIRCLE),
        ),
        bases.Uniform(2, -PI, PI),
    ),
    "angles in order": lambda: Flow(
        T.Compose(T.Circle(2), T.Autoregressive(2, map=CIRCLE)), bases.Uniform(2, -PI, PI)
    ),
    "hours by couplings": lambda: Flow(
        T.Compose(_hours(KEEP), _hours(MOVE)), bases.Uniform(2, -12.0, 12.0)
    ),
    "angles that the network sees as numbers": lambda: Flow(
        T.Compose(T.Circle(2), T.Coupling(2, map=CIRCLE), T.Coupling(2, map=CIRCLE, keep=MOVE)),
        bases.Uniform(2, -PI, PI),
    ),
    "shares in another order, for a base": lambda: Flow(
        T.Permutation(3), Flow(T.Simplex(3), bases.Normal(2))
    ),
    "shares apart": lambda: Flow(
        T.Compose(T.Permutation(4, order=[2, 3, 1, 0]), T.Columns(T.Simplex(3), T.Logit(1))),
        bases.Normal(3),
    ),
    "a coupling that keeps shares": lambda: Flow(
        T.Compose(
            T.Coupling(4, map=maps.Affine(), keep=[True] * 3 + [False]),
            T.Columns(T.Simplex(3), T.LU(1)),
        ),
        bases.Normal(3),
    ),
    "angles": lambda: Flow(T.Circle(2), D.VonMises(torch.zeros(2), torch.ones(2))),
    "angles, one event": lambda: Flow(
        T.Circle(2), D.Independent(D.VonMises(torch.zeros(2), torch.ones(2)), 1)
    ),
    "uniform angles": lambda: Flow(T.Circle(2), bases.Uniform(2, -PI, PI)),
    "directions": lambda: Flow(T.Sphere(3), _corner()),
    "a flow over the same": lambda: _flow(T.Exp(2), T.Log(2)),
    "there and back": lambda: Flow(T.Compose(T.Sigmoid(2), T.Logit(2)), bases.Normal(2)),
    "from box to box": lambda: Flow(
        T.Compose(T.Interval(2, 0.0, 255.0), T.Logit(2), T.LU(2)), bases.Normal(2)
    ),
    "columns, then a matrix": lambda: Flow(
        T.Compose(T.Columns(T.Log(1), T.Logit(1)), T.LU(2)), bases.Normal(2)
    ),
    "interp, then normal": lambda: Flow(
        T.Compose(T.Interp(2), T.NormalQuantile(2)), bases.Normal(2)
    ),
    "couplings without tails": lambda: Flow(
        T.Compose(_boxed(KEEP), T.Reverse(2), _boxed(KEEP)), bases.Uniform(2, -1.0, 1.0)
    ),
    "an autoregression without tails": lambda: Flow(
        T.Inverse(T.Autoregressive(2, map=BOX)), bases.Uniform(2, -1.0, 1.0)
    ),
    "one half in a box": lambda: Flow(
        T.Compose(_boxed(KEEP), _affine(MOVE)),
        Flow(T.Columns(T.LU(1), T.Logit(1, -1.0, 1.0)), bases.Normal(2)),
    ),
    "angles by couplings": lambda: Flow(
        T.Compose(_turned(KEEP), _circular(KEEP), _circular(MOVE), T.Circle(2)),
        bases.Uniform(2, -PI, PI),
    ),
    "a permutation, then columns": lambda: Flow(
        T.Compose(
            T.Permutation(2, order=[1, 0]), T.Columns(T.Log(1), T.Logit(1)), T.Reverse(2), T.LU(2)
        ),
        bases.Normal(2),
    ),
    "a permutation of what is positive": lambda: Flow(
        T.Compose(T.Exp(2), T.Permutation(2), T.Log(2)), bases.Normal(2)
    ),
    "shares in another order": lambda: Flow(
        T.Compose(T.Permutation(3, order=[2, 0, 1]), T.Simplex(3)), bases.Normal(2)
    ),
    "shares": lambda: Flow(T.Compose(T.Simplex(3), T.LU(2)), bases.Normal(2)),
}


@pytest.mark.parametrize("name", FITTING)
def test_what_fits_is_taken(name):
    flow = FITTING[name]()
    x = flow.sample(50)
    assert bool(flow.transform.domain.contains(x).all())
    assert bool(flow.log_prob(x).isfinite().all())


@pytest.mark.parametrize("name", [name for name in FITTING if "angles" in name or "hours" in name])
def test_where_x_are_angles_the_density_goes_round(name):
    torch.manual_seed(0)
    flow = FITTING[name]()
    for parameter in flow.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    flow, domain = flow.double(), flow.transform.domain
    x = flow.sample(100)
    assert bool(flow.log_prob(x).isfinite().all())
    if isinstance(domain, Angles):
        again = flow.log_prob(x + domain.period)
        torch.testing.assert_close(again, flow.log_prob(x), atol=1e-9, rtol=1e-9)


CHECKED = (
    "columns, then a matrix",
    "shares",
    "directions",
    "from box to box",
    "interp, then normal",
    "uniform angles",
    "couplings without tails",
    "an autoregression without tails",
    "angles by couplings",
    "circular splines on a circle",
    "angles that are turned",
    "angles in order",
    "hours by couplings",
    "angles that the network sees as numbers",
    "shares apart",
    "a coupling that keeps shares",
    "a permutation, then columns",
    "shares in another order",
)


@pytest.mark.parametrize("name", CHECKED)
def test_the_public_check_holds_on_supports(name):
    flow = FITTING[name]()
    torch.manual_seed(0)
    for parameter in flow.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    report = pf.check(flow, show=False)
    assert report.passed, str(report)
    assert report.findings[2].law == "logdet is autograd's"
    assert report.findings[2].passed is True


def test_the_public_check_sees_a_wrong_logdet_on_a_curved_support(monkeypatch):
    for name in ("shares", "directions"):
        flow = FITTING[name]()
        kind = type(flow.transform._all()[0] if name == "shares" else flow.transform)
        old = kind._there
        monkeypatch.setattr(
            kind, "_there", lambda self, x, old=old: (old(self, x)[0], old(self, x)[1] + 0.1)
        )
        assert not pf.check(flow, show=False).passed


def test_a_composition_lies_where_its_ends_do():
    steps = T.Compose(T.Log(2), T.LU(2), T.NormalCDF(2))
    assert str(steps.domain) == "numbers in (0, inf)"
    assert str(steps.codomain) == "numbers in (0, 1)"
    turned = T.Inverse(steps)
    assert str(turned.domain) == "numbers in (0, 1)"
    assert str(turned.codomain) == "numbers in (0, inf)"
    narrow = T.Compose(T.Sigmoid(2), T.LU(2), T.LU(2))
    assert isinstance(narrow.codomain, PartOf)
    assert isinstance(T.Compose(narrow, T.LU(2)).codomain, PartOf)
    with pytest.raises(ArgumentError, match="takes only a part of every real number"):
        T.Compose(T.LU(2), T.Inverse(narrow))


def test_what_moves_features_by_themselves_says_where_each_lies():
    each = T.Compose(T.Permutation(3, order=[2, 0, 1]), T.Columns(T.Log(1), T.Logit(1), T.LU(1)))
    assert str(each.domain) == (
        "numbers in (0, 1) (1), then every real number (1), then numbers in (0, inf) (1)"
    )
    assert isinstance(each.codomain, Everywhere)
    turned = T.Columns(T.Reverse(2), T.LU(1))
    behind = T.Compose(turned, T.Columns(T.Log(1), T.Logit(1), T.LU(1)))
    ahead = T.Compose(T.Columns(T.Exp(1), T.Sigmoid(1), T.LU(1)), turned)
    assert (
        str(behind.domain)
        == str(ahead.codomain)
        == ("numbers in (0, 1) x (0, inf) (2), then every real number (1)")
    )
    with pytest.raises(ArgumentError, match="the next step, Simplex, takes numbers above zero"):
        T.Compose(turned, T.Simplex(3))  # shares depend on each other across groups
    half = T.Compose(_boxed(KEEP), _affine(MOVE))
    assert str(half.domain) == "every real number (1), then numbers in [-1, 1] (1)"
    assert str(half.codomain) == str(T.Inverse(half).domain) == str(half.domain)
    kept = T.Coupling(2, map=maps.Affine(), keep=KEEP, kept_map=BOX)
    assert str(kept.domain) == "numbers in [-1, 1] (1), then every real number (1)"
    assert str(T.Compose(_turned(KEEP), _circular(KEEP)).domain) == (
        "every real number (1), then angles of period 6.28319, gone round any number of times (1)"
    )
    image = T.Coupling((2, 1, 2), map=BOX)
    assert str(image.domain) == "every real number (2), then numbers in [-1, 1] (2)"
    behind = T.Compose(T.Exp(2), _affine(KEEP))
    assert isinstance(behind.codomain, PartOf)  # what is kept stays positive


def test_angles_that_a_network_sees_as_numbers_lie_within_one_period():
    numbers = T.Compose(T.Coupling(2, map=CIRCLE), T.Coupling(2, map=CIRCLE, keep=MOVE))
    assert str(numbers.domain) == (
        "numbers in [-3.14159, 3.14159] (1), then angles of period 6.28319 (1)"
    )
    ordered = T.Autoregressive(2, map=CIRCLE)
    assert str(ordered.domain) == str(ordered.codomain) == "numbers in [-3.14159, 3.14159]"
    flow = Flow(ordered, bases.Uniform(2, -PI, PI))
    assert flow.log_prob([[1.0, 1.0], [1.0 + 2 * PI, 1.0]]).isfinite().tolist() == [True, False]
    hours = T.Compose(_hours(KEEP), _hours(MOVE))
    assert str(hours.domain) == str(hours.codomain) == "angles of period 24"
    radians = T.Coupling(2, map=maps.Additive(), periodic=True, period=24.0)
    assert str(T.Compose(radians, _hours(KEEP), _hours(MOVE)).domain) == (
        "angles of period 24 (1), then angles of period 24, gone round any number of times (1)"
    )
    with pytest.raises(ArgumentError, match="Coupling: period is 0, expected a positive number"):
        T.Coupling(2, map=maps.Additive(), periodic=True, period=0)


def test_a_part_of_a_support_stays_one_behind_a_permutation():
    narrow = T.Compose(T.Sigmoid(2), T.LU(2), T.Reverse(2), T.Permutation(2))
    assert isinstance(narrow.codomain, PartOf)
    with pytest.raises(ArgumentError, match="takes only a part of every real number"):
        T.Compose(T.LU(2), T.Inverse(narrow))
    # shares are told apart by a matrix, and nothing is known of what comes of them
    with pytest.raises(ArgumentError, match="a later step, Simplex, takes numbers above zero"):
        T.Compose(T.LU(3), T.Permutation(3), T.Simplex(3))
    with pytest.raises(ArgumentError, match="the next step, Simplex, takes numbers above zero"):
        T.Compose(T.Coupling(3, map=maps.Affine()), T.Simplex(3))


@pytest.mark.parametrize("outside", [0, 1])
@pytest.mark.parametrize(
    "make",
    [
        lambda: _boxed(KEEP),
        lambda: T.Autoregressive(2, map=BOX),
        lambda: T.Coupling(2, map=BOX, keep=KEEP, kept_map=BOX),
    ],
    ids=["half", "one after the other", "both halves"],
)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_beside_a_box_without_tails_there_is_no_density_and_no_nan(make, outside, direction):
    step = make()
    x = torch.full((3, 2), 0.5).requires_grad_()
    far = x.detach().clone()
    far[0, outside], far[1, outside] = 1.5, -torch.inf
    far.requires_grad_()
    z, logdet = getattr(step, direction)(far)
    moves = bool((step.domain.outside(torch.tensor([[0.5, 1.5], [1.5, 0.5]])))[1 - outside])
    assert logdet.isinf().tolist() == ([True, True, False] if moves else [False] * 3)
    if moves:
        (logdet[2] + z.sum()).backward()
        assert bool(far.grad.isfinite().all())
        assert bool(z.isfinite().all())
    ends = torch.full((1, 2), 1.0 + 1e-7)  # an end that was rounded outwards is still an end
    assert bool(getattr(step, direction)(ends)[1].isfinite().all())


def test_where_a_flow_has_mass():
    assert isinstance(Flow(T.LU(2), bases.Normal(2)).support, Everywhere)
    support = Flow(T.Log(2), bases.Normal(2)).support
    assert isinstance(support, Box)
    assert float(support.low) == 0.0
    assert Flow(T.Log(2), bases.Uniform(2)).support is None
    beta = Flow(T.Sigmoid(2), D.Beta(torch.ones(2), torch.ones(2)))
    assert isinstance(beta.support, Everywhere)
    assert Flow(T.Circle(2), D.VonMises(torch.zeros(2), torch.ones(2))).support is None


@pytest.mark.parametrize(
    "base",
    [
        lambda: bases.Normal(2, loc=np.zeros(2), scale=[1.0, 2.0]),
        lambda: bases.StudentT(2, df=np.array([3.0, 4.0])),
        lambda: bases.MultivariateNormal(2, loc=np.zeros(2)),
        lambda: D.Normal(torch.zeros(2).double(), torch.ones(2).double()),
    ],
    ids=["Normal", "StudentT", "MultivariateNormal", "PyTorch's"],
)
def test_constants_of_arrays_do_not_make_a_flow_of_two_precisions(base):
    flow = Flow(T.Coupling(2, map=maps.Affine()), base())
    assert flow.sample(3).dtype == torch.float32
    assert flow.log_prob(torch.zeros(3, 2)).dtype == torch.float32
    assert flow.double().sample(3).dtype == torch.float64


def test_a_uniform_draw_is_never_an_end():
    base = bases.Uniform(2, 0.0, 1.0)
    with pytest.MonkeyPatch.context() as patch:
        for share in (0.0, 1.0 - 2.0**-24):
            patch.setattr(torch, "rand", lambda *a, share=share, **k: torch.full((5, 2), share))
            z = base.rsample(5)
            assert bool(((z > 0) & (z < 1)).all())
            flow = Flow(T.NormalCDF(2), base)
            x, log_p = flow.sample_and_log_prob(5)
            assert bool(log_p.isfinite().all())
            torch.testing.assert_close(flow.log_prob(x), log_p, rtol=1e-3, atol=1e-3)
    end = bases.Uniform(1, 0.1, 1.0).double().log_prob(torch.tensor([[0.1]]).double())
    assert float(end) == pytest.approx(-math.log(0.9), rel=1e-6)  # though 0.1 was rounded


def test_data_without_density_is_refused_by_row():
    flow = Flow(T.Compose(T.Logit(2), T.LU(2)), bases.Normal(2))
    x = torch.full((10, 2), 0.5)
    flow.fit(x)
    x[3, 1], x[7, 0] = 1.5, 0.0
    with pytest.raises(DataError) as caught:
        flow.fit(x)
    assert str(caught.value) == (
        "Flow.fit: x: 2 of 10 rows have no density, the first is row 3, [0.5, 1.5]; expected "
        "numbers in (0, 1). Leave them out, or begin the flow with a transform that takes them."
    )


def test_recipes_take_a_support_for_a_start():
    torch.manual_seed(0)
    x = torch.rand(400, 2) ** 2
    start = T.Compose(T.Logit(2), T.Standardize(2))
    flow = pf.flows.realnvp(2, layers=2, hidden=(16,), start=start, seed=0)
    pf.fit(flow, x, steps=20, progress=False)
    drawn = flow.sample(500)
    assert bool(((drawn > 0) & (drawn < 1)).all())
    assert bool(flow.log_prob(x).isfinite().all())
