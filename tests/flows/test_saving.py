"""Model files: whatever is damaged, foreign or newer is refused with its reason; the rest is equal.

That every recipe survives saving to the bit is stated in test_laws.py.
"""

import json
import math
import os
import pickle
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import pushforward as pf
from pushforward import Flow, bases, flows, maps
from pushforward import transforms as T
from pushforward.errors import InputTypeError, MissingFolderError, ModelFileError, SpecError
from pushforward.flows.saving import FORMAT, _digest
from pushforward.spec import describe, dumps
from pushforward.transforms import Transform


def small(seed=0):
    return flows.realnvp(2, layers=2, hidden=(4,), seed=seed)


@pytest.fixture
def file(tmp_path):
    """A good model file."""
    return pf.save(small(), tmp_path / "flow.safetensors")


def refusal(path, **options):
    with pytest.raises(ModelFileError) as error:
        pf.load(path, **options)
    assert str(error.value).startswith("pf.load: ")
    return str(error.value)


def forged(path, spec, facts=None, number=FORMAT, version="0.1.0", tensors=None, text=None):
    """A model file with a correct checksum, whatever it describes."""
    tensors = tensors or {"state.nothing": torch.zeros(1)}
    content = {"format": number, "version": version, "spec": spec, "facts": facts or {}}
    if text is None:
        content["digest"] = _digest(content, tensors)
        text = dumps(content)
    save_file(tensors, path, {"pushforward": text})
    return path


def equal(a, b):
    """Whether two flows are the same in description, tensors and facts."""
    mine, other = a.state_dict(), b.state_dict()
    return (
        describe(a) == describe(b)
        and a.facts == b.facts
        and mine.keys() == other.keys()
        and all(mine[k].dtype == other[k].dtype and torch.equal(mine[k], other[k]) for k in mine)
    )


class Shift(Transform):
    """A transform of somebody's own."""

    def __init__(self, features, by):
        super().__init__()
        self.event_shape = (features,)
        self.register_buffer("by", torch.as_tensor(float(by)))

    def _forward(self, x, context):
        return x - self.by, x.new_zeros(x.shape[:-1])

    def _inverse(self, z, context):
        return z + self.by, z.new_zeros(z.shape[:-1])


# ---------------------------------------------------------------------- damage


def test_a_file_cut_short_anywhere_is_refused(file, tmp_path):
    content = file.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in {*range(40), *np.linspace(40, len(content) - 1, 60).astype(int).tolist()}:
        cut.write_bytes(content[:length])
        refusal(cut)


def test_bytes_after_the_end_are_refused(file):
    file.write_bytes(file.read_bytes() + b"\0")
    refusal(file)


def test_no_changed_byte_goes_unnoticed(file, tmp_path):
    content, draw = file.read_bytes(), np.random.default_rng(0)
    # all of the length and the beginning of the header, then bytes anywhere
    places = [*range(24), *draw.integers(0, len(content), 376).tolist()]
    good, bad = pf.load(file), tmp_path / "bad.safetensors"
    loaded = 0
    for place in places:
        changed = bytearray(content)
        changed[place] ^= int(draw.integers(1, 256))
        bad.write_bytes(bytes(changed))
        try:
            again = pf.load(bad)
        except ModelFileError:
            continue
        loaded += 1
        assert equal(again, good), f"byte {place} changed and the file loads as something else"
    assert loaded <= 2  # blanks that pad the header may become other blanks, nothing else


@pytest.mark.parametrize("bit", range(8))
def test_no_changed_bit_of_the_header_goes_unnoticed(file, tmp_path, bit):
    content, good, bad = file.read_bytes(), pf.load(file), tmp_path / "bad.safetensors"
    end = 8 + struct.unpack("<Q", content[:8])[0]
    for place in range(8 + bit, end, 29):
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        bad.write_bytes(bytes(changed))
        try:
            again = pf.load(bad)
        except ModelFileError:
            continue
        assert equal(again, good), f"bit {bit} of byte {place}"


# ---------------------------------------------------------------------- strangers


def _zip(path):
    torch.save({"a": torch.zeros(2)}, path)


STRANGERS = {
    "pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "pickle"),
    "old pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1}, protocol=0)), "not a safetens"),
    "torch zip": (_zip, "PyTorch checkpoint"),
    "empty": (lambda p: p.write_bytes(b""), "not a safetensors file"),
    "text": (lambda p: p.write_text("a,b\n1,2\n3,4\n"), "not a safetensors file"),
    "folder": (lambda p: p.mkdir(), "is a folder"),
    "nothing": (lambda p: None, "there is no such file"),
    "foreign": (lambda p: save_file({"a": torch.zeros(1)}, p), "not one that pushforward wrote"),
    "foreign with words": (
        lambda p: save_file({"a": torch.zeros(1)}, p, {"format": "pt"}),
        "not one that pushforward wrote",
    ),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_strangers_are_refused_with_their_reason(tmp_path, kind):
    path = tmp_path / "model.safetensors"
    write, says = STRANGERS[kind]
    write(path)
    assert says in refusal(path)


def test_a_pickle_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    path = tmp_path / "model.safetensors"
    for write in (
        lambda: path.write_bytes(pickle.dumps(Bomb())),
        lambda: torch.save(Bomb(), path),
    ):
        write()
        refusal(path)
    assert not (tmp_path / "ran").exists()


def test_a_newer_format_names_both_versions(tmp_path):
    path = forged(tmp_path / "m.safetensors", {}, number=FORMAT + 1, version="9.8.7")
    said = refusal(path)
    assert "9.8.7" in said
    assert f"format {FORMAT + 1}" in said
    assert "upgrade" in said


# ---------------------------------------------------------------------- descriptions


def normal(**arguments):
    return {"part": "bases.Normal", "arguments": {"features": 2, **arguments}}


MALICIOUS = {
    "a function": {"part": "os.system", "arguments": {"command": "true"}},
    "a function as a class": normal(mean={"class": "os.system", "keywords": {"command": "true"}}),
    "a private name": {"part": "flows.saving.load", "arguments": {"path": "x"}},
    "a module of ours": {"part": "flows.save", "arguments": {}},
    "an unknown dtype": normal(mean={"dtype": "nope"}),
    "no dtype": normal(mean={"dtype": "load"}),
    "no number": normal(mean={"float": "abc"}),
    "a list for a number": normal(mean={"float": [1]}),
    "no such tensor": normal(mean={"tensor": "argument.7"}),
    "a list for a tensor": normal(mean={"tensor": ["argument.7"]}),
    "no map": normal(mean={"map": 3}),
    "no class": normal(mean={"class": 3}),
    "no keywords": normal(mean={"class": "bases.Normal", "keywords": 3}),
    "no such argument": normal(colour="red"),
    "no argument of use": normal(features="two"),
    "itself": normal(mean={"same": 0}),
    "itself from behind": normal(mean={"same": -1}),
    "part of another kind": {"part": 3, "arguments": {}},
    "arguments of another kind": {"part": "bases.Normal", "arguments": [2]},
    "no description": "bases.Normal",
    "tensors that it does not have": {"part": "maps.Affine", "arguments": {}},
    "nothing": None,
}


@pytest.mark.parametrize("kind", MALICIOUS)
def test_a_description_that_makes_no_sense_is_refused(tmp_path, kind):
    refusal(forged(tmp_path / "m.safetensors", MALICIOUS[kind]))


def test_a_description_without_end_is_refused(tmp_path):
    text = '{"format":1,"version":"1","facts":{},"spec":' + "[" * 100_000 + "]" * 100_000 + "}"
    refusal(forged(tmp_path / "m.safetensors", None, text=text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "{}",
        '{"format":"one","version":"1"}',
        '{"format":Infinity,"version":"1"}',
        '{"format":1,"version":"1","spec":NaN,"digest":"0"}',
        '{"format":null,"version":"1"}',
    ],
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path, text):
    refusal(forged(tmp_path / "m.safetensors", None, text=text))


def test_a_header_without_a_description_is_refused(tmp_path):
    tensors = {"a": torch.zeros(1)}
    content = {"format": 1, "version": "1"}
    content["digest"] = _digest(content, tensors)
    refusal(forged(tmp_path / "m.safetensors", None, text=dumps(content), tensors=tensors))


def test_tensors_of_another_flow_are_refused(tmp_path):
    spec = describe(small())
    state = {f"state.{k}": v for k, v in flows.realnvp(3, layers=2, seed=0).state_dict().items()}
    said = refusal(forged(tmp_path / "m.safetensors", spec, tensors=state))
    assert "do not fit the description" in said


# ---------------------------------------------------------------------- classes of one's own


def test_a_class_of_ones_own_is_loaded_when_it_is_named(tmp_path):
    flow = Flow(T.Compose(Shift(2, by=1.5), T.Diagonal(2)), bases.Normal(2))
    path = pf.save(flow, tmp_path / "m.safetensors")
    said = refusal(path)
    assert "'Shift'" in said
    assert "classes=[Shift]" in said
    again = pf.load(path, classes=[Shift])
    x = torch.randn(5, 2)
    assert torch.equal(again.log_prob(x), flow.log_prob(x))
    assert any(type(module) is Shift for module in again.modules())


def test_a_lambda_is_refused_at_once_with_advice(tmp_path):
    def network(inputs, outputs):
        return torch.nn.Linear(inputs, outputs)

    for chosen in (network, lambda inputs, outputs: torch.nn.Linear(inputs, outputs)):
        flow = Flow(T.Coupling(2, map=maps.Affine(), network=chosen), bases.Normal(2))
        with pytest.raises(SpecError, match=r"network=.*cannot be written.*write it as a class"):
            pf.save(flow, tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_module_that_is_no_part_is_refused_with_advice(tmp_path):
    flow = Flow(T.Diagonal(2), bases.Normal(2), embed=torch.nn.Linear(1, 1))
    with pytest.raises(SpecError, match=r"pushforward\.spec\.Part"):
        pf.save(flow, tmp_path / "m.safetensors")


@pytest.mark.parametrize("wrong", [torch.nn.Linear(1, 1), {"a": 1}, None, flows.realnvp])
def test_what_is_no_part_is_refused(tmp_path, wrong):
    with pytest.raises(InputTypeError, match=r"pf\.save: got a"):
        pf.save(wrong, tmp_path / "m.safetensors")


def test_a_part_without_tensors_can_be_saved(tmp_path):
    again = pf.load(pf.save(maps.Affine(bound=2.0), tmp_path / "m.safetensors"))
    assert describe(again) == describe(maps.Affine(bound=2.0))


def test_a_part_of_a_flow_can_be_saved_alone(tmp_path):
    transform = small().transform
    again = pf.load(pf.save(transform, tmp_path / "m.safetensors"))
    x = torch.randn(4, 2)
    assert torch.equal(again(x)[0], transform(x)[0])


def test_a_flow_that_no_longer_fits_its_constructor_is_refused(tmp_path):
    flow = Flow(T.Diagonal(2), bases.Normal(2))
    flow.transform = T.Diagonal(2)  # replaced by its like: fine
    pf.save(flow, tmp_path / "m.safetensors")
    flow.register_buffer("extra", torch.zeros(1))
    with pytest.raises(SpecError, match="extra"):
        pf.save(flow, tmp_path / "m.safetensors")


def test_a_replaced_base_is_the_one_that_is_saved(tmp_path):
    flow = small()
    flow.base = bases.StudentT(2, df=3.0)
    again = pf.load(pf.save(flow, tmp_path / "m.safetensors"))
    assert isinstance(again.base, bases.StudentT)
    x = 3.0 * torch.randn(5, 2)
    assert torch.equal(again.log_prob(x), flow.log_prob(x))


# ---------------------------------------------------------------------- writing


def test_the_same_flow_gives_the_same_bytes(tmp_path):
    files = [pf.save(small(), tmp_path / f"{i}.safetensors").read_bytes() for i in range(3)]
    assert files[0] == files[1] == files[2]
    assert pf.save(small(seed=1), tmp_path / "other.safetensors").read_bytes() != files[0]


def test_an_accident_leaves_the_old_file(file, tmp_path, monkeypatch):
    before = file.read_bytes()

    def full(tensors, path, metadata):
        with open(path, "wb") as half:
            half.write(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):
        pf.save(small(seed=1), file)
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [file.name]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "nowhere" / "flow.safetensors"
    says = f"pf.save: {path}: the folder {path.parent} does not exist; make it first."
    for kind in (MissingFolderError, FileNotFoundError):
        with pytest.raises(kind) as caught:
            pf.save(small(), path)
        assert str(caught.value) == says


@pytest.mark.parametrize("accident", [KeyboardInterrupt, SystemExit, OSError])
def test_an_accident_at_the_last_step_leaves_the_old_file(file, tmp_path, monkeypatch, accident):
    before = file.read_bytes()

    def stopped(*_):
        raise accident

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stopped)
        with pytest.raises(accident):
            pf.save(small(seed=1), file)
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [file.name]


def test_a_missing_folder_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        pf.save(small(), tmp_path / "no" / "m.safetensors")


@pytest.mark.skipif(os.name == "nt", reason="modes are those of POSIX")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_a_file_is_the_umask_s_choice(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        path = pf.save(small(), tmp_path / "m.safetensors")
        assert os.umask(mask) == mask  # and it is left as it was
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_the_flow_is_left_as_it_is(tmp_path):
    flow = small().train()
    before = {k: v.clone() for k, v in flow.state_dict().items()}
    state = torch.get_rng_state()
    pf.load(pf.save(flow, tmp_path / "m.safetensors"))
    assert torch.equal(torch.get_rng_state(), state)
    assert flow.training
    assert all(torch.equal(v, before[k]) for k, v in flow.state_dict().items())


def test_a_loaded_flow_is_on_the_cpu_in_evaluation_mode(tmp_path):
    again = pf.load(pf.save(small().train(), tmp_path / "m.safetensors"))
    assert not any(module.training for module in again.modules())
    tensors = [*again.parameters(), *again.buffers()]
    assert {t.device.type for t in tensors} == {"cpu"}
    assert all(p.requires_grad for p in again.parameters())


def test_a_loaded_flow_can_be_trained_on(tmp_path):
    again = pf.load(pf.save(small(), tmp_path / "m.safetensors"))
    before = {k: v.clone() for k, v in again.named_parameters()}
    pf.fit(again, torch.randn(64, 2) * 3.0 + 1.0, steps=20, progress=False)
    assert any(not torch.equal(v, before[k]) for k, v in again.named_parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_survives(tmp_path, dtype):
    again = pf.load(pf.save(small().to(dtype), tmp_path / "m.safetensors"))
    assert again.dtype == dtype


def test_arguments_that_json_does_not_know_survive(tmp_path):
    low, high = torch.tensor([-1.0, 0.0]), torch.tensor([2.0, math.pi])
    base = bases.Uniform(2, low=low, high=high)
    again = pf.load(pf.save(Flow(T.Diagonal(2), base), tmp_path / "m.safetensors"))
    x = torch.tensor([[0.0, 1.0], [5.0, 1.0]])
    assert again.log_prob(x).tolist()[1] == -math.inf
    assert again.log_prob(x)[0].item() == pytest.approx(-math.log(3.0 * math.pi), rel=1e-6)


def test_facts_of_recipe_and_training_survive(tmp_path):
    flow = small()
    pf.fit(flow, torch.randn(64, 2), steps=3, progress=False)
    again = pf.load(pf.save(flow, tmp_path / "m.safetensors"))
    assert again.facts == flow.facts
    assert again.facts["recipe"]
    assert again.facts["training"]
    assert json.loads(json.dumps(again.facts)) == flow.facts


def test_nothing_of_a_file_is_needed_after_loading(file, tmp_path):
    flow = pf.load(file)
    want = flow.log_prob([[0.5, 1.0]])
    file.write_bytes(b"\0" * 4096)
    file.unlink()
    assert torch.equal(flow.log_prob([[0.5, 1.0]]), want)


def test_text_and_path_name_the_same_file(tmp_path):
    path = pf.save(small(), str(tmp_path / "m.safetensors"))
    assert path == tmp_path / "m.safetensors"
    assert equal(pf.load(str(path)), pf.load(path))


def test_a_part_changed_behind_its_constructor_is_refused(tmp_path):
    flow = pf.flows.realnvp(2, layers=2, hidden=(8,), seed=0)
    flow.transform.transforms.append(T.Reverse(2))  # it has no tensors to give it away
    with pytest.raises(SpecError, match="was changed after it was built"):
        pf.save(flow, tmp_path / "flow.safetensors")
    other = pf.flows.realnvp(2, layers=2, hidden=(8,), seed=0)
    other.transform.transforms[1].map.bound = 0.5
    with pytest.raises(SpecError, match="was changed after it was built"):
        pf.save(other, tmp_path / "flow.safetensors")
