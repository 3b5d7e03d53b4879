"""Tables, a model and a way to type commands, for the tests of this folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pushforward.cli import main

QUICK = ("--set", "layers=2", "--set", "hidden=16", "--epochs", "2", "--quiet")


@dataclass(frozen=True)
class Result:
    """What a command did."""

    status: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """What a command writes where it is called does not end up among the sources."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def typed(capsys):
    """Type a command: ``typed("info", "model.safetensors")``."""

    def run(*words):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return Result(end.value.code or 0, said.out, said.err)

    return run


def numbers(rows=300):
    """Three columns: b follows a, and c is free."""
    draw = np.random.default_rng(1)
    a = draw.normal(10.0, 2.0, rows)
    b = 0.5 * a + draw.normal(0.0, 0.3, rows)
    return pl.DataFrame({"a": a, "b": b, "c": draw.gamma(3.0, 1.0, rows)})


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with ``table.csv``, ``model.safetensors`` of it, and ``given.safetensors``.

    The second model gives a and b for a value of c.
    """
    place = tmp_path_factory.mktemp("cli")
    numbers().write_csv(place / "table.csv")
    for name, options in (("model", ()), ("given", ("--context", "c"))):
        out = place / f"{name}.safetensors"
        with pytest.raises(SystemExit) as end:
            main(["fit", str(place / "table.csv"), "--out", str(out), *QUICK, *options])
        assert not end.value.code
    return place


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return Path()
