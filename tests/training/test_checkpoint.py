"""A run that is broken off and resumed ends as if nothing had happened."""

import math
import os
import signal
import struct
import subprocess
import sys
import time

import pytest
import torch

from pushforward.errors import ArgumentError, ModelFileError, SpecError
from pushforward.flows import nsf
from pushforward.training import Checkpoints, fit

STEPS = 40


class Broken(Exception):
    """Stands for a kill: nothing is written after it."""


def run(flow, data, folder=None, resume=False, **more):
    checkpoint = None if folder is None else Checkpoints(folder, seconds=math.inf, steps=7)
    settings = {"steps": STEPS, "batch_size": 64, "lr": 0.01, "patience": 1000, **more}
    return fit(flow, data, checkpoint=checkpoint, resume=resume, progress=False, **settings)


def broken_after(steps):
    """A step hook that ends the run from outside, as a kill would."""
    taken = []

    def hook(*_):
        taken.append(1)
        if len(taken) > steps:
            raise Broken

    return hook


def figures(history):
    """The figures that do not depend on the clock."""
    keys = ("epoch", "step", "train_loss", "validation_loss", "lr", "gradient_norm")
    return [[getattr(e, key) for key in keys] for e in history.evaluations]


class Noisy(torch.nn.Module):
    """An objective that draws from every source there is."""

    def forward(self, flow, batch, generator):
        noise = torch.randn(batch.x.shape, generator=generator) + torch.randn(batch.x.shape)
        x = torch.nn.functional.dropout(batch.x + 0.01 * noise, 0.1, self.training)
        return -flow(x, batch.context).mean()


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)


@pytest.mark.parametrize("steps", [3, 7, 23, 39])
@pytest.mark.parametrize("case", ["plain", "noisy", "sgd", "no average"])
def test_a_killed_run_continues_bit_for_bit(tmp_path, build, ring, weights_of, same, steps, case):
    more = {
        "plain": {},
        "noisy": {"objective": Noisy()},
        "sgd": {"optimizer": sgd, "lr": None},
        "no average": {"ema": 0},
    }[case]
    undisturbed, killed, resumed = build(), build(), build()
    want = run(undisturbed, ring, **more)
    handle = killed.register_forward_pre_hook(broken_after_in_training(steps))
    with pytest.raises(Broken):
        run(killed, ring, tmp_path, **more)
    handle.remove()
    history = run(resumed, ring, tmp_path, resume=True, **more)
    assert same(weights_of(undisturbed), weights_of(resumed))
    assert figures(history) == figures(want)
    assert history.best_step == want.best_step
    assert history.repeated_steps == steps % 7


def broken_after_in_training(steps):
    hook = broken_after(steps)
    return lambda module, _: hook() if module.training else None


def test_a_run_killed_twice_counts_all_repetitions(tmp_path, build, ring, weights_of, same):
    undisturbed, resumed = build(), build()
    run(undisturbed, ring)
    for steps in (10, 9):  # 7 + 3 again, then 7 + 9 = 16: 2 again
        flow = build()
        flow.register_forward_pre_hook(broken_after_in_training(steps))
        with pytest.raises(Broken):
            run(flow, ring, tmp_path, resume=True)
    history = run(resumed, ring, tmp_path, resume=True)
    assert same(weights_of(undisturbed), weights_of(resumed))
    assert history.repeated_steps == 3 + 2


def test_a_finished_run_resumes_to_its_end(tmp_path, build, ring, weights_of, same):
    first, second = build(), build()
    history = run(first, ring, tmp_path)
    second.register_forward_pre_hook(broken_after_in_training(0))  # not one more step
    again = run(second, ring, tmp_path, resume=True)
    assert same(weights_of(first), weights_of(second))
    assert figures(again) == figures(history)
    assert again.stopped == "all steps taken"
    assert again.repeated_steps == 0
    assert not second.training


def test_early_stopping_counts_on(tmp_path, build, ring, weights_of, same):
    more = {"steps": 900, "lr": 0.03, "patience": 4}
    undisturbed, resumed, killed = build(), build(), build()
    want = run(undisturbed, ring[:80], **more)
    assert want.stopped == "no better for a while"
    last = want.evaluations[-1].step
    killed.register_forward_pre_hook(broken_after_in_training(last - 2))
    with pytest.raises(Broken):
        run(killed, ring[:80], tmp_path, **more)
    history = run(resumed, ring[:80], tmp_path, resume=True, **more)
    assert figures(history) == figures(want)
    assert same(weights_of(undisturbed), weights_of(resumed))


def test_a_data_loader_resumes_too(tmp_path, build, ring, weights_of, same):
    def loader(own):
        generator = torch.Generator().manual_seed(9) if own else None
        return torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(ring), batch_size=64, shuffle=True, generator=generator
        )

    for own in (False, True):
        more = {"validation": ring[:50], "batch_size": None}
        folder = tmp_path / str(own)
        undisturbed, killed, resumed = build(), build(), build()
        run(undisturbed, loader(own), **more)
        killed.register_forward_pre_hook(broken_after_in_training(24))
        with pytest.raises(Broken):
            run(killed, loader(own), folder, **more)
        history = run(resumed, loader(own), folder, resume=True, **more)
        assert same(weights_of(undisturbed), weights_of(resumed))
        assert history.repeated_steps == 3


# ---------------------------------------------------------------- Ctrl-C


@pytest.fixture
def keyboard():
    """Python's own answer to Ctrl-C, which a shell may have switched off for its jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def press(step):
    """A callback during which the user presses Ctrl-C."""

    def callback(event):
        if event.evaluation.step >= step:
            os.kill(os.getpid(), signal.SIGINT)

    return callback


@pytest.mark.usefixtures("keyboard")
def test_control_c_writes_and_says_how_to_go_on(tmp_path, build, ring, weights_of, same, capsys):
    undisturbed, stopped, resumed = build(), build(), build()
    run(undisturbed, ring)
    settings = {"steps": STEPS, "batch_size": 64, "lr": 0.01, "patience": 1000}
    history = fit(stopped, ring, checkpoint=tmp_path, callbacks=[press(20)], **settings)
    assert history.stopped == "interrupted"
    assert "resume=True" in capsys.readouterr().err
    assert history.evaluations[-1].step < STEPS
    assert not stopped.training
    again = fit(resumed, ring, checkpoint=tmp_path, resume=True, progress=False, **settings)
    assert again.stopped == "all steps taken"
    assert again.repeated_steps == 0
    assert same(weights_of(undisturbed), weights_of(resumed))


@pytest.mark.usefixtures("keyboard")
def test_control_c_without_a_checkpoint_is_passed_on(build, ring):
    flow = build()
    losses = []
    held = ring[::5]

    def note(event):
        losses.append(event.evaluation.validation_loss)

    with pytest.raises(KeyboardInterrupt):
        run(flow, ring, validation=held, callbacks=[note, press(20)])
    assert len(losses) > 1
    assert not flow.training
    with torch.no_grad():
        assert -flow.log_prob(held).mean().item() == pytest.approx(min(losses), abs=1e-5)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lr": 0.02}, "had lr 0.01, and this one has 0.02"),
        ({"steps": 50}, "had steps 40, and this one has 50"),
        ({"seed": 1}, "had seed 0"),
        ({"batch_size": 32}, "had batch_size 64"),
    ],
)
def test_other_settings_are_refused(tmp_path, build, ring, change, said):
    run(build(), ring, tmp_path)
    with pytest.raises(ArgumentError, match=said):
        run(build(), ring, tmp_path, resume=True, **change)


def test_other_data_and_another_flow_are_refused(tmp_path, build, ring):
    run(build(), ring, tmp_path)
    other = ring.clone()
    other[300, 1] += 1e-3
    with pytest.raises(ArgumentError, match="had data"):
        run(build(), other, tmp_path, resume=True)
    with pytest.raises(ArgumentError, match="had flow"):
        run(nsf(features=2, layers=3, hidden=(16,)), ring, tmp_path, resume=True)


@pytest.mark.parametrize("size", [0, 5, 100, 5000])
def test_a_truncated_checkpoint_is_refused(tmp_path, build, ring, size):
    run(build(), ring, tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    content = path.read_bytes()
    assert len(content) > 5000
    path.write_bytes(content[:size])
    with pytest.raises(ModelFileError, match=r"checkpoint.safetensors' is damaged"):
        run(build(), ring, tmp_path, resume=True)


def test_a_foreign_or_newer_file_is_refused(tmp_path, build, ring):
    from safetensors.torch import save_file

    path = tmp_path / "checkpoint.safetensors"
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ModelFileError, match="is not a checkpoint"):
        run(build(), ring, tmp_path, resume=True)
    save_file({"x": torch.zeros(2)}, path, {"pushforward.checkpoint": '{"format": 99}'})
    with pytest.raises(ModelFileError, match="has format 99, this version reads 1"):
        run(build(), ring, tmp_path, resume=True)


def test_an_optimizer_that_cannot_be_written_is_refused(tmp_path, build, ring):
    class Odd(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            self.state[self.param_groups[0]["params"][0]]["odd"] = object()

    with pytest.raises(SpecError, match="state of Odd holds a object"):
        run(build(), ring, tmp_path, optimizer=lambda ps: Odd(ps, lr=0.01), lr=None)


# ---------------------------------------------------------------- the folder


def test_resuming_without_a_checkpoint_begins_anew(tmp_path, build, ring, capsys):
    (tmp_path / "steps").write_bytes(struct.pack("<q", 5))  # killed before the first checkpoint
    settings = {"steps": 10, "batch_size": 64}
    history = fit(build(), ring, checkpoint=tmp_path, resume=True, **settings)
    assert "beginning at step 0; 5 steps are taken again" in capsys.readouterr().err
    assert history.repeated_steps == 5
    assert history.evaluations[-1].step == 10


def test_a_new_run_keeps_the_old_ones_checkpoint(tmp_path, build, ring):
    run(build(), ring, tmp_path)
    old = (tmp_path / "checkpoint.safetensors").read_bytes()
    run(build(), ring, tmp_path, seed=1)
    assert (tmp_path / "previous.safetensors").read_bytes() == old
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["checkpoint.safetensors", "previous.safetensors", "steps"]


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    from pushforward.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, Checkpoint({"x": torch.ones(2)}, {"format": 1}))

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_checkpoint(path, Checkpoint({"x": torch.zeros(2)}, {"format": 1}))
    assert read_checkpoint(path).tensors["x"].tolist() == [1.0, 1.0]
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.safetensors"]


# ---------------------------------------------------------------- a real kill

CHILD = """
import sys, torch
from pushforward.flows import nsf
from pushforward.training import Checkpoints, fit
torch.set_num_threads(1)
flow = nsf(features=2, layers=2, hidden=(16,), bins=4, seed=3)
rows = torch.load(sys.argv[1], weights_only=True)
checkpoint = Checkpoints(sys.argv[2], seconds=1e9, steps=50)
fit(flow, rows, steps=5000, batch_size=64, patience=1e9, checkpoint=checkpoint, progress=False)
"""


def steps_noted(counter):
    """Steps in the file; none while it is not there or being made."""
    noted = counter.read_bytes() if counter.exists() else b""
    return struct.unpack("<q", noted)[0] if len(noted) == 8 else 0


def test_a_real_kill_loses_at_most_one_interval(tmp_path, build, ring):
    torch.save(ring, tmp_path / "rows.pt")
    folder = tmp_path / "run"
    command = [sys.executable, "-c", CHILD, str(tmp_path / "rows.pt"), str(folder)]
    child = subprocess.Popen(command)
    try:
        counter = folder / "steps"
        deadline = time.monotonic() + 60
        while steps_noted(counter) < 120:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        child.kill()
        child.wait()
    (done,) = struct.unpack("<q", counter.read_bytes())
    seen = []

    def stop(event):
        seen.append(event)
        return True

    history = fit(
        build(),
        ring,
        steps=5000,
        batch_size=64,
        patience=1e9,
        checkpoint=Checkpoints(folder, seconds=1e9, steps=50),
        resume=True,
        progress=False,
        callbacks=[stop],
    )
    assert history.repeated_steps in (done % 50, 50)  # 50: killed while writing
    assert len(seen) == 1
    assert seen[0].evaluation.step >= done - history.repeated_steps
