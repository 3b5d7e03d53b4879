"""Ctrl-C: what is kept is said, and a run goes on where it stopped."""

import os
import signal
import subprocess
import sys
import time

import pytest
from tests.cli.conftest import numbers

import pushforward as pf

CODE = "from pushforward.cli import main; main()"
LONG = ("--set", "layers=2", "--set", "hidden=16", "--batch-size", "32")


@pytest.fixture
def start(tmp_path):
    """Start a command in ``tmp_path``; what still runs at the end is killed."""
    started = []

    def run(*words):
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, *words],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with process:  # closes the pipes
            process.kill()


def interrupt(process):
    """Press Ctrl-C a moment after the training began."""
    assert any("step 0/" in line for line in process.stderr)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_with_a_checkpoint_the_run_goes_on(start, tmp_path):
    numbers(200).write_csv(tmp_path / "t.csv")
    words = ("fit", "t.csv", "--epochs", "200", *LONG, "--checkpoint", "run")
    status, out, err = interrupt(start(*words))
    assert status == 130
    assert f"pushforward {' '.join(words)} --resume" in err
    assert "Saved" not in out
    assert not (tmp_path / "t.safetensors").exists()
    resumed = start(*words, "--resume")
    out, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, err
    assert "resuming at step" in err
    drawn = pf.load(tmp_path / "t.safetensors").sample(3, seed=0)
    straight = start(*words[:-2], "--out", "straight.safetensors", "--quiet")
    straight.communicate(timeout=120)
    assert pf.load(tmp_path / "straight.safetensors").sample(3, seed=0).equals(drawn)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_without_a_checkpoint_nothing_is_saved_and_that_is_said(start, tmp_path):
    numbers(200).write_csv(tmp_path / "t.csv")
    process = start("fit", "t.csv", "--epochs", "100000", *LONG)
    status, _, err = interrupt(process)
    assert status == 130
    assert "nothing was saved" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv"]
