"""The library in a process: switched off, absent or broken; threads, forks, floating point."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kernels.cases import needs_kernels

ROOT = Path(__file__).parents[2]
# Gradients, densities and samples of small flows, and the map alone beside the layers.
COMPUTE = """
import json
import torch
import pushforward as pf
from pushforward import kernels

torch.manual_seed(0)
x = torch.randn(70, 3, dtype=torch.float64)
found = []
for recipe in (pf.flows.nsf, pf.flows.maf):
    flow = recipe(features=3, layers=2, hidden=(16, 16)).double()
    for p in flow.parameters():
        torch.nn.init.normal_(p, std=0.3)
    density = flow.log_prob(x)
    density.sum().backward()
    found += [density.detach(), *(p.grad for p in flow.parameters() if p.grad is not None)]
    found.append(flow.sample(50, generator=torch.Generator().manual_seed(1)).detach())
spline = pf.maps.RationalQuadratic(8, 3.0).double()
raw = torch.randn(70, 3, spline.raw_width, dtype=torch.float64)
found += [*spline(x, raw), *spline.inverse(x, raw)]
numbers = torch.cat([t.flatten() for t in found]).tolist()
print(json.dumps([kernels.available(), kernels.reason(), kernels.target(), numbers]))
"""


def run(code, **environment):
    """What a fresh process prints: kernels are chosen when they are loaded."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PUSHFORWARD_KERNELS")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=kept | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def compute(**environment):
    return json.loads(run(COMPUTE, **environment))


@pytest.fixture(scope="module")
def here():
    """What the kernels of this installation compute."""
    return compute()


def differ(a, b):
    assert len(a) == len(b) > 1000
    return max(abs(one - other) / (1 + abs(other)) for one, other in zip(a, b, strict=True))


@needs_kernels
def test_switched_off_the_results_are_the_same(here):
    available, reason, target, numbers = compute(PUSHFORWARD_KERNELS="0")
    assert (available, target) == (False, "")
    assert reason == "they are switched off by PUSHFORWARD_KERNELS=0"
    assert here[:2] == [True, ""]
    assert differ(here[3], numbers) < 1e-10  # of float64, after two layers


@pytest.mark.parametrize("content", [b"no library", None], ids=["text", "absent"])
def test_a_file_that_is_no_library_is_a_reason(tmp_path, content):
    path = tmp_path / "other.so"
    if content is not None:
        path.write_bytes(content)
    code = "from pushforward import kernels; print(kernels.available(), kernels.reason())"
    said = run(code, PUSHFORWARD_KERNELS=str(path))
    assert said.startswith(f"False PUSHFORWARD_KERNELS names {path}, which cannot be loaded:")


def test_a_library_of_somebody_else_is_a_reason():
    code = "from pushforward import kernels; print(kernels.available(), kernels.reason())"
    other = next((Path(sys.base_prefix) / "lib").glob("**/*.so"), None)
    if other is None:
        import _ctypes

        other = _ctypes.__file__
    said = run(code, PUSHFORWARD_KERNELS=str(other))
    assert said.startswith(f"False PUSHFORWARD_KERNELS names {other}, which cannot be loaded:")


@needs_kernels
@pytest.mark.parametrize("target", ["plain", "avx2", "avx512"])
def test_every_kind_of_processor_computes_the_same(here, target):
    available, reason, name, numbers = compute(PUSHFORWARD_KERNELS_TARGET=target)
    if not available:
        assert reason == f"PUSHFORWARD_KERNELS_TARGET is {target!r}, which does not run here"
        pytest.skip(reason)
    assert name == target
    # fused multiplications round once where others round twice
    assert differ(here[3], numbers) < 1e-12


@needs_kernels
def test_an_unknown_kind_of_processor_is_a_reason():
    available, reason, target, _ = compute(PUSHFORWARD_KERNELS_TARGET="sse9")
    assert (available, target) == (False, "")
    assert reason == "PUSHFORWARD_KERNELS_TARGET is 'sse9', which does not run here"


@needs_kernels
def test_subnormal_numbers_stay_in_every_thread():
    """A library that was linked with -ffast-math would flush them to zero in the whole process."""
    run("""
import threading
import numpy, torch
from pushforward import kernels, maps
assert kernels.available()

def look():
    assert 1e-310 * 0.5 > 0
    assert float(numpy.array([1e-310, 1e-310]).sum()) > 0
    assert bool((torch.full((100,), 1e-40) * 0.5 > 0).all())

look()
torch.set_num_threads(2)
spline = maps.RationalQuadratic(8, 3.0)
spline(torch.randn(90000, 3), torch.randn(90000, 3, spline.raw_width))
look()
assert bool((torch.full((1000000,), 1e-40) * 0.5 > 0).all())
failed = []
threading.excepthook = failed.append
thread = threading.Thread(target=look)
thread.start()
thread.join()
assert not failed, failed
""")


@needs_kernels
def test_threads_change_rounding_of_sums_alone():
    """Rows do not depend on each other; gradients of weights are sums over them."""
    run("""
import torch
from pushforward import kernels, maps, transforms as T
from pushforward.kernels import library

torch.manual_seed(0)
x = torch.randn(20000, 4)
layers = [
    T.Coupling(4, map=maps.RationalQuadratic(8, 3.0), hidden=(32, 32)),
    T.Autoregressive(4, map=maps.RationalQuadratic(8, 3.0), hidden=(32, 32)),
]
spline = maps.RationalQuadratic(8, 3.0)
raw = torch.randn(20000, 4, spline.raw_width)
for layer in layers:
    for p in layer.parameters():
        torch.nn.init.normal_(p, std=0.2)
found = {}
for threads in (1, 2):
    torch.set_num_threads(threads)
    assert library.threads() == threads
    values, sums = list(spline(x, raw)), []
    for layer in layers:
        given = x.clone().requires_grad_()
        z, logdet = layer(given)
        grads = torch.autograd.grad(z.square().sum() + logdet.sum(), [given, *layer.parameters()])
        values += [z, logdet, grads[0]]
        with torch.no_grad():  # the inverse of an autoregression is a kernel only so
            values += layer.inverse(x)
        sums += grads[1:]
    found[threads] = values, sums
for one, two in zip(found[1][0], found[2][0], strict=True):
    assert torch.equal(one, two)
for one, two in zip(found[1][1], found[2][1], strict=True):
    # sums of 20000 float32 numbers, in another order
    assert float((one - two).abs().max()) <= 1e-5 * float(one.abs().max() + 1)
""")


@needs_kernels
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_computes_the_same():
    """The pool of threads stays behind in the parent: the child must not wait for it."""
    run("""
import os, time, warnings
import torch
from pushforward import maps, transforms as T
from pushforward.kernels import library

warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads: it is the point
torch.set_num_threads(2)
torch.manual_seed(0)
x = torch.randn(50000, 4)
layer = T.Coupling(4, map=maps.RationalQuadratic(8, 3.0), hidden=(32, 32))
for p in layer.parameters():
    torch.nn.init.normal_(p, std=0.2)
with torch.no_grad():
    want = layer(x)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            got = layer(x)
            same = all((a.numpy() == b.numpy()).all() for a, b in zip(got, want))
            status = 0 if same and library.threads() == 1 else 2
        finally:
            os._exit(status)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        raise AssertionError("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0, status
    assert all(torch.equal(a, b) for a, b in zip(layer(x), want))
""")


@needs_kernels
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="there is no list of libraries")
def test_there_is_one_openmp_runtime():
    said = run("""
import re
from pathlib import Path
import torch
from pushforward import kernels, maps

torch.set_num_threads(2)
before = set(re.findall(r"\\S*lib(?:g|i)?omp\\S*", Path("/proc/self/maps").read_text()))
spline = maps.RationalQuadratic(8, 3.0)
spline(torch.randn(90000, 3), torch.randn(90000, 3, spline.raw_width))
after = set(re.findall(r"\\S*lib(?:g|i)?omp\\S*", Path("/proc/self/maps").read_text()))
assert kernels.available() and before == after, (before, after)
print(len(after))
""")
    assert int(said) <= 1


@needs_kernels
@pytest.mark.skipif(platform.system() != "Linux", reason="threads are counted in /proc")
@pytest.mark.parametrize("first", ["", "import sklearn.ensemble"])
def test_threads_of_the_kernels_are_those_of_pytorch(first):
    """After PyTorch has started its threads, the kernels start no more.

    scikit-learn, for one, brings an OpenMP runtime of its own.
    """
    said = run(f"""
{first}
import os
import torch
from pushforward import maps

torch.set_num_threads(2)
x = torch.randn(90000, 3)
x.exp().sum()
(torch.randn(400000) * 2).exp()
before = len(os.listdir("/proc/self/task"))
spline = maps.RationalQuadratic(8, 3.0)
spline(x, torch.randn(90000, 3, spline.raw_width))
print(before, len(os.listdir("/proc/self/task")))
""")
    before, after = map(int, said.split())
    assert after == before
