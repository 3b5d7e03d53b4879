"""A transform is a module: it moves, copies, is saved and compiled like any other."""

import copy
import io
import pickle
from dataclasses import replace

import pytest
import torch
from tests.transforms.cases import CASES, made, points
from torch import Tensor
from torch.testing import assert_close

from pushforward.numerics.solvers import fixed_point, root_finding, tanh_root

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def both(transform, x, c):
    """Both directions; x stands in for z where it may, else there and back."""
    z, logdet = transform(x, c)
    return (z, logdet, *transform.inverse(x if z.shape == x.shape else z, c))


def test_every_tensor_moves_with_the_module(case):
    transform = made(case, 3, 2)
    loose = [
        f"{name or 'self'}.{key}"
        for name, module in transform.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, Tensor)
    ]
    assert not loose  # a plain attribute stays behind at .to(device) and is not saved


def test_every_floating_tensor_changes_its_dtype(case):
    transform = made(case, 3, 2).to(torch.float32)
    kinds = {t.dtype for t in [*transform.parameters(), *transform.buffers()]}
    assert kinds <= {torch.float32, torch.int64, torch.bool}


def test_tensors_lie_in_memory_as_a_file_brings_them_back(case):
    """Products of matrices round in the order of memory: another one is another last digit."""
    transform = made(case, 3, 2)
    assert all(t.is_contiguous() for t in [*transform.parameters(), *transform.buffers()])


def test_it_runs_where_its_tensors_are(case):
    """On the meta device, which holds no numbers, a tensor made on the CPU is refused."""
    transform = made(case, 3, 2).to("meta")
    x, c = points(case, transform)
    z, logdet = transform(x.to("meta"), None if c is None else c.to("meta"))
    assert z.device.type == logdet.device.type == "meta"


def test_state_dict_carries_the_transform(case):
    transform = made(case, 3, 2)
    fresh = case.build(3, 2 if case.conditional else 0).double()
    fresh.load_state_dict(transform.state_dict())
    fresh.train(transform.training)
    x, c = points(case, transform)
    assert_close(both(fresh, x, c), both(transform, x, c), atol=0, rtol=0)


def test_a_copy_is_the_same_and_stands_alone(case):
    transform = made(case, 3, 2)
    x, c = points(case, transform)
    before = both(transform, x, c)
    twin = copy.deepcopy(transform)
    assert_close(both(twin, x, c), before, atol=0, rtol=0)
    for parameter in twin.parameters():
        parameter.data.zero_()
    assert_close(both(transform, x, c), before, atol=0, rtol=0)


def test_a_pickle_is_the_same(case):
    transform = made(case, 3, 2)
    if case.name == "coupling-other-network":  # its constructor was given a function of this file
        assert transform._arguments["call"]["network"].keywords == {
            "hidden": (8, 8),
            "activation": "tanh",
        }
    x, c = points(case, transform)
    twin = pickle.loads(pickle.dumps(transform))
    assert_close(both(twin, x, c), both(transform, x, c), atol=0, rtol=0)


def test_torch_save_is_the_same(case):
    transform = made(case, 3, 2)
    x, c = points(case, transform)
    file = io.BytesIO()
    torch.save(transform.state_dict(), file)
    file.seek(0)
    fresh = case.build(3, 2 if case.conditional else 0).double()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    fresh.train(transform.training)
    assert_close(both(fresh, x, c), both(transform, x, c), atol=0, rtol=0)


def test_compiled_whole_it_is_the_same(case, monkeypatch):
    """In one graph, with no break: gradients too."""
    if case.adaptive:
        pytest.skip("its steps depend on the numbers")
    # Each step of a search is a part of the graph. So many will do from where they begin here, and
    # test_root_finding compiles all of them.
    monkeypatch.setattr(root_finding, "_UNSEEN_STEPS", 6)
    monkeypatch.setattr(tanh_root, "_UNSEEN_STEPS", 6)
    monkeypatch.setattr(fixed_point, "_UNSEEN_STEPS", {True: 6, False: 60})
    transform = made(replace(case, build=case.brief or case.build), 3, 2)
    x, c = points(case, transform)

    def run(x, c):
        z, logdet = transform(x, c)
        return (z, logdet), transform.inverse(x if z.shape == x.shape else z, c)

    torch.compiler.reset()
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    leaf, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    got, want = compiled(leaf, c), run(other, c)
    assert_close(got, want, atol=case.double, rtol=0)
    for outputs, inputs in ((got, leaf), (want, other)):
        sum(t.sum() for pair in outputs for t in pair).backward()
        assert inputs.grad is not None
    assert_close(leaf.grad, other.grad, atol=1e-9, rtol=1e-9)
    torch.compiler.reset()  # what was compiled would stay in memory
