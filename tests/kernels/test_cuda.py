"""The kernels for GPUs: on one where there is one, and in Triton's interpreter without.

The interpreter runs the same kernels on the CPU, but for exp, log, log1p and tanh, which are
NVIDIA's library on the GPU; and it takes whatever Python does, so that what the compiler takes is
tried apart.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.kernels import interpreted
from tests.kernels.cases import (
    FEATURES,
    LAYERS,
    MAPS_AND_DIRECTIONS,
    extreme_numbers,
    layer,
    plain_numbers,
    rows,
)
from tests.kernels.errors import error, how_much_worse, plain, results
from tests.kernels.test_transformations import WAYS, both_ways
from torch.testing import assert_close

import pushforward as pf
from pushforward import kernels
from pushforward.kernels.cuda import ready
from pushforward.kernels.dispatch import way

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: pip install triton"
)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
maps_and_directions = pytest.mark.parametrize(("case", "direction"), MAPS_AND_DIRECTIONS)


# ---------------------------------------------------------------- where there is no GPU


def test_the_reason_is_given_for_each_device(monkeypatch):
    assert kernels.available("cuda") == (kernels.reason("cuda") == "")
    assert kernels.reason("mps") == "there are none for mps"
    monkeypatch.setenv("PUSHFORWARD_KERNELS", "0")
    assert ready._first_look() == "they are switched off by PUSHFORWARD_KERNELS=0"


def test_other_devices_take_the_plain_path():
    assert way(torch.ones(2, 3, device="meta"), torch.ones(2, 3, 2, device="meta")) == "plain"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the interpreter gave, all in one process."""
    file = tmp_path_factory.mktemp("interpreted") / "found.pt"
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    code = [sys.executable, str(Path(interpreted.__file__)), str(file)]
    subprocess.run(code, check=True, env=environment)
    return torch.load(file)


def truth(case, direction, kind, dtype):
    """What the plain definition gives for the same numbers."""
    x, raw = interpreted.numbers(case.build(), kind)
    map = case.build().bind(3).to(dtype)
    leaves = [t.to(dtype).requires_grad_() for t in (x, raw)]
    with kernels.disabled():
        z, log_derivative = getattr(map, direction)(*leaves)
        by_z, by_log = (t.to(dtype) for t in interpreted.gradients(x))
        by_log = torch.where(log_derivative.isfinite(), by_log, 0.0)
        grads = torch.autograd.grad((z, log_derivative), leaves, (by_z, by_log))
    return [t.detach() for t in (z, log_derivative, *grads)]


@needs_triton
@maps_and_directions
def test_interpreted_float64_agrees(case, direction, found):
    got = found[f"{case.name}-{direction} double"]
    for one, want in zip(got, truth(case, direction, "double", torch.float64), strict=True):
        assert float(error(one, want).max()) < 1e-10


@needs_triton
@maps_and_directions
def test_interpreted_float32_is_at_most_twice_as_wrong(case, direction, found):
    kind = "single in strides"
    got = found[f"{case.name}-{direction} {kind}"]
    theirs = truth(case, direction, kind, torch.float32)
    wanted = truth(case, direction, kind, torch.float64)
    for one, other, want in zip(got, theirs, wanted, strict=True):
        assert max(how_much_worse(error(one, want), error(other, want))) <= 2.0


@needs_triton
@maps_and_directions
def test_interpreted_what_is_not_finite_gets_through(case, direction, found):
    got = found[f"{case.name}-{direction} with nan"]
    wanted = truth(case, direction, "with nan", torch.float64)
    for one, want in zip(got[:2], wanted[:2], strict=True):
        assert torch.equal(one.isnan(), want.isnan())


_POINTERS = {"x", "raw", "z", "log_derivative", "data", "given", "grad_z", "grad_log"}
_POINTERS |= {"grad_x", "grad_raw", "low", "high", "places", "steep"}
_SPLINE = {"MIN_WIDTH": 1e-3, "MIN_HEIGHT": 1e-3, "MIN_SLOPE": 1e-3, "OFFSET": 0.54, "TERMS": 8}
_BUILT = {
    "affine_move": {"BOUND": 2.0, "INVERSE": True, "BLOCK": 128},
    "affine_backward": {"BOUND": 2.0, "INVERSE": True, "BLOCK": 128},
    "spline_move": _SPLINE | {"TAILS": "linear", "INVERSE": True, "PADDED": 8, "BLOCK": 128},
    "spline_backward": _SPLINE
    | {"TAILS": "circular", "INVERSE": True, "PADDED": 8, "SLOPES_PADDED": 16, "BLOCK": 128},
    "mixture_move": {"TERMS": 5, "SHARE": 1e-3, "PADDED": 8, "BLOCK": 128},
    "mixture_backward": {"TERMS": 5, "SHARE": 1e-3, "PADDED": 8, "BLOCK": 128},
}


@needs_triton
@pytest.mark.parametrize("name", _BUILT)
def test_they_compile_to_machine_code(name):
    """Of compute capability 8.0; that needs no GPU."""
    triton = pytest.importorskip("triton", "3.3")  # the first with this form of ASTSource
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from pushforward.kernels.cuda import launch

    kernel, options = getattr(launch, name), _BUILT[name]
    signature = {
        arg: "constexpr" if arg in options else "*fp32" if arg in _POINTERS else "i32"
        for arg in kernel.arg_names
    }
    constants = {(kernel.arg_names.index(arg),): value for arg, value in options.items()}
    source = ASTSource(kernel, signature=signature, constexprs=constants)
    made = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=launch._BUILD)
    assert len(made.asm["cubin"]) > 0


# ---------------------------------------------------------------- on a GPU


def on_gpu(tensors):
    return [tensor.cuda() for tensor in tensors]


@needs_gpu
def test_a_gpu_has_kernels():
    assert kernels.available("cuda"), kernels.reason("cuda")
    assert way(torch.ones(2, 3, device="cuda"), torch.ones(2, 3, 2, device="cuda")) == "kernel"


@needs_gpu
@maps_and_directions
@pytest.mark.parametrize("numbers", ["ordinary", "wide", "extreme"])
def test_float64_agrees(case, direction, numbers):
    map = case.build().bind(3).double().cuda()
    apply = getattr(map, direction)
    spread = 0.5 if numbers == "ordinary" else 2.0
    made = extreme_numbers(map) if numbers == "extreme" else plain_numbers(map, 1000, spread)
    inputs = on_gpu(made)
    for got, want in zip(results(apply, inputs), plain(apply, inputs), strict=True):
        assert float(error(got, want).max()) < 1e-10


@needs_gpu
@maps_and_directions
@pytest.mark.parametrize("numbers", ["ordinary", "wide", "extreme"])
def test_float32_is_at_most_twice_as_wrong_as_the_plain_path(case, direction, numbers):
    single, double = case.build().bind(3).cuda(), case.build().bind(3).double().cuda()
    spread, one = 0.5 if numbers == "ordinary" else 2.0, torch.float32
    if numbers == "extreme":
        inputs = on_gpu(extreme_numbers(single, one))
    else:
        inputs = on_gpu(plain_numbers(single, 4000, spread, one))
    wanted = plain(getattr(double, direction), [t.double() for t in inputs])
    ours = results(getattr(single, direction), inputs)
    theirs = plain(getattr(single, direction), inputs)
    for got, other, want in zip(ours, theirs, wanted, strict=True):
        assert max(how_much_worse(error(got, want), error(other, want))) <= 2.0


@needs_gpu
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("how", WAYS)
@maps_and_directions
def test_every_way_of_differentiating(case, direction, how):
    map = case.build().double().cuda()
    x, raw = on_gpu(plain_numbers(map, 3, 0.5))
    if how == "vmap of vmap":
        x, raw = x[:, :, None], raw[:, :, None]
    both_ways(how, getattr(map, direction), (x, raw))


@needs_gpu
@pytest.mark.parametrize(("case", "direction"), MAPS_AND_DIRECTIONS[::3])
def test_compiled(case, direction):
    map = case.build().double().cuda()
    torch.compiler.reset()
    compiled = torch.compile(getattr(map, direction), fullgraph=True, backend="aot_eager")
    inputs = on_gpu(plain_numbers(map, 40, 0.5))
    got, want = results(compiled, inputs), results(getattr(map, direction), inputs)
    assert_close(got, want, atol=1e-10, rtol=1e-10)


@needs_gpu
@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_layers_give_what_they_give_on_the_processor(case, direction):
    made = layer(case, 3)
    x, c = rows(33, FEATURES), rows(33, 3, seed=9)
    with kernels.disabled():
        want = getattr(made, direction)(x, c)
    got = getattr(made.cuda(), direction)(x.cuda(), c.cuda())
    assert_close([one.cpu() for one in got], list(want), atol=1e-9, rtol=1e-9)


@needs_gpu
def test_samples_stay_on_the_gpu():
    flow = pf.flows.nsf(3, seed=0).cuda()
    x, log_prob = flow.sample_and_log_prob(1000)
    assert x.is_cuda
    assert_close(flow.log_prob(x).detach(), log_prob, atol=1e-3, rtol=1e-3)
