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
