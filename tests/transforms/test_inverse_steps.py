"""Autoregressions inverted step by step, against passes of the whole network, one a feature."""

import functools
import math

import pytest
import torch
from tests.maps.cases import BOX
from tests.maps.cases import CASES as MAPS
from tests.transforms.cases import scatter
from tests.transforms.test_autoregressive import graph
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from pushforward import kernels, maps
from pushforward import transforms as T
from pushforward.errors import InverseError, ShapeError
from pushforward.networks import masked_mlp
from pushforward.numerics.solvers.triangular import swept
from pushforward.transforms.autoregressive import autoregressive

DOUBLE = torch.float64
SPLINE = functools.partial(maps.RationalQuadratic, bins=5)


def made(features, map, *, spread=0.3, dtype=DOUBLE, **options):
    torch.manual_seed(1)
    step = T.Autoregressive(features, map=map, **options).to(dtype)
    scatter(step, spread)
    return step.eval()


def drawn(step, *batch, dtype=DOUBLE, reach=1.5):
    generator = torch.Generator().manual_seed(2)
    draw = lambda n: torch.randn(*batch, n, generator=generator, dtype=DOUBLE).to(dtype)
    return reach * draw(step.event_shape[0]), draw(step.context) if step.context else None


def by_passes(step, z, context=None):
    """The definition: after as many passes of the whole network as there are features, all hold."""
    x, log_derivative = z, z
    for _ in range(z.shape[-1] + 1):
        x, log_derivative = step.map.inverse(z, step._raw(x, context))
    return x, log_derivative.sum(-1)


@pytest.fixture
def in_steps(monkeypatch):
    """Whatever their number, rows go step by step."""
    monkeypatch.setattr(autoregressive, "_STEPS", 10**9)


@pytest.fixture
def at_once(monkeypatch):
    """Whatever their number, all features are guessed at once."""
    monkeypatch.setattr(autoregressive, "_STEPS", 2)
    monkeypatch.setattr(autoregressive, "_FEW", {"cpu": 10**9})


def structure(kind, features):
    if kind == "graph":
        return {"adjacency": graph(features, 3)}
    order = torch.randperm(features, generator=torch.Generator().manual_seed(4)).tolist()
    return {"order": order if kind == "order" else None}


# ---------------------------------------------------------------- the same x


@pytest.mark.parametrize("case", MAPS, ids=lambda case: case.name)
@pytest.mark.parametrize("context", [0, 2])
def test_every_map_is_inverted_as_by_passes(case, context, in_steps):
    step = made(3, case.build(), order=[2, 0, 1], hidden=(12, 12), context=context)
    z, c = drawn(step, 40, reach=1.5 if case.outside == "line" else 0.5)
    if case.outside != "line":
        z = z.clamp(-BOX, BOX)
    want = by_passes(step, z, c)
    # two orders of summing a dozen numbers, amplified by slopes down to 1/100 in two features
    assert_close(step.inverse(z, c), want, atol=1e-9, rtol=1e-9)
    assert_close(step(step.inverse(z, c)[0], c)[0], z, atol=1e-9, rtol=0)


@pytest.mark.parametrize("features", [1, 2, 7, 43])
@pytest.mark.parametrize("kind", ["given", "order", "graph"])
@pytest.mark.parametrize("hidden", [(), (5,), (12, 12), (9, 9, 9)], ids=str)
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
def test_every_network_is_inverted_as_by_passes(
    features, kind, hidden, context, residual, in_steps
):
    options = {"hidden": hidden, "context": context, "residual": residual, "activation": "tanh"}
    # small weights: of 43 features in a row each takes up the rounding of those before it
    step = made(features, maps.Affine(), spread=0.1, **structure(kind, features), **options)
    z, c = drawn(step, 20)
    assert_close(step.inverse(z, c), by_passes(step, z, c), atol=1e-10, rtol=1e-10)
    single = step.float()
    z, c = drawn(step, 20, dtype=torch.float32)
    x, logdet = single.inverse(z, c)
    assert x.dtype == logdet.dtype == torch.float32
    # the same in float32, whose roundings are 5e8 times as large
    assert_close((x, logdet), by_passes(single, z, c), atol=1e-3, rtol=1e-3)


def test_fitted_boxes_go_along_with_their_features(in_steps):
    step = made(4, SPLINE(), order=[3, 1, 0, 2], hidden=(8,))
    step.map.fit(torch.randn(500, 4, dtype=DOUBLE) * torch.tensor([0.1, 1.0, 5.0, 20.0]))
    z, _ = drawn(step, 100)
    assert_close(step.inverse(z), by_passes(step, z), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("batch", [(), (0,), (1,), (2, 3), (2, 0, 3)], ids=str)
@pytest.mark.parametrize("context", [0, 2])
def test_batches_of_any_shape_keep_it(batch, context, in_steps):
    step = made(3, SPLINE(), hidden=(8, 8), context=context)
    z, c = drawn(step, *batch)
    x, logdet = step.inverse(z, c)
    assert x.shape == (*batch, 3)
    assert logdet.shape == batch
    assert_close((x, logdet), by_passes(step, z, c), atol=1e-10, rtol=1e-10)


def test_a_row_that_is_no_number_spoils_only_what_depends_on_it(in_steps):
    step = made(3, SPLINE(), order=[1, 0, 2], hidden=(8, 8))
    z, _ = drawn(step, 3)
    clean, logdet = step.inverse(z)
    z[1, 0] = math.nan  # second in the order: feature 1 comes before it, feature 2 behind
    x, found = step.inverse(z)
    assert x[1].isnan().tolist() == [True, False, True]
    assert bool(found[1].isnan())
    assert_close(x[1, 1], clean[1, 1], atol=1e-14, rtol=0)
    assert_close((x[[0, 2]], found[[0, 2]]), (clean[[0, 2]], logdet[[0, 2]]), atol=1e-14, rtol=0)


# ---------------------------------------------------------------- the same derivatives


@pytest.mark.parametrize("kind", ["order", "graph"])
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize("map", [maps.Affine, SPLINE], ids=["affine", "spline"])
def test_derivatives_are_those_of_passes(kind, residual, map):
    """Of z, context and weights; and of these gradients once more."""
    options = {"hidden": (9, 9), "context": 2, "residual": residual, "activation": "silu"}
    step = made(4, map(), **structure(kind, 4), **options)
    z, c = (t.requires_grad_() for t in drawn(step, 6))
    inputs = [z, c, *step.parameters()]
    found = []
    for inverse in (step.inverse, functools.partial(by_passes, step)):
        x, logdet = inverse(z, c)
        value = x.square().sum() + logdet.sin().sum()
        first = torch.autograd.grad(value, inputs, create_graph=True)
        # a graph's own features see no more than its edges: some weights act on nothing
        second = torch.autograd.grad(
            sum(g.square().sum() for g in first), inputs, allow_unused=True, materialize_grads=True
        )
        found.append((*first, *second))
    # second derivatives are large where slopes are small: they are compared by their size
    for got, want in zip(*found, strict=True):
        assert_close(got, want, atol=1e-8 * (1.0 + float(want.detach().abs().max())), rtol=1e-8)


def test_units_that_are_dropped_in_training_are_so_once(monkeypatch, in_steps):
    """The x that comes of it is the one that a single network, thinned so, takes to z."""
    step = made(5, maps.Affine(), hidden=(20, 20), dropout=0.5).train()
    z, _ = drawn(step, 3)
    masks = []

    def dropout(x, share, training):
        assert (share, training) == (0.5, True)
        masks.append((torch.rand(x.shape) < share).to(x) / (1.0 - share))
        return x * masks[-1]

    monkeypatch.setattr(masked_mlp.functional, "dropout", dropout)
    x, logdet = step.inverse(z)
    layers = [torch.cat(masks[i::2]).mT for i in (0, 1)]  # units of a step: first layer, second
    assert [layer.shape for layer in layers] == [(3, 20), (3, 20)]
    monkeypatch.setattr(masked_mlp.functional, "dropout", lambda h, *_: h * layers.pop(0))
    back, logdet_back = step(x)
    assert_close(back, z, atol=1e-12, rtol=0)
    assert_close(logdet_back, -logdet, atol=1e-12, rtol=0)


# ---------------------------------------------------------------- the cost


def products(call):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("kind", ["given", "order", "graph"])
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
def test_all_steps_together_multiply_no_more_than_one_call(kind, residual, in_steps):
    options = {"hidden": (64, 64), "context": 3, "residual": residual}
    step = made(43, SPLINE(), dtype=torch.float32, **structure(kind, 43), **options)
    z, c = drawn(step, 16, dtype=torch.float32)
    once = products(lambda: step(z, c))
    assert 0 < products(lambda: step.inverse(z, c)) <= (1.0 if kind == "graph" else 0.6) * once


# ---------------------------------------------------------------- all features at once


@pytest.fixture
def calls(monkeypatch):
    """Of the whole network, which steps do not make."""
    made_calls = []
    forward = masked_mlp.MaskedMLP.forward

    def counted(self, x, context):
        made_calls.append(1)
        return forward(self, x, context)

    monkeypatch.setattr(masked_mlp.MaskedMLP, "forward", counted)
    with kernels.disabled():  # which would not call it at all
        yield made_calls


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
@torch.no_grad()
def test_few_rows_are_guessed_at_once_to_the_same_end(context, dtype, calls, monkeypatch):
    options = {"spread": 0.05, "hidden": (32, 32), "context": context, "dtype": dtype}
    step = made(43, SPLINE(), **structure("order", 43), **options)
    z, c = drawn(step, 5, dtype=dtype)
    got = step.inverse(z, c)
    assert 1 < len(calls) < 20
    monkeypatch.setattr(autoregressive, "_STEPS", 10**9)
    # rounding that each of 43 features takes up from those before it
    atol = 2e3 * torch.finfo(dtype).eps
    assert_close(got, step.inverse(z, c), atol=atol, rtol=atol)
    residual = step(got[0], c)[0] - z
    assert float(residual.abs().max()) < atol


@torch.no_grad()
def test_guessing_is_given_up_where_it_takes_too_long(calls, at_once):
    """Each feature times 15 and more is the next: not one sweep is saved."""
    step = made(12, maps.Additive(), hidden=(24,))
    for p in step.parameters():
        p.mul_(10.0)
    z, _ = drawn(step, 3)
    x, logdet = step.inverse(z)
    assert len(calls) == 6  # half as many as there are steps
    want = by_passes(step, z)
    assert_close((x, logdet), want, atol=1e-8 * float(want[0].abs().max()), rtol=0)


@torch.no_grad()
def test_a_number_that_is_none_is_left_to_the_steps(calls, at_once):
    step = made(8, SPLINE(), spread=0.05, hidden=(16,))
    z, _ = drawn(step, 3)
    z[1, 3] = math.nan
    x, _ = step.inverse(z)
    assert x.isnan()[1].tolist() == [False] * 3 + [True] * 5
    assert not x[[0, 2]].isnan().any()
    assert len(calls) == 4


@torch.no_grad()
def test_a_guess_without_an_inverse_is_left_to_the_steps(at_once, monkeypatch):
    step = made(4, maps.DeepSigmoidal(units=3), hidden=(8,))
    z, _ = drawn(step, 3)
    want = by_passes(step, z)
    inverse = maps.DeepSigmoidal.inverse

    def narrow(self, z, raw):
        if z.shape[-1] > 1:
            raise InverseError("only one feature at a time")
        return inverse(self, z, raw)

    monkeypatch.setattr(maps.DeepSigmoidal, "inverse", narrow)
    assert_close(step.inverse(z), want, atol=1e-10, rtol=1e-10)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # of torch's forward mode
def test_nothing_is_guessed_where_derivatives_or_dropped_units_would_be_lost(calls, at_once):
    step = made(8, maps.Affine(), spread=0.05, hidden=(16,), dropout=0.5)
    z, _ = drawn(step, 3)
    jacobian = torch.autograd.functional.jacobian(lambda z: by_passes(step, z)[0].sum(0), z)
    calls.clear()
    with torch.no_grad():
        step.train().inverse(z)
        step.eval()
        torch.func.vmap(step.inverse)(z)
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(z, torch.ones_like(z))
            tangent = torch.autograd.forward_ad.unpack_dual(step.inverse(dual)[0]).tangent
    step.inverse(z)
    assert not calls
    if tangent is not None:  # without gradients torch may leave tangents out altogether
        assert_close(tangent.sum(0), jacobian.sum((1, 2)), atol=1e-10, rtol=1e-10)
    with torch.no_grad():
        step.inverse(z)
    assert calls


def test_sweeps_solve_a_chain_in_as_many_as_it_has_links():
    """The longest there is: each number hangs on the one before it."""
    chain = lambda x: (torch.cat((torch.ones(1, 1), 3.0 * x[:, :-1] + 1.0), 1), x.sum(-1))
    want = torch.tensor([[1.0, 4.0, 13.0, 40.0, 121.0]])
    x, more = swept(chain, torch.zeros(1, 5), most=6)
    assert_close(x, want, atol=0, rtol=0)
    assert_close(more, want.sum(-1), atol=0, rtol=0)
    assert swept(chain, torch.zeros(1, 5), most=5) is None  # solved, but not yet seen to be


# ---------------------------------------------------------------- what a map must say


class Scaled(maps.Map):
    """A map with a constant for each feature, of which it says nothing."""

    raw_width = 1

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, x, raw):
        return self.scale * x + raw[..., 0], torch.zeros_like(x) + self.scale.log()

    def inverse(self, z, raw):
        return (z - raw[..., 0]) / self.scale, torch.zeros_like(z) - self.scale.log()


class Told(Scaled):
    """The same, which says it."""

    def part(self, index):
        return self._with(scale=self.scale[index])


def test_constants_of_which_a_map_says_nothing_are_refused():
    z = torch.randn(4, 3)
    with pytest.raises(ShapeError, match=r"Scaled.inverse gives shape \(4, 3\) .* \(4, 1\); a map"):
        T.Autoregressive(3, map=Scaled()).inverse(z)
    step = made(3, Told(), order=[1, 2, 0], hidden=(8,))
    z = torch.randn(4, 3, dtype=DOUBLE)
    assert_close(step.inverse(z), by_passes(step, z), atol=1e-12, rtol=0)
