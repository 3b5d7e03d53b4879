"""`pushforward bench`: a table or JSON, of rows by name."""

import pytest
import torch

from pushforward.training.speed import clock

ROW = ("--row", "coupling-train-2")


@pytest.fixture(autouse=True)
def _no_collection(monkeypatch):
    """Between rounds garbage is collected, which takes long where other tests left much."""
    monkeypatch.setattr(clock.gc, "collect", lambda: 0)


def test_a_row_is_measured_and_shown(typed):
    said = typed("bench", *ROW, "--repeats", 2)
    assert said.status == 0
    for part in ("kernels:", "D = 2: training step, 256 rows", "networks alone"):
        assert part in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_in_json_and_with_as_many_threads_as_asked(typed):
    before = torch.get_num_threads()
    facts = typed(
        "bench", *ROW, "--quick", "--repeats", 1, "--threads", before + 1, "--json"
    ).json()
    assert facts["threads"] == before + 1
    assert torch.get_num_threads() == before
    ours, networks = facts["rows"]
    assert (ours["subject"], networks["subject"]) == ("pushforward", "networks alone")
    assert ours["row"] == "coupling-train-2"
    assert ours["repeats"] == 1
    assert 0 < ours["least"] <= ours["median"] <= ours["most"]
    assert ours["parameters"] == networks["parameters"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure")
def test_what_cannot_be_measured_is_said(typed):
    said = typed("bench", "--row", "gpu-train-43")
    assert said.status == 0
    assert "not measured: there is no GPU" in said.out
    (row,) = typed("bench", "--row", "gpu-train-43", "--json").json()["rows"]
    assert row["median"] is None


def test_a_row_that_there_is_not(typed):
    said = typed("bench", "--row", "coupling-trian-2")
    assert said.status == 2
    assert said.err == (
        "Error: --row: there is no row 'coupling-trian-2'. Did you mean 'coupling-train-2'?\n"
    )
