"""What a user meets at the door of a flow: what it takes, what it refuses, and in which words."""

import functools

import narwhals
import numpy as np
import pandas
import polars
import pyarrow
import pytest
import torch
from tests.flows.cases import CASES, SMALL, contexts, made, rows, small
from torch.testing import assert_close

import pushforward as pf
from pushforward import Flow, bases, flows, maps
from pushforward import transforms as T
from pushforward.errors import (
    ArgumentError,
    ContextError,
    DataError,
    InputTypeError,
    ShapeError,
)
from pushforward.networks import MLP

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def affine(features=2, context=0):
    return made(next(case for case in CASES if case.name == "realnvp"), features, context)


TABLE = {"a": [0.5, 1.5, -2.0], "b": [1, 2, 3]}
SAME = [
    [[0.5, 1], [1.5, 2], [-2.0, 3]],
    np.array([[0.5, 1], [1.5, 2], [-2.0, 3]]),
    np.array([[0.5, 1], [1.5, 2], [-2.0, 3]], dtype=np.float32),
    polars.DataFrame(TABLE),
    pandas.DataFrame(TABLE),
    pyarrow.table(TABLE),
    narwhals.from_native(polars.DataFrame(TABLE)),
]


@pytest.mark.parametrize("given", SAME, ids=lambda value: type(value).__module__.split(".")[0])
def test_arrays_lists_and_frames_of_numbers_are_taken(given):
    flow = affine()
    want = flow.log_prob(torch.tensor(SAME[0]))
    assert_close(flow.log_prob(given), want, atol=0, rtol=0)
    assert_close(flow.decode(flow.encode(given)), torch.tensor(SAME[0]).double(), atol=1e-9, rtol=0)
    conditional = affine(2, 2)
    got = conditional.log_prob(given, given)
    assert_close(got, conditional.log_prob(SAME[0], SAME[0]), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("rows.csv", "x is a str that holds no table of numbers"),
        (None, "x is a NoneType that holds no table of numbers"),
        ([[1.0], [1.0, 2.0]], "x is a list that holds no table of numbers"),
        (torch.zeros(1, 2, dtype=torch.complex64), "x is complex, expected real numbers"),
        (polars.DataFrame({"a": [1.0], "b": ["x"]}), "column 'b' of x is String, expected numbers"),
    ],
    ids=["path", "none", "ragged", "complex", "words"],
)
def test_what_holds_no_numbers_is_refused(given, says):
    with pytest.raises(InputTypeError, match=says):
        affine().log_prob(given)


def test_wrong_widths_are_named():
    with pytest.raises(ShapeError, match=r"x has shape \(4, 3\), expected \(\*batch, 2\)\."):
        affine().log_prob(torch.zeros(4, 3))
    with pytest.raises(ShapeError, match=r"z has shape \(4, 3\), expected \(\*batch, 2\)\."):
        affine().decode(torch.zeros(4, 3))


CALLS = {
    "log_prob": lambda flow, c: flow.log_prob(torch.zeros(4, 2), c),
    "estimate": lambda flow, c: flow.estimate(torch.zeros(4, 2), c),
    "encode": lambda flow, c: flow.encode(torch.zeros(4, 2), c),
    "decode": lambda flow, c: flow.decode(torch.zeros(4, 2), c),
    "states": lambda flow, c: flow.states(torch.zeros(4, 2), c),
    "rsample": lambda flow, c: flow.sample(4, c),
    "rsample_and_log_prob": lambda flow, c: flow.sample_and_log_prob(4, c),
}


@pytest.mark.parametrize("method", CALLS)
def test_a_superfluous_context_is_refused(method):
    says = rf"Flow\.{method}: got a context, but this flow reads none; build it with context=3\."
    with pytest.raises(ContextError, match=says):
        CALLS[method](affine(), torch.zeros(4, 3))


@pytest.mark.parametrize("method", CALLS)
def test_a_missing_context_is_named(method):
    says = rf"Flow\.{method}: needs a context of shape \(\*batch, 2\), got None\."
    with pytest.raises(ContextError, match=says):
        CALLS[method](affine(2, 2), None)


def test_a_context_of_the_wrong_width_is_named():
    flow = Flow(T.Coupling(2, map=maps.Affine(), context=2), bases.Normal(2))
    says = r"Flow\.log_prob: context has shape \(4, 3\), expected \(\*batch, 2\)\."
    with pytest.raises(ShapeError, match=says):
        flow.log_prob(torch.zeros(4, 2), torch.zeros(4, 3))


def test_a_context_for_all_rows_is_given_once():
    flow, x = affine(2, 2), rows(6, 2)
    c = contexts(1, 2)[0]
    assert_close(flow.log_prob(x, c), flow.log_prob(x, c.expand(6, 2)), atol=1e-12, rtol=0)


def test_the_embedding_is_applied_once_and_trained():
    class Counting(MLP):
        calls = 0

        def forward(self, x):
            type(self).calls += 1
            return super().forward(x)

    step = functools.partial(T.Coupling, 2, map=maps.Affine(), hidden=(16,), context=3)
    flow = Flow(T.Compose(step(), step(keep=[False, True])), bases.Normal(2), Counting(5, 3, (8,)))
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    log_p = flow.log_prob(torch.randn(4, 2), torch.randn(4, 5))
    assert Counting.calls == 1
    log_p.sum().backward()
    assert all(bool(p.grad.any()) for p in flow.embed.parameters())
    assert flow.sample(2, torch.randn(4, 5)).shape == (2, 4, 2)


def test_a_table_without_rows_fits_nothing():
    for flow in (pf.flows.nsf(2), pf.flows.mixture_nsf(2), Flow(T.LU(2), bases.Normal(2))):
        with pytest.raises(DataError) as caught:
            flow.fit(torch.zeros(0, 2))
        assert str(caught.value) == "Flow.fit: x has no rows, expected at least 1."


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"gives z of shape \(2,\), the base is a density of sh"):
        Flow(T.LU(2), bases.Normal(3))
    with pytest.raises(InputTypeError, match="transform is a Normal, expected a Transform"):
        Flow(bases.Normal(3), T.LU(3))
    base = Flow(T.Coupling(2, map=maps.Affine(), context=3), bases.Normal(2))
    with pytest.raises(ShapeError, match=r"contexts of widths \[2, 3\]"):
        Flow(T.Coupling(2, map=maps.Affine(), context=2), base)


@pytest.mark.parametrize("n", [-1, (3, -2), 2.5, True, "3", None])
def test_a_number_of_draws_that_cannot_be_is_refused(n):
    for flow, context in ((flows.realnvp(2), None), (flows.realnvp(2, 1), [[0.0]])):
        with pytest.raises(ArgumentError, match="expected a number of draws"):
            flow.sample(n, context)


def test_a_number_of_draws_may_be_of_any_whole_kind():
    assert flows.realnvp(2).sample(np.int64(3)).shape == (3, 2)


def test_a_base_may_read_the_context():
    inner = Flow(T.Coupling(2, map=maps.Affine(), hidden=(16,), context=2), bases.Normal(2))
    torch.nn.init.normal_(inner.transform.network.last.weight)
    flow = Flow(T.LU(2), inner).double()
    x, log_p = flow.sample_and_log_prob(5, torch.randn(3, 2))
    assert x.shape == (5, 3, 2)
    assert flow.context == 2
    c = torch.randn(3, 2)
    x, log_p = flow.sample_and_log_prob(5, c)
    assert_close(flow.log_prob(x, c), log_p, atol=1e-9, rtol=0)
    assert not torch.equal(flow.log_prob(x, c), flow.log_prob(x, c + 1.0))


@every_case
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("features", [1, 2, 5])
def test_the_first_loss_is_that_of_a_diagonal_gaussian(case, features, context):
    if case.start is None:
        pytest.skip("it does not begin as a normal density")
    flow = case.build(features, context)
    if case.name == "by-hand":
        flow = Flow(T.Compose(T.Standardize(features), flow.transform), flow.base)
    x, c = rows(500, features), contexts(500, context)
    flow.fit(x, c)
    loss = -flow.log_prob(x, c).mean()
    gaussian = torch.distributions.Normal(x.mean(0), x.std(0, unbiased=False))
    want = -gaussian.log_prob(x).sum(-1).mean()
    assert float(loss.detach()) == pytest.approx(float(want), abs=features * case.start)


@pytest.mark.parametrize("name", sorted(pf.flows.RECIPES))
def test_recipes_are_seeded_without_touching_the_global_state(name):
    recipe = pf.flows.find(name).build
    before = torch.get_rng_state()
    first, again, other = (recipe(4, **small(name) | {"seed": seed}) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    state = first.state_dict()
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in state.items())
    assert not all(torch.equal(value, other.state_dict()[key]) for key, value in state.items())


@pytest.mark.parametrize("name", sorted(pf.flows.RECIPES))
def test_recipes_say_what_they_are_and_what_they_refuse(name):
    found = pf.flows.find(name)
    assert found.paper.count(".") == 1
    assert found.choose
    assert found.build(2, **small(name)).facts["recipe"]["name"] == name
    with pytest.raises(ArgumentError, match=rf"pf\.flows\.{name}: features is 0, expected a whole"):
        found.build(0)
    with pytest.raises(ArgumentError, match=r"layers is 0, expected at least 1"):
        found.build(2, layers=0)
    with pytest.raises(ArgumentError, match=r"start is 'nothing', expected a transform or one of"):
        found.build(2, start="nothing")


def test_a_misspelled_recipe_is_answered_with_the_nearest():
    with pytest.raises(
        ArgumentError, match=r"There is no recipe 'realnpv'\. Did you mean 'realnvp'\?"
    ):
        pf.flows.find("realnpv")


@pytest.mark.parametrize("name", sorted(pf.flows.RECIPES))
def test_every_feature_is_moved(name):
    """The Jacobian of an untrained stack is the identity; of a drawn one, every feature changes."""
    flow = pf.flows.find(name).build(5, **small(name))
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(20, 5)
    assert bool(((flow.encode(x) - x).abs() > 1e-3).any(0).all())


@pytest.mark.parametrize("start", ["standardize", "actnorm", "none"])
def test_start_is_the_first_transform_at_the_data_end(start):
    flow = pf.flows.realnvp(2, start=start, **SMALL)
    first = type(flow.transform.transforms[0]).__name__
    assert first == {"standardize": "Standardize", "actnorm": "ActNorm", "none": "Coupling"}[start]
    own = pf.flows.realnvp(2, start=T.Diagonal(2), **SMALL)
    assert isinstance(own.transform.transforms[0], T.Diagonal)


def test_a_flow_that_is_a_base_reads_off_the_data_as_well():
    inner = pf.flows.realnvp(2, layers=2, hidden=(8,), seed=0)
    outer = pf.Flow(pf.transforms.Diagonal(2), inner).fit(50.0 * torch.randn(500, 2))
    assert float(outer.base.transform.transforms[0].scale.min()) > 40.0


@pytest.mark.parametrize("rows", [1000, 140_000])
def test_a_context_for_all_rows_is_given_once_to_fit_and_settle(rows):
    torch.manual_seed(0)
    spline = T.Coupling(2, map=maps.RationalQuadratic(bins=2), context=3, hidden=(4,))
    flow = Flow(T.Compose(T.Standardize(2), spline, T.BatchNorm(2)), bases.Normal(2))
    x, once = torch.randn(rows, 2), torch.ones(1, 3)
    flow.fit(x, once).settle(x, once)
    seen = flow.state_dict()
    flow.fit(x, once.expand(rows, 3)).settle(x, once.expand(rows, 3))
    for name, value in flow.state_dict().items():
        assert torch.equal(seen[name], value)


@pytest.mark.parametrize(
    ("made", "dtype"),
    [
        (lambda: affine().double(), torch.float64),
        (lambda: Flow(T.Standardize(2), bases.Normal(2)).double(), torch.float64),  # buffers alone
        (lambda: Flow(T.Reverse(2), bases.Uniform(2, -3.0, 3.0)), torch.float32),
    ],
)
def test_numbers_become_those_of_the_weights(made, dtype):
    flow = made()
    assert flow.dtype is dtype
    assert flow.log_prob([[0.5, 1]]).dtype is dtype
