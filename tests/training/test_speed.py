"""The clock is fair, and what it times is what the table says."""

import pytest
import torch

import pushforward as pf
from pushforward.errors import ArgumentError
from pushforward.training.speed import ROWS, Absent, clock, find_row, interleave, training_step
from pushforward.training.speed.jobs import densities, networks_alone, samples
from pushforward.training.speed.rows import build, recomputing


def test_calls_take_turns_after_they_are_warm():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    took = interleave(calls, repeats=3)
    assert "".join(order) == "aabb" + 3 * "aabb"  # twice; then each time one that does not count
    assert all(one.repeats == 3 for one in took.values())
    assert all(0 <= one.least <= one.median <= one.most for one in took.values())


@pytest.fixture(autouse=True)
def _no_collection(monkeypatch):
    """Between rounds garbage is collected, which takes long where other tests left much."""
    monkeypatch.setattr(clock.gc, "collect", lambda: 0)


@pytest.mark.parametrize(("slow", "slowest", "repeats", "calls"), [(-1, 9, 3, 5), (-1, -1, 1, 1)])
def test_slow_calls_are_repeated_a_few_times_only(monkeypatch, slow, slowest, repeats, calls):
    monkeypatch.setattr(clock, "SLOW", slow)
    monkeypatch.setattr(clock, "SLOWEST", slowest)
    monkeypatch.setattr(clock, "BRIEF", -1)
    done = []
    (took,) = interleave({"a": lambda: done.append(0)}, repeats=20).values()
    assert took.repeats == repeats
    assert len(done) == calls


def test_a_first_call_that_builds_does_not_make_a_call_slow(monkeypatch):
    seconds = iter([7.0] + [0.01] * 30)
    monkeypatch.setattr(clock, "_seconds", lambda call: next(seconds))
    (took,) = interleave({"a": lambda: None}, repeats=20).values()
    assert took.repeats == 20
    assert took.most == pytest.approx(10.0)


def test_names_of_rows_are_found_and_others_refused():
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(find_row(row.name) is row for row in ROWS)
    with pytest.raises(ArgumentError, match="Did you mean 'maf-train-43'"):
        find_row("maf-trian-43")


def test_a_step_is_a_step_of_likelihood():
    flow = build("coupling", 2)
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    step = training_step(flow.parameters(), flow.log_prob, x)
    before = flow.log_prob(x).mean()
    for _ in range(20):
        step()
    assert flow.log_prob(x).mean() > before


def test_scores_and_samples_are_drawn_without_gradients():
    seen = []

    def work(x):
        seen.append(torch.is_grad_enabled())
        return torch.zeros(1)

    densities(work, torch.zeros(1))()
    samples(work, 3)()
    assert seen == [False, False]


@pytest.mark.parametrize("kind", ["coupling", "autoregressive", "maf", "realnvp"])
def test_flows_are_not_the_identity_and_always_the_same(kind):
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    flow, again = build(kind, 3, 2), build(kind, 3, 2)
    assert (flow.encode(x) - x).abs().max() > 0.01
    assert torch.equal(flow.encode(x), again.encode(x))


def test_the_networks_alone_are_all_that_is_trained_in_a_plain_flow():
    flow = build("coupling", 5)
    subject = networks_alone(flow, (128, 128), batch=8)
    assert subject.parameters == sum(one.numel() for one in flow.parameters())
    subject.call()


def test_a_flow_that_recomputes_is_the_same_flow_or_said_to_be_absent():
    flow = build("coupling", 3, 2)
    other = recomputing(flow)
    if isinstance(other, Absent):
        assert "recompute" in other.reason
        with pytest.raises(TypeError):
            pf.transforms.Compose(pf.transforms.Reverse(2), memory="recompute")
    else:
        x = torch.randn(8, 3)
        torch.testing.assert_close(other.log_prob(x), flow.log_prob(x))
