"""Defects that were found in other libraries; each has a test here that would catch it in ours.

Where a defect concerns every recipe, transform or map, the test goes through all there are.
"""

import copy
import dataclasses
import importlib
import math
import pkgutil
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from tests.flows import cases as flow_cases
from tests.maps import cases as map_cases
from tests.transforms import cases as transform_cases
from torch.testing import assert_close

import pushforward as pf
from pushforward import Flow, bases, maps
from pushforward import transforms as T
from pushforward.errors import ContextError, InverseError, ShapeError

ROOT = Path(__file__).parents[2]
DOUBLE = torch.float64
BOX = map_cases.BOX

named = {"ids": lambda case: case.name}
every_flow = pytest.mark.parametrize("case", flow_cases.CASES, **named)
every_transform = pytest.mark.parametrize("case", transform_cases.CASES, **named)
every_line = pytest.mark.parametrize(  # maps that go on for ever
    "case", [case for case in map_cases.CASES if case.outside == "line"], **named
)
every_support = pytest.mark.parametrize(  # and those that do not
    "case", [case for case in map_cases.CASES if case.outside != "line"], **named
)


def ours():
    """Names of all modules that import here; ``__main__`` runs when it is imported."""
    found = (module.name for module in pkgutil.walk_packages(pf.__path__, "pushforward."))
    names = [name for name in found if not name.endswith("__main__")]
    if importlib.util.find_spec("triton") is None:  # it comes with PyTorch's CUDA builds alone
        gpu = "pushforward.kernels.cuda."
        names = [name for name in names if not name.startswith(gpu) or name == f"{gpu}ready"]
    return names


# ---------------------------------------------------------------- wrong densities: D1, D3, D7


@every_flow
@pytest.mark.parametrize("context", [0, 2], ids=lambda n: f"context{n}")
def test_d1_samples_carry_their_density(case, context):
    """The log-determinant of the way back enters with the opposite sign."""
    flow, c = flow_cases.made(case, 3, context), flow_cases.contexts(8, context)
    x, log_p = flow.sample_and_log_prob((64,) if c is None else (), c)
    if flow.exactness == "exact":
        assert_close(flow.log_prob(x, c), log_p, atol=case.double, rtol=1e-9)
    if flow.base.context:
        return
    with torch.no_grad():
        shift = log_p - flow.base.log_prob(flow.encode(x, c))
    assert float(shift.abs().max()) > 10 * case.double  # so that a wrong sign would show


@every_flow
def test_d3_the_density_counts_the_jacobian(case):
    """Against autograd's: a determinant that is dropped on the way is not noticed otherwise."""
    flow, x = flow_cases.made(case, 3, 0), flow_cases.rows(6, 3)
    if flow.exactness != "exact":
        pytest.skip("its density is no number but an estimate")
    for row in x:
        jacobian = torch.autograd.functional.jacobian(flow.encode, row).reshape(3, 3)
        want = flow.base.log_prob(flow.encode(row)) + torch.linalg.slogdet(jacobian).logabsdet
        assert_close(flow.log_prob(row), want, atol=case.double, rtol=1e-9)


@every_support
def test_d7_a_bounded_support_is_a_support(case):
    """Round a circle the density over one period is one; of an interval it is zero outside."""
    step = T.Elementwise(1, map=case.build()).double()
    transform_cases.scatter(step, 0.7)
    with torch.no_grad():
        # of z the same density everywhere, so that the density of x is the slope
        ends = step(torch.tensor([[-BOX * (1 - 1e-12)], [BOX * (1 - 1e-12)]], dtype=DOUBLE))[0]
        low, high = float(ends.min()), float(ends.max())
        flow = Flow(step, bases.Uniform(1, min(low, -BOX), max(high, BOX))).double()
        x = torch.linspace(-BOX, BOX, 100_001, dtype=DOUBLE)[1:-1, None]
        mass = torch.trapezoid(flow.log_prob(x).exp(), x[:, 0])
        assert float(mass) == pytest.approx(1.0, abs=1e-3)
        beyond = torch.tensor([[-9.0 * BOX], [BOX * 1.001], [40.0 * BOX]], dtype=DOUBLE)
        if case.outside == "nothing":
            assert bool((flow.log_prob(beyond) == -math.inf).all())
        else:  # round the circle: the same place again
            same = torch.remainder(beyond + BOX, 2.0 * BOX) - BOX
            assert_close(flow.log_prob(beyond), flow.log_prob(same), atol=1e-9, rtol=0)


# ---------------------------------------------------------------- inverses that clip: D4


@every_line
def test_d4_what_lies_far_comes_back(case):
    map = case.build().double()
    x = torch.tensor([20.0, -15.0, 300.0, -4e4, 1e6], dtype=DOUBLE)[:, None]
    raw = map_cases.raws(map, 5)
    z, log_slope = map(x, raw)
    back, log_slope_back = map.inverse(z, raw)
    assert_close(back, x, atol=0, rtol=1e-8)
    assert_close(log_slope_back, -log_slope, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "case",
    [case for case in transform_cases.CASES if case.outside == "line" and case.far],
    **named,
)
def test_d4_rows_beyond_any_box_come_back(case):
    transform = transform_cases.made(case, 2, 0)
    x = torch.tensor([20.0, -15.0], dtype=DOUBLE)
    x = case.data(x.repeat(math.prod(transform.event_shape))[: math.prod(transform.event_shape)])
    x = x.reshape(transform.event_shape)
    z = transform(x)[0]
    assert_close(transform.inverse(z)[0], x, atol=1e-7, rtol=0)
    try:
        back = transform.inverse(z * 1e3)[0]
    except InverseError:
        return  # said, not clipped
    assert_close(transform(back)[0], z * 1e3, atol=1e-5, rtol=0)


@every_flow
def test_d4_no_samples_pile_up(case):
    """Where an inverse is clipped, many samples share the number at which it is."""
    flow = flow_cases.made(dataclasses.replace(case, spread=0.5), 2, 0)
    x = flow.sample(4000, generator=torch.Generator().manual_seed(0))
    for column in x.unbind(-1):
        assert len(column.unique()) == len(column)


# ---------------------------------------------------------------- global state: D5

SNAPSHOT = """
import importlib, torch, torch.distributions
watched = [torch, torch.Tensor, torch.nn.Module, torch.nn.functional, torch.distributions,
           torch.autograd]
watched += [value for name, value in sorted(vars(torch.distributions).items())
            if isinstance(value, type)]
def state():
    seen = {(repr(owner), name): id(value)
            for owner in watched for name, value in list(vars(owner).items())}
    seen |= {"dtype": torch.get_default_dtype(), "grad": torch.is_grad_enabled(),
             "threads": torch.get_num_threads(), "seed": torch.initial_seed(),
             "validation": torch.distributions.Distribution._validate_args,
             "random": torch.get_rng_state().sum().item()}
    return seen
def changed(before, after):
    return [key for key, value in before.items() if after.get(key) != value]
before = state()
"""


@pytest.mark.parametrize("what", ["import", "use"])
def test_d5_nothing_changes_in_torch(what):
    """In a fresh Python: what torch's classes and switches are, and that it still checks."""
    code = SNAPSHOT
    if what == "import":
        code += f"for name in {ours()!r}: importlib.import_module(name)\n"
    else:
        code += (
            "import pushforward as pf\n"
            "flow = pf.flows.nsf(2, layers=2, hidden=(8,), seed=0)\n"
            "flow.distribution(); pf.check(flow, show=False)\n"
            "before['random'] = state()['random']\n"  # a sample may draw
        )
    code += (
        "assert not changed(before, state()), changed(before, state())\n"
        "try: torch.distributions.Normal(0.0, -1.0)\n"
        "except ValueError: print('checked')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout.strip() == "checked", done.stderr


# ---------------------------------------------------------------- no gradient far away: D6


@every_line
@pytest.mark.parametrize("far", [-1e3, 1e3])
def test_d6_far_numbers_still_teach(case, far):
    map = case.build().double()
    if getattr(map, "tails", "") == "identity":
        pytest.skip("there is nothing to learn from far away")  # identity tails say so
    raw = map_cases.raws(map, 1).requires_grad_()
    z, log_slope = map(torch.full((1, 1), far, dtype=DOUBLE), raw)
    (gradient,) = torch.autograd.grad(z.square().sum() - log_slope.sum(), raw)
    assert bool(gradient.isfinite().all())
    assert float(gradient.abs().max()) > 1e-6


@every_flow
def test_d6_a_batch_far_from_the_data_still_teaches(case):
    flow = flow_cases.made(case, 2, 0)
    weights = list(flow.transform.parameters())
    loss = -flow.log_prob(flow_cases.rows(16, 2) + 1e3).mean()
    if loss == math.inf:
        pytest.skip("there is no far away")
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 1e-6


# ---------------------------------------------------------------- shapes and kinds: D8, D9, D10


@pytest.mark.parametrize("n", [(), 10, (2, 3)], ids=str)
@pytest.mark.parametrize("ahead", [(), (5,), (4, 5)], ids=str)
def test_d8_draws_stand_with_their_context(n, ahead):
    """A density that sits within a hundredth of its context: draws in another order would show."""
    step = T.Elementwise(2, map=maps.Affine(bound=20.0), context=2, hidden=())
    with torch.no_grad():  # z = 100 (x - context): log-scales, then shifts of each feature
        step.network.last.bias.copy_(
            20.0 * torch.atanh(torch.tensor([0.2302585] * 2 + [0.0] * 2)[[0, 2, 1, 3]])
        )
        step.network.last.weight.copy_(-100.0 * torch.tensor([[0.0, 0], [1, 0], [0, 0], [0, 1]]))
    flow = Flow(step, bases.Normal(2))
    context = torch.linspace(-1.0, 1.0, 2 * math.prod(ahead)).reshape(*ahead, 2)
    x = flow.sample(n, context)
    assert x.shape == (*((n,) if isinstance(n, int) else n), *ahead, 2)
    seen = 4.0 * torch.asinh(context / 4.0)  # what a network is shown
    assert float((x - seen).abs().max()) < 0.06


@every_flow
@pytest.mark.parametrize("context", [0, 2], ids=lambda n: f"context{n}")
def test_d9_a_flow_in_double_precision_stays_so(case, context):
    flow = case.build(3, context).double()
    c = torch.zeros(context) if context else None
    drawn = (*flow.sample_and_log_prob(4, c), flow.rsample(4, c))
    assert {t.dtype for t in drawn} == {DOUBLE}
    again = flow.float()
    assert {t.dtype for t in again.sample_and_log_prob(4, c)} == {torch.float32}


@every_flow
def test_d10_nothing_is_summed_in_single_precision(case):
    """Densities whose digits end where those of float32 do have been rounded on the way."""
    flow, x = flow_cases.made(case, 3, 0), flow_cases.rows(64, 3)
    log_p = flow.log_prob(x)
    assert log_p.dtype == DOUBLE
    lost = log_p - log_p.float().double()
    assert float((lost != 0).double().mean()) > 0.9


@every_flow
def test_d10_one_feature_is_a_density_too(case):
    flow = flow_cases.made(case, 1, 0)
    x, log_p = flow.sample_and_log_prob(16)
    assert x.shape == (16, 1)
    assert bool(log_p.isfinite().all())
    assert flow.log_prob(flow_cases.rows(16, 1)).shape == (16,)


@every_transform
def test_d10_either_direction_takes_what_the_other_never_saw(case):
    """An inverse that is read from a cache fails for new data, and for a copy."""
    transform = transform_cases.made(case, 3, 2)
    x, c = transform_cases.points(case, transform)
    z, _ = transform(x, c)
    twin = copy.deepcopy(transform)
    fresh, _ = transform_cases.points(case, transform, direction="inverse")
    assert_close(twin.inverse(fresh, c), transform.inverse(fresh, c), atol=1e-12, rtol=0)
    assert_close(twin.inverse(z, c)[0], x, atol=max(case.double, 1e-7), rtol=0)


# ---------------------------------------------------------------- contexts: D11


@every_transform
def test_d11_every_transform_takes_a_context_among_others(case):
    transform = transform_cases.made(case, 3, 2)
    x, c = transform_cases.points(case, transform)
    c = torch.randn(4, 2, dtype=DOUBLE) if c is None else c
    both = T.Compose(transform, T.Inverse(copy.deepcopy(transform)))
    z, logdet = both(x, c if both.context else None)
    assert_close(z, x, atol=max(1e-7, case.double), rtol=0)
    assert_close(logdet, torch.zeros_like(logdet), atol=max(1e-6, case.double), rtol=0)
    # one that reads none takes it all the same, so that a flow can hand it on
    assert_close(transform(x, c), T.Compose(transform)(x, c), atol=0, rtol=0)


# ---------------------------------------------------------------- what is installed: D2, D12, D13


def test_d2_every_module_and_every_line_of_the_readme_imports():
    code = f"import importlib\nfor name in {ours()!r}: importlib.import_module(name)\n"
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    lines = re.findall(r"^(?:import pushforward|from pushforward).*$", blocks, re.MULTILINE)
    assert lines
    subprocess.run([sys.executable, "-c", code + "\n".join(lines)], check=True, cwd=ROOT)


def test_d12_d13_a_wheel_holds_every_file_of_the_package(tmp_path, monkeypatch):
    """Built as pip builds it, from a copy, and compared with the folder."""
    pytest.importorskip("setuptools")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=ignored)
    monkeypatch.chdir(tmp_path)
    code = "import setuptools.build_meta as build; build.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("pushforward/")}
    source = tmp_path / "src"
    files = {p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()}
    # the kernels are packed as a library, which setup.py makes of their source
    files = {name for name in files if not re.search(r"kernels/(csrc/|_compiled)", name)}
    assert packed == {name for name in files if name.startswith("pushforward/")}


@pytest.mark.parametrize("name", [name for name in ours() if name.count(".") == 1])
def test_d13_every_room_gives_what_it_lists(name):
    module = importlib.import_module(name)
    for listed in getattr(module, "__all__", []):
        assert getattr(module, listed) is not None, listed


# ---------------------------------------------------------------- messages: D14


@every_flow
def test_d14_each_mistake_has_a_message_of_its_own(case):
    with_context, without = case.build(3, 2), case.build(3, 0)
    x, c = torch.zeros(5, 3), torch.zeros(5, 2)
    mistakes = [
        (with_context, (x[:, :2], c), ShapeError, r"x has shape \(5, 2\), expected \(\*batch, 3\)"),
        (with_context, (x, None), ContextError, r"needs a context of shape \(\*batch, 2\), got No"),
        (with_context, (x, c[:, :1]), ShapeError, r"context .*\(5, 1\)"),
        (without, (x, c), ContextError, r"got a context, but this flow reads none"),
    ]
    said = set()
    for flow, given, kind, says in mistakes:
        with pytest.raises(kind, match=says) as caught:
            flow.log_prob(*given)
        said.add(str(caught.value))
    assert len(said) == len(mistakes)
    assert not any("mat1" in text for text in said)
