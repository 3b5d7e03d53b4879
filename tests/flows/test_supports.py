"""What does not fit is refused when it is put together, or at ``fit``, and says what to write."""

import math

import pytest
import torch
from torch import distributions as D

import pushforward as pf
from pushforward import Flow, bases, maps
from pushforward import transforms as T
from pushforward.errors import ArgumentError, DataError
from pushforward.transforms.domains import Box, Everywhere, PartOf

PI = math.pi
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
    "a box within what is reached, perhaps": lambda: Flow(
        T.Compose(T.Sigmoid(2), T.LU(2)), bases.Uniform(2, 0.1, 0.2)
    ),
    "not known": lambda: Flow(T.Sigmoid(2), D.Beta(torch.ones(2), torch.ones(2))),
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
    "shares": lambda: Flow(T.Compose(T.Simplex(3), T.LU(2)), bases.Normal(2)),
}


@pytest.mark.parametrize("name", FITTING)
def test_what_fits_is_taken(name):
    flow = FITTING[name]()
    x = flow.sample(50)
    assert bool(flow.transform.domain.contains(x).all())
    assert bool(flow.log_prob(x).isfinite().all())


CHECKED = (
    "columns, then a matrix",
    "shares",
    "directions",
    "from box to box",
    "interp, then normal",
    "uniform angles",
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


def test_where_a_flow_has_mass():
    assert isinstance(Flow(T.LU(2), bases.Normal(2)).support, Everywhere)
    support = Flow(T.Log(2), bases.Normal(2)).support
    assert isinstance(support, Box)
    assert float(support.low) == 0.0
    assert Flow(T.Log(2), bases.Uniform(2)).support is None
    assert Flow(T.Sigmoid(2), D.Beta(torch.ones(2), torch.ones(2))).support is None


def test_data_without_density_is_refused_by_row():
    flow = Flow(T.Compose(T.Logit(2), T.LU(2)), bases.Normal(2))
    x = torch.full((10, 2), 0.5)
    flow.fit(x)
    x[3, 1], x[7, 0] = 1.5, 0.0
    with pytest.raises(DataError) as caught:
        flow.fit(x)
    assert str(caught.value) == (
        "Flow.fit: 2 of 10 rows of x have no density, the first is row 3, [0.5, 1.5]; expected "
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
