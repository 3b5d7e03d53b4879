"""What makes a layer or a map another one than the kernels know is heeded, or refused."""

import copy
import math
import os
import threading
from pathlib import Path

import pytest
import torch
from tests.kernels.cases import FEATURES, LAYERS, layer, needs_kernels, rows
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, stack_module_state, vmap
from torch.testing import assert_close

from pushforward import kernels, maps
from pushforward import transforms as T
from pushforward.networks import MLP

pytestmark = needs_kernels
COUPLING, AUTOREGRESSION = (
    next(case for case in LAYERS if case.name == name)
    for name in ("coupling-affine", "autoregressive-affine")
)
SPLINE = next(case for case in LAYERS if case.name == "coupling-spline")
both = pytest.mark.parametrize("case", [COUPLING, AUTOREGRESSION], ids=lambda case: case.name)


def same(apply):
    got = apply()
    with kernels.disabled():
        want = apply()
    assert_close(got, want, atol=1e-9, rtol=1e-9)
    return got


class Doubled(maps.Affine):
    """A map of somebody who thinks of Affine alone."""

    def forward(self, x, raw):
        z, log_derivative = super().forward(x, raw)
        return 2.0 * z, log_derivative + math.log(2.0)


@pytest.mark.parametrize("kind", [T.Coupling, T.Autoregressive])
def test_a_map_that_derives_from_one_of_ours_is_its_own(kind):
    made = kind(4, map=Doubled(), hidden=(8,)).double()
    x = rows(5, 4)
    z, _ = same(lambda: made(x))
    assert_close(z[:, -1], 2.0 * x[:, -1])  # before training
    assert_close(Doubled()(x, x.new_zeros(5, 4, 2))[0], 2.0 * x)


@both
def test_a_network_or_map_that_is_exchanged_is_used(case):
    made = layer(case, 0)
    x = rows(5, FEATURES)
    made(x)
    made.network.activation = "tanh"
    same(lambda: made(x))
    made.map = maps.Affine(bound=0.3).bind(made.map.raw_width)
    same(lambda: made(x))


def test_a_network_of_other_widths_is_used_and_a_wrong_one_refused():
    made = layer(COUPLING, 0)
    x = rows(5, FEATURES)
    made(x)
    made.network = MLP(3, 8, hidden=(32, 32, 5)).double()
    for parameter in made.network.parameters():
        nn.init.normal_(parameter, std=0.3)
    same(lambda: made(x))
    made.network.last = nn.Linear(5, 2).double()
    with pytest.raises(ValueError, match="expected"):
        made(x)


def test_features_that_are_none_never_reach_a_kernel():
    """A damaged model file: nothing is written where it says."""
    made = layer(COUPLING, 0)
    made.moved.copy_(torch.tensor([3, 40, 41, 42]))
    with pytest.raises((IndexError, RuntimeError)):
        made(rows(5, FEATURES))


def test_an_ensemble_has_the_boxes_of_each_member():
    members = [T.Coupling(4, map=maps.RationalQuadratic(4), hidden=(8,)).double() for _ in "12"]
    for size, member in zip((1.0, 4.0), members, strict=True):
        member.fit(size * rows(200, 4))
        for parameter in member.parameters():
            nn.init.normal_(parameter, std=0.5)
    weights, buffers = stack_module_state(members)
    x = rows(6, 4)
    z, logdet = vmap(
        lambda w, b: functional_call(members[0], (w, b), (x,)),
    )(weights, buffers)
    for i, member in enumerate(members):
        assert_close((z[i], logdet[i]), member(x), atol=1e-10, rtol=1e-10)


def test_constants_that_lie_otherwise_in_memory_are_read_as_they_lie():
    made = layer(SPLINE, 0)
    ends = torch.tensor([[-1.0, 1.0], [-2.0, 2.0], [-3.0, 3.0], [-4.0, 4.0]]).double()
    made.map.low, made.map.high = ends[:, 0], ends[:, 1]
    same(lambda: made(rows(40, FEATURES)))


@pytest.mark.parametrize("of", ["layer", "map"])
def test_numbers_that_are_stored_with_the_other_sign(of):
    x = torch._neg_view(rows(5, FEATURES))
    if of == "layer":
        same(lambda: layer(COUPLING, 0)(x))
    else:
        same(lambda: maps.Affine()(x, x.new_ones(5, FEATURES, 2)))


def test_constants_that_are_trained_get_their_gradient():
    made = layer(SPLINE, 0)
    made.map.low.requires_grad_()
    (got,) = same(lambda: torch.autograd.grad(made(rows(40, FEATURES))[0].sum(), made.map.low))
    assert bool((got != 0).any())


@pytest.mark.parametrize("of", ["layer", "map"])
def test_constants_that_change_before_backward_are_told(of):
    made = layer(SPLINE, 0)
    x = rows(5, 4).requires_grad_()
    if of == "layer":
        z = made(rows(5, FEATURES).requires_grad_())[0]
    else:
        z = made.map(x, x.new_ones(5, 4, made.map.raw_width))[0]
    made.map.low.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_second_derivatives_with_constants_that_were_lent_are_refused():
    made = layer(SPLINE, 0)
    x = rows(5, FEATURES).requires_grad_()
    lent = {"map.low": made.map.low - 1.0, "map.high": made.map.high + 1.0}
    z, _ = functional_call(made, lent, (x,))
    with pytest.raises(RuntimeError, match="replaced between forward and backward"):
        torch.autograd.grad(z.sum(), x, create_graph=True)


def test_second_derivatives_of_events_of_any_shape():
    made = T.Coupling((2, 2, 3), map=maps.Affine(), hidden=(8,)).double()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = rows(4, 12).reshape(4, 2, 2, 3).requires_grad_()

    def second():
        first = torch.autograd.grad(made(x)[0].sin().sum(), x, create_graph=True)[0]
        return torch.autograd.grad(first.square().sum(), x)

    same(second)


def test_in_inference_mode():
    with torch.inference_mode():
        made = layer(COUPLING, 0)
        same(lambda: made(rows(5, FEATURES)))
        same(lambda: copy.deepcopy(made)(rows(5, FEATURES)))


def test_layers_that_share_their_weights():
    made = T.Coupling(4, map=maps.Affine(), hidden=(8, 8, 8)).double()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.4)
    made.network.hidden_layers[2] = made.network.hidden_layers[1]
    x = rows(5, 4).requires_grad_()
    same(lambda: torch.autograd.grad(made(x)[0].square().sum(), [x, *made.parameters()]))


def test_calls_that_were_replaced_are_called():
    made = layer(COUPLING, 0)
    x = rows(5, FEATURES)
    before = made(x)[0]
    plain = made.network.last.forward
    made.network.last.forward = lambda h: plain(h) + 1.0
    z, _ = same(lambda: made(x))
    assert bool((z != before).any())
    del made.network.last.forward
    handle = made.map.register_forward_hook(lambda *_: None)
    assert_close(made(x)[0], before, atol=1e-12, rtol=0)
    handle.remove()


@pytest.mark.parametrize(
    ("case", "name", "value"),
    [
        (COUPLING, "bound", 0.2),
        (AUTOREGRESSION, "bound", 0.2),
        (SPLINE, "min_slope", 0.5),
        (SPLINE, "tails", "identity"),
    ],
)
def test_numbers_of_a_map_that_are_set_anew_are_used(case, name, value):
    made = layer(case, 0)
    x = rows(40, FEATURES)
    before = made(x)[0]
    setattr(made.map, name, value)
    if name != "tails":  # the plain path reads the numbers of others, too
        z, _ = same(lambda: made(x))
        assert bool((z != before).any())
    raw = rows(40, 4 * made.map.raw_width).reshape(40, 4, -1)
    try:
        with kernels.disabled():
            made.map(rows(40, 4), raw)
    except (RuntimeError, IndexError):
        assert made.map.formula is None
    else:
        same(lambda: made.map(rows(40, 4), raw))


def test_a_bound_that_is_trained_is_followed():
    made = layer(COUPLING, 0)
    bound = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    made.map.bound = bound
    (got,) = same(lambda: torch.autograd.grad(made(rows(5, FEATURES))[0].sum(), bound))
    assert float(got) != 0.0


def test_a_spline_of_more_bins_than_it_has_numbers_for_reaches_no_kernel():
    spline = maps.RationalQuadratic(4, 3.0)
    spline.bins = 40
    assert spline.formula is None


def scaled(function):
    return lambda *inputs: tuple(2.0 * one for one in function(*inputs))


@pytest.mark.parametrize(
    ("case", "of", "name"),
    [
        (COUPLING, "map", "inverse"),
        (AUTOREGRESSION, "map", "forward"),
        (AUTOREGRESSION, "network", "masked"),
        (AUTOREGRESSION, "network", "unit"),
    ],
)
@pytest.mark.parametrize("where", ["object", "class"])
def test_methods_that_were_replaced_are_called(case, of, name, where, monkeypatch):
    made = layer(case, 0)
    x = rows(5, FEATURES)
    before = [made(x)[0], made.inverse(x)[0]]
    part = getattr(made, of)
    plain = getattr(part, name)
    if name == "masked":
        other = lambda *_: [(2.0 * weight, bias) for weight, bias in plain()]
    else:
        other = scaled(plain)
    if where == "object":
        setattr(part, name, other)
    else:
        monkeypatch.setattr(type(part), name, lambda _, *inputs: other(*inputs))
    after = same(lambda: [made(x)[0], made.inverse(x)[0]])
    assert any(bool((a != b).any()) for a, b in zip(after, before, strict=True))


class Doubling(torch.overrides.TorchFunctionMode):
    """Sees each call, and makes of linear ones something else."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        return 2.0 * result if function is nn.functional.linear else result


def test_a_mode_that_sees_each_call_sees_them_all():
    made = layer(COUPLING, 0)
    x = rows(5, FEATURES)
    before = made(x)[0]
    with Doubling():
        z, _ = same(lambda: made(x))
    assert bool((z != before).any())


def test_a_device_for_new_tensors_is_no_reason_to_be_slow():
    made = layer(COUPLING, 0)
    with torch.device("cpu"):
        z, _ = made(rows(5, FEATURES).requires_grad_())
    assert type(z.grad_fn).__name__ == "_LayersBackward"


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_tangents_of_constants_are_carried_on():
    spline = maps.RationalQuadratic(4, 3.0).double()
    x, raw = rows(5, 3), rows(15, spline.raw_width).reshape(5, 3, -1)
    del spline.low

    def tangent():
        with forward_ad.dual_level():
            low = torch.full((), -3.0, dtype=torch.float64)
            spline.low = forward_ad.make_dual(low, torch.ones_like(low))
            found = forward_ad.unpack_dual(spline(x, raw)[0]).tangent
            del spline.low
            return found

    assert bool((same(tangent) != 0).any())


def test_units_in_another_order_are_added_to_their_own():
    """Masks come with a model file: any order of hidden units is a network."""
    made = T.Autoregressive(4, map=maps.Affine(), hidden=(9, 9), residual=True).double()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.4)
    turned = torch.tensor([8, 1, 6, 3, 4, 5, 2, 7, 0])
    made.network.mask0.copy_(made.network.mask0[turned])
    made.network.mask1.copy_(made.network.mask1[:, turned])
    same(lambda: made(rows(5, 4)))


def resident_megabytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read off /proc")
def test_threads_give_their_memory_back():
    """A server with a thread for each request would grow by a megabyte and a half for each."""
    made = T.Autoregressive(43, map=maps.Affine(), hidden=(128, 128))
    x = rows(64, 43, torch.float32).requires_grad_()

    def work():
        made(x)[0].sum().backward()

    def threads(count):
        for _ in range(count):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

    threads(5)
    before = resident_megabytes()
    threads(40)
    assert resident_megabytes() - before < 30.0
