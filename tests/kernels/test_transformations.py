"""Kernels never change a result: every way of differentiating gives what the plain path gives."""

import copy
import pickle

import pytest
import torch
from tests.kernels.cases import (
    FEATURES,
    LAYERS,
    MAPS_AND_DIRECTIONS,
    ROWS,
    STEPS,
    layer,
    needs_kernels,
    plain_numbers,
    rows,
)
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.testing import assert_close

from pushforward import kernels

pytestmark = [
    needs_kernels,
    # PyTorch's own rules of forward mode use it
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]


def scalar(apply):
    def total(*inputs):
        z, log_derivative = apply(*inputs)
        return z.sin().sum() + 0.3 * log_derivative.square().sum()

    return total


def dual(apply, inputs, tangents):
    """Forward-mode differentiation outside of torch.func."""
    with forward_ad.dual_level():
        made = [forward_ad.make_dual(x, t) for x, t in zip(inputs, tangents, strict=True)]
        return [forward_ad.unpack_dual(out).tangent for out in apply(*made)]


def twice(apply, inputs):
    """Second derivatives by two backward passes."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    first = torch.autograd.grad(scalar(apply)(*leaves), leaves, create_graph=True)
    return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)


def forward_over_reverse(apply, inputs, tangents):
    leaves = [x.clone().requires_grad_() for x in inputs]
    with forward_ad.dual_level():
        made = [forward_ad.make_dual(x, t) for x, t in zip(leaves, tangents, strict=True)]
        first = torch.autograd.grad(scalar(apply)(*made), made, create_graph=True)
        return [forward_ad.unpack_dual(g).tangent for g in first]


def many_at_once(apply, inputs):
    """Several gradients in one backward pass."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    z, _ = apply(*leaves)
    ups = rows(4, z.numel(), seed=12).reshape(4, *z.shape)
    return torch.autograd.grad(z, leaves, ups, is_grads_batched=True)


WAYS = {
    "grad": lambda f, x, t: grad(scalar(f), argnums=(0, 1))(*x),
    "vjp": lambda f, x, t: vjp(f, *x)[1](f(*x)),
    "jacrev": lambda f, x, t: jacrev(f, argnums=(0, 1))(*x),
    "jacfwd": lambda f, x, t: jacfwd(f, argnums=(0, 1))(*x),
    "jvp": lambda f, x, t: jvp(f, x, t),
    "jvp of one input": lambda f, x, t: jvp(lambda one: f(one, x[1]), x[:1], t[:1]),
    "hessian": lambda f, x, t: hessian(scalar(f), argnums=(0, 1))(*x),
    "jacrev of jacrev": lambda f, x, t: jacrev(jacrev(scalar(f)))(*x),
    "jacfwd of jacfwd": lambda f, x, t: jacfwd(jacfwd(scalar(f)))(*x),
    "vmap": lambda f, x, t: vmap(f)(*x),
    "vmap over the first alone": lambda f, x, t: vmap(f, (0, None))(x[0], x[1][0]),
    "vmap of grad": lambda f, x, t: vmap(grad(scalar(f), argnums=(0, 1)))(*x),
    "vmap of jvp": lambda f, x, t: vmap(lambda *xt: jvp(f, xt[:2], xt[2:]))(*x, *t),
    "vmap of vmap": lambda f, x, t: vmap(vmap(f))(*x),
    "dual numbers": dual,
    "many gradients at once": lambda f, x, t: many_at_once(f, x),
    "double backward": lambda f, x, t: twice(f, x),
    "forward over reverse": forward_over_reverse,
}


def both_ways(how, apply, inputs):
    tangents = tuple(rows(x.numel(), 1, seed=11).reshape(x.shape).to(x) for x in inputs)
    got = WAYS[how](apply, inputs, tangents)
    with kernels.disabled():
        want = WAYS[how](apply, inputs, tangents)
    assert_close(got, want, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(("case", "direction"), MAPS_AND_DIRECTIONS)
def test_of_maps(case, direction, how):
    map = case.build().double()
    x, raw = plain_numbers(map, 3, 0.5)
    if how == "vmap of vmap":
        both_ways(how, getattr(map, direction), (x[:, :, None], raw[:, :, None]))
    else:
        both_ways(how, getattr(map, direction), (x, raw))


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("case", STEPS, ids=lambda case: case.name)
def test_of_layers(case, how):
    made = layer(case, 2)
    shape = (3, 2) if how == "vmap of vmap" else (3,)
    x, c = rows(6, FEATURES), rows(6, 2, seed=9)
    count = 6 if how == "vmap of vmap" else 3
    both_ways(how, made, (x[:count].reshape(*shape, -1), c[:count].reshape(*shape, -1)))


@pytest.mark.parametrize("case", STEPS, ids=lambda case: case.name)
def test_gradients_of_rows_by_their_weights(case):
    """vmap of grad of a functional call: the gradient that each row has in the weights."""
    made = layer(case, 0)
    weights = {name: p.detach() for name, p in made.named_parameters()}

    def loss(weights, x):
        z, logdet = functional_call(made, weights, (x,))
        return z.square().sum() - logdet

    got = vmap(grad(loss), (None, 0))(weights, rows(4, FEATURES))
    with kernels.disabled():
        want = vmap(grad(loss), (None, 0))(weights, rows(4, FEATURES))
    assert_close(got, want, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("case", STEPS, ids=lambda case: case.name)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_second_derivatives_by_the_weights(case, direction):
    made = layer(case, 2)
    x, c = rows(3, FEATURES).requires_grad_(), rows(3, 2, seed=9).requires_grad_()

    def second():
        leaves = [x, c, *made.parameters()]
        total = scalar(getattr(made, direction))(x, c)
        first = torch.autograd.grad(total, leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

    got = second()
    with kernels.disabled():
        want = second()
    for one, other in zip(got, want, strict=True):  # of several layers they are large
        assert float((one - other).abs().max()) <= 1e-9 * (1.0 + float(other.abs().max()))


def test_second_derivatives_with_other_weights_are_taken_at_them():
    """What a functional call put in the place of the weights is gone when backward runs."""
    made = layer(LAYERS[0], 0)
    other = {n: (0.5 * p.detach()).requires_grad_() for n, p in made.named_parameters()}
    x = rows(3, FEATURES)

    def second():
        z, _ = functional_call(made, other, (x,))
        first = torch.autograd.grad(z.square().sum(), list(other.values()), create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), list(other.values()))

    got = second()
    with kernels.disabled():
        want = second()
    assert_close(got, want, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("case", "direction"), MAPS_AND_DIRECTIONS[::3])
def test_compiled(case, direction):
    """In one graph with no break; gradients too."""
    map = case.build().double()
    torch.compiler.reset()
    compiled = torch.compile(getattr(map, direction), fullgraph=True, backend="aot_eager")
    found = []
    for apply in (compiled, getattr(map, direction)):
        x, raw = (t.requires_grad_() for t in plain_numbers(map, 40, 0.5))
        z, log_derivative = apply(x, raw)
        ok = log_derivative.isfinite()
        total = z.square().sum() + torch.where(ok, log_derivative, 0.0).sum()
        found.append((z, log_derivative, *torch.autograd.grad(total, (x, raw))))
    assert_close(found[0], found[1], atol=1e-10, rtol=1e-10)


def test_compiled_programs_call_the_kernel():
    """The operator stands in the graph, not the many operations that define it."""
    map = plain_case().build()
    seen = []

    def record(module, inputs):
        seen.extend(str(node.target) for node in module.graph.nodes)
        return module.forward

    torch.compiler.reset()
    x, raw = plain_numbers(map, 40, 0.5, torch.float32)
    torch.compile(map.forward, fullgraph=True, backend=record)(x, raw)
    assert any("pushforward.move" in name for name in seen)


def plain_case():
    return next(p.values[0] for p in MAPS_AND_DIRECTIONS if p.values[0].name == "spline-linear-8")


@pytest.mark.parametrize("case", [*LAYERS[:3], *ROWS[-2:]], ids=lambda case: case.name)
def test_exported_programs_need_no_kernels(case):
    """They hold PyTorch's own operations alone, and so run where this package is not installed."""
    made = layer(case, 0)
    x = rows(5, FEATURES)
    program = torch.export.export(made, (x,))
    assert "pushforward" not in str(program.graph)
    assert_close(program.module()(x), made(x), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("case", STEPS, ids=lambda case: case.name)
def test_copies_and_pickles(case):
    made = layer(case, 2)
    x, c = rows(5, FEATURES), rows(5, 2, seed=9)
    want = made(x, c)
    for twin in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert_close(twin(x, c), want, atol=0, rtol=0)
        for parameter in twin.parameters():
            parameter.data.zero_()
        assert_close(made(x, c), want, atol=0, rtol=0)


def test_other_halves_that_are_loaded_are_used():
    """What a coupling keeps comes back with its state."""
    a, b = (layer(LAYERS[0], 0) for _ in range(2))
    state = a.state_dict()
    order = torch.tensor([1, 2, 4, 6, 0, 3, 5])
    moved = torch.tensor([0, 2, 3, 5])
    kept = torch.tensor([1, 4, 6])
    state |= {"kept": kept, "moved": moved, "order": torch.cat((kept, moved)).argsort()}
    x = rows(5, FEATURES)
    before = b(x)
    b.load_state_dict(state)
    with kernels.disabled():
        want = b(x)
    assert bool((b(x)[0] != before[0]).any())
    assert_close(b(x), want, atol=1e-12, rtol=0)
    assert order.numel() == FEATURES


def test_hooks_and_parametrizations_are_heeded():
    x = rows(5, FEATURES)
    made = layer(LAYERS[0], 0)
    before = made(x)[0]
    handle = made.network.last.register_forward_hook(lambda *_: torch.zeros(5, 4 * 16).double())
    assert bool((made(x)[0] != before).any())
    handle.remove()
    assert_close(made(x)[0], before, atol=0, rtol=0)
    torch.nn.utils.parametrize.register_parametrization(
        made.network.last, "weight", torch.nn.Identity()
    )
    assert_close(made(x)[0], before, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_takes_the_plain_path(dtype):
    map = plain_case().build().to(dtype)
    x, raw = plain_numbers(map, 40, 0.5, dtype)
    got = map(x, raw)
    with kernels.disabled():
        want = map(x, raw)
    assert_close(got, want, atol=0, rtol=0, equal_nan=True)


def test_autocast_computes_networks_in_half_precision():
    made = layer(LAYERS[0], 0, torch.float32)
    x = rows(64, FEATURES, torch.float32)
    exact = made(x)[0].detach()
    with torch.autocast("cpu", torch.bfloat16):
        rough = made(x)[0].detach()
    assert rough.dtype == torch.float32
    assert 1e-4 < float((rough - exact).abs().max()) < 1.0
