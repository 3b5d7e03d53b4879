"""`pushforward info` and `bench` say whether the compiled kernels take part."""

import json
import os
import subprocess
import sys

import pytest

import pushforward as pf
from pushforward import kernels


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "flow.safetensors"
    pf.save(pf.flows.realnvp(4, layers=2, hidden=(8,), seed=0), path)
    return path


def fresh(*words, **environment):
    """A command in a process of its own: kernels are chosen when they are loaded."""
    code = f"from pushforward.cli import main; main({[str(word) for word in words]!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_info_says_once_why_they_are_absent_and_what_to_do(model):
    said = " ".join(fresh("info", model, PUSHFORWARD_KERNELS="0").split())
    assert said.count("kernels") == 1
    assert (
        "The compiled kernels are absent: they are switched off by PUSHFORWARD_KERNELS=0. Flows "
        "give the same results without them, several times more slowly; to have them, remove "
        "PUSHFORWARD_KERNELS from the environment."
    ) in said


def test_where_they_were_not_compiled_a_compiler_is_named(model, typed, monkeypatch):
    monkeypatch.setattr(kernels.library, "LIBRARY", None)
    monkeypatch.setattr(kernels.library, "_REASON", "they were not compiled")
    said = " ".join(typed("info", model).out.split())
    assert "absent: they were not compiled." in said
    assert said.endswith("to have them, install a C compiler and then pushforward again.")


@pytest.mark.parametrize("words", [("info",), ("bench", "--row", "gpu-train-43")], ids=str)
def test_programs_are_told(model, words):
    words = (*words, model) if words == ("info",) else words
    facts = json.loads(fresh(*words, "--json", PUSHFORWARD_KERNELS="0"))
    assert facts["kernels"] == "absent: they are switched off by PUSHFORWARD_KERNELS=0"


@pytest.mark.skipif(not kernels.available(), reason="the kernels are not compiled")
def test_info_says_that_they_are_there(model, typed):
    assert f"\nkernels: compiled, {kernels.target()}\n" in typed("info", model).out
    assert typed("info", model, "--json").json()["kernels"] == f"compiled, {kernels.target()}"
