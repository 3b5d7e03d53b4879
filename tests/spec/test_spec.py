"""What a part remembers of its construction can be written down, read back and compared."""

import functools
import json

import pytest
import torch
from tests.bases.cases import CASES as BASES
from tests.bases.cases import Steps
from tests.flows.cases import CASES as FLOWS
from tests.maps.cases import CASES as MAPS
from tests.transforms.cases import CASES as TRANSFORMS
from tests.transforms.cases import Convolution, made, points
from torch import nn
from torch.testing import assert_close

import pushforward as pf
from pushforward import Flow, bases, maps, networks
from pushforward import transforms as T
from pushforward.errors import ModelFileError, SpecError
from pushforward.spec import Part, Reader, Writer, describe, public_name

PARTS = {
    **{f"transform-{case.name}": functools.partial(case.build, 3, 0) for case in TRANSFORMS},
    **{f"context-{case.name}": functools.partial(case.build, 3, 2) for case in TRANSFORMS},
    **{f"map-{case.name}": case.build for case in MAPS if case.name != "spline-fitted"},
    **{f"base-{case.name}": functools.partial(case.build, 2) for case in BASES},
    **{f"flow-{case.name}": functools.partial(case.build, 2, 2) for case in FLOWS},
    "network-mlp": lambda: networks.MLP(2, 3, (4,), "tanh", 0.1),
    "network-masked": lambda: networks.MaskedMLP(3, 2, [2, 0, 1], 1),
    "network-normalize": lambda: networks.Normalize(2),
}


STRANGERS = (Convolution, Steps)  # networks of the cases that the package does not have


def there_and_back(part, classes=()):
    """The part that a reader makes of what a writer wrote, through the text of a file."""
    writer = Writer()
    text = json.dumps(writer.part(part))
    return Reader(writer.tensors, (*STRANGERS, *classes)).part(json.loads(text))


@pytest.mark.parametrize("name", PARTS)
def test_a_part_comes_back_as_it_was_built(name):
    part = PARTS[name]()
    again = there_and_back(part)
    assert type(again) is type(part)
    assert describe(again) == describe(part)
    shapes = {key: (value.shape, value.dtype) for key, value in part.state_dict().items()}
    assert {k: (v.shape, v.dtype) for k, v in again.state_dict().items()} == shapes


@pytest.mark.parametrize("case", TRANSFORMS, ids=lambda case: case.name)
def test_with_its_tensors_it_is_the_same_transform(case):
    part = made(case, 3, 2)
    again = there_and_back(part).double()
    again.load_state_dict(part.state_dict())
    again.train(part.training)
    x, c = points(case, part)
    assert_close(again(x, c), part(x, c), atol=0, rtol=0)


def test_descriptions_tell_parts_apart():
    one, same, other = (maps.RationalQuadratic(bins=n) for n in (4, 4, 5))
    assert describe(one) == describe(same)
    assert describe(one) != describe(other)
    assert describe(T.LU(2)) != describe(T.LU(3))
    assert describe(maps.Affine(bound=2.0)) == {
        "part": "maps.Affine",
        "arguments": {"bound": 2.0},
    }


def test_a_part_that_is_used_twice_stays_one():
    step = T.LU(2)
    flow = Flow(T.Compose(step, T.Reverse(2), step), bases.Normal(2))
    again = there_and_back(flow)
    assert again.transform.transforms[0] is again.transform.transforms[2]
    assert sum(1 for _ in again.parameters()) == sum(1 for _ in flow.parameters())


def test_a_network_shared_by_two_layers_stays_one(tmp_path):
    step = T.Coupling(2, map=maps.Affine(), hidden=(8,))
    flow = Flow(T.Compose(step, T.Reverse(2), T.Inverse(step)), bases.Normal(2))
    pf.save(flow, tmp_path / "flow.safetensors")
    steps = pf.load(tmp_path / "flow.safetensors").transform.transforms
    assert steps[0] is steps[2].transform


def test_a_part_that_was_replaced_is_saved_as_it_is_now():
    flow = Flow(T.LU(2), bases.Normal(2))
    flow.base = bases.Uniform(2, -9.0, 9.0)
    assert isinstance(there_and_back(flow).base, bases.Uniform)


def test_numbers_that_json_does_not_know_come_back():
    class Holder(Part):
        def __init__(self, *values, dtype=torch.float64, table=None):
            self.values, self.dtype, self.table = values, dtype, table

    tensor = torch.arange(3.0)
    made = Holder(float("inf"), -float("inf"), 0.1, (1, "a", None), True, tensor, table={"k": 1})
    again = there_and_back(made, [Holder])
    assert again.values[:5] == made.values[:5]
    assert torch.equal(again.values[5], tensor)
    assert again.dtype is torch.float64
    assert again.table == {"k": 1}


class Wiggle(T.Diagonal):
    """A transform from outside the package."""

    def __init__(self, features, depth=1.0):
        super().__init__(features)
        self.depth = depth


class Stranger(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.linear(x)


def test_a_foreign_class_is_refused_by_name_and_loaded_when_it_is_given(tmp_path):
    flow, path = Flow(Wiggle(2, depth=3.0), bases.Normal(2)), tmp_path / "flow.safetensors"
    pf.save(flow, path)
    says = r"uses the class 'Wiggle', which .* does not have.*pf\.load\(path, classes=\[Wiggle\]\)"
    with pytest.raises(ModelFileError, match=says):
        pf.load(path)
    again = pf.load(path, classes=[Wiggle])
    assert again.transform.depth == 3.0
    assert_close(again.log_prob([[1.0, 2.0]]), flow.log_prob([[1.0, 2.0]]), atol=0, rtol=0)


def test_a_class_of_ours_cannot_be_replaced_by_one_of_the_same_place():
    assert public_name(T.LU) == "transforms.LU"
    assert public_name(Wiggle) == "Wiggle"


@pytest.mark.parametrize(
    "network",
    [lambda inputs, outputs: networks.MLP(inputs, outputs), Stranger, functools.partial(Stranger)],
    ids=["lambda", "foreign", "partial"],
)
def test_what_cannot_be_written_down_is_refused_at_save(network, tmp_path):
    step = T.Coupling(2, map=maps.Affine(), network=network)
    with pytest.raises(SpecError, match=r"pf\.save: Coupling\(network=…\) is .*cannot be written"):
        pf.save(Flow(step, bases.Normal(2)), tmp_path / "flow.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_module_that_is_no_part_is_refused_with_what_to_do(tmp_path):
    step = T.Coupling(2, map=maps.Affine(), context=2)
    flow = Flow(step, bases.Normal(2), embed=nn.Linear(3, 2))
    with pytest.raises(SpecError, match=r"let its class also derive from pushforward\.spec\.Part"):
        pf.save(flow, tmp_path / "flow.safetensors")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (7, "expected the description of a part, got 7"),
        ({"part": "transforms.LU"}, "malformed description"),
        ({"part": "os.system", "arguments": {}}, "uses the class 'os.system'"),
        ({"part": "transforms.base.Transform.fit", "arguments": {}}, "uses the class"),
        ({"part": "transforms.LU", "arguments": {"features": "x"}}, "LU cannot be built"),
        ({"part": "transforms.LU", "arguments": {"width": 2}}, "unexpected argument 'width'"),
        ({"same": 0}, "refers to a part that it does not hold"),
        ({"same": "transforms"}, "refers to a part that it does not hold"),
        (
            {"part": "bases.Normal", "arguments": {"features": 2, "loc": {"tensor": "argument.0"}}},
            "the tensor 'argument.0' is missing",
        ),
        (
            {"part": "transforms.LU", "arguments": {"features": {"dtype": "load"}}},
            "'load' is not one of float16, bfloat16, float32, float64",
        ),
    ],
    ids=str,
)
def test_a_damaged_description_is_refused_with_its_reason(spec, says):
    with pytest.raises(ModelFileError, match=says):
        Reader({}).part(spec)
