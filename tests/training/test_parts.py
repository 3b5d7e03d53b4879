"""The parts of training: schedule, average, guarded optimizer, defaults, history, progress."""

import io
import math

import numpy as np
import pytest
import torch

from pushforward.errors import ArgumentError, InputTypeError
from pushforward.objectives import Batch, MaximumLikelihood
from pushforward.training.average import Average
from pushforward.training.defaults import default_batch_size, default_steps, evaluation_interval
from pushforward.training.history import Evaluation, History, SkippedStep
from pushforward.training.optimizer import (
    GuardedOptimizer,
    adamw,
    build_optimizer,
    schedule,
    warm_up_steps,
)
from pushforward.training.progress import Bar, Lines, Silent, choose_progress

# ---------------------------------------------------------------- objective


def test_weights_are_repetitions(build, ring):
    flow = build().fit(ring)
    objective = MaximumLikelihood()
    counts = torch.randint(0, 4, (len(ring),), generator=torch.Generator().manual_seed(0))
    weights = counts / counts.float().mean()
    repeated = objective(flow, Batch(ring.repeat_interleave(counts, 0)))
    torch.testing.assert_close(objective(flow, Batch(ring, None, weights)), repeated)


def test_maximum_likelihood_is_the_mean_negative_log_density(gaussian):
    x = torch.randn(50, 2)
    want = 0.5 * (x.square().sum(1).mean() + 2 * math.log(2 * math.pi))
    torch.testing.assert_close(MaximumLikelihood()(gaussian(), Batch(x)), want)


# ---------------------------------------------------------------- schedule


def test_schedule_rises_linearly_then_falls_as_a_cosine():
    steps, warm_up = 1000, warm_up_steps(1000)
    values = np.array([schedule(step, steps) for step in range(steps + 1)])
    rise = np.diff(values[: warm_up + 1])
    np.testing.assert_allclose(rise, rise[0])
    assert values[warm_up] == values.max() == 1.0
    assert values[steps] == pytest.approx(0, abs=1e-12)
    share = (np.arange(warm_up, steps + 1) - warm_up) / (steps - warm_up)
    np.testing.assert_allclose(values[warm_up:], 0.5 + 0.5 * np.cos(np.pi * share), atol=1e-12)


def test_a_run_of_one_step_has_a_learning_rate():
    assert schedule(0, 1) == 1.0


# ---------------------------------------------------------------- average


def test_average_is_what_one_writes_by_hand():
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(3, 2, generator=generator)) for _ in range(3)]
    by_hand = [p.detach().numpy().astype(np.float64) for p in parameters]
    average = Average(parameters, decay=0.9)
    for update in range(1, 120):
        with torch.no_grad():
            for p in parameters:
                p.add_(torch.randn(p.shape, generator=generator))
        average.update()
        decay = min(0.9, (1 + update) / (10 + update))
        by_hand = [
            decay * a + (1 - decay) * p.detach().numpy()
            for a, p in zip(by_hand, parameters, strict=True)
        ]
    live = [p.detach().clone() for p in parameters]
    with average.applied():
        for p, want in zip(parameters, by_hand, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), want, rtol=1e-5, atol=1e-5)
    for p, was in zip(parameters, live, strict=True):
        assert torch.equal(p, was)


def test_no_average_is_the_parameter_itself():
    p = torch.nn.Parameter(torch.zeros(2))
    average = Average([p], decay=0.0)
    with torch.no_grad():
        p.fill_(3.0)
    average.update()
    with average.applied():
        assert p.tolist() == [3.0, 3.0]


# ---------------------------------------------------------------- optimizer


def _parameters():
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 3), (3,), ())
    return [torch.nn.Parameter(torch.randn(s, generator=generator)) for s in shapes]


BUILDERS = {
    "flagged": lambda ps: torch.optim.AdamW(ps, lr=0.1, weight_decay=0.1, fused=True),
    "fused": lambda ps: torch.optim.AdamW(ps, lr=0.1, weight_decay=0.1, fused=True),
    "plain": lambda ps: torch.optim.AdamW(ps, lr=0.1, weight_decay=0.1),
    "momentum": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9),
}


def _state(optimizer, parameters):
    found = [p.detach().clone() for p in parameters]
    for p in parameters:
        found += [v.clone() for v in optimizer.state[p].values() if isinstance(v, torch.Tensor)]
    return found


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize("bad", ["loss nan", "loss inf", "gradient nan", "gradient inf"])
def test_a_step_that_is_not_finite_changes_nothing(kind, bad):
    parameters = _parameters()
    optimizer = BUILDERS[kind](parameters)
    guarded = GuardedOptimizer(optimizer, steps=100, flagged=kind == "flagged")

    def loss():
        return sum(p.square().sum() for p in parameters)

    for step in range(3):
        value = loss()
        value.backward()
        guarded.step(step, value)
    before = _state(optimizer, parameters)
    value = loss()
    value.backward()
    if bad.startswith("loss"):
        value = value * float(bad.split()[1])
    else:
        parameters[0].grad[0, 0] = float(bad.split()[1])
    figures = guarded.step(3, value)
    assert not bool(torch.isfinite(figures).all())
    after = _state(optimizer, parameters)
    assert len(before) == len(after) > 3
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    value = loss()
    value.backward()
    guarded.step(4, value)
    assert not torch.equal(parameters[0], before[0])


@pytest.mark.parametrize("kind", BUILDERS)
def test_the_gradient_is_clipped_by_its_global_norm(kind):
    clipped, scaled = _parameters(), _parameters()
    gradients = [100 * torch.ones_like(p) for p in clipped]
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    flagged = kind == "flagged"
    guarded = GuardedOptimizer(BUILDERS[kind](clipped), steps=1, clip=2.0, flagged=flagged)
    by_hand = BUILDERS[kind](scaled)
    for p, q, g in zip(clipped, scaled, gradients, strict=True):
        p.grad, q.grad = g.clone(), g * 2.0 / norm
    figures = guarded.step(0, torch.zeros(()))
    by_hand.step()
    assert figures[1].item() == pytest.approx(norm, rel=1e-6)
    for p, q in zip(clipped, scaled, strict=True):
        torch.testing.assert_close(p, q)


def test_only_matrices_decay():
    parameters = _parameters()
    before = [p.detach().clone() for p in parameters]
    optimizer = adamw(parameters, lr=1.0)
    for p in parameters:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    changed = [not torch.equal(p, b) for p, b in zip(parameters, before, strict=True)]
    assert changed == [True, False, False]


def test_an_optimizer_that_is_not_a_callable_is_refused():
    parameters = _parameters()
    with pytest.raises(InputTypeError, match="expected a callable from parameters"):
        build_optimizer(parameters, torch.optim.SGD(parameters, lr=0.1), 0.1)
    with pytest.raises(InputTypeError, match="optimizer returned a int"):
        build_optimizer(parameters, lambda ps: 3, 0.1)
    with pytest.raises(ArgumentError, match="LBFGS"):
        build_optimizer(parameters, torch.optim.LBFGS, 0.1)


# ---------------------------------------------------------------- defaults


@pytest.mark.parametrize("rows", [1, 20, 500, 20_000, 1_000_000, 30_000_000])
def test_defaults_see_every_row_and_small_tables_often(rows):
    batch = min(default_batch_size(rows), rows)
    steps = default_steps(rows, 6, batch)
    assert 1 <= batch <= 2048
    assert steps * batch >= rows
    if rows <= 1000:
        assert steps * batch > 50 * rows


@pytest.mark.parametrize("per_epoch", [1, 3, 47, 440, 5000, None])
@pytest.mark.parametrize("steps", [1, 10, 1500, 7000])
def test_evaluations_are_neither_rare_nor_frequent(steps, per_epoch):
    batches = 0.1 * (per_epoch or 10)
    interval = evaluation_interval(steps, per_epoch, batches)
    assert 1 <= interval <= steps
    if steps >= 1500:
        looks, cost = steps / interval, 0.5 * batches / interval  # in steps a step
        assert looks <= 160  # a hundred, rounded to whole epochs
        assert cost <= 0.17
        assert looks >= 20 or cost >= 0.06


# ---------------------------------------------------------------- history


def _history():
    return History(
        evaluations=[
            Evaluation(0.0, 0, None, 3.0, 1e-3, None, 0.1, None),
            Evaluation(1.0, 10, 2.5, math.inf, 5e-4, 1.5, 1.0, 1000.0),
            Evaluation(2.0, 20, 2.0, 2.2, 0.0, 1.2, 2.0, 1100.0),
        ],
        best_step=20,
        stopped="all steps taken",
        seconds=2.0,
        skipped=[SkippedStep(4, "layer 'Poison'")],
        repeated_steps=3,
        settings={"batch_size": 32, "patience": math.inf},
    )


def test_history_survives_json():
    history = _history()
    assert History.from_json(history.to_json()) == history
    with pytest.raises(ArgumentError, match="is not a history"):
        History.from_json('{"evaluations": [1]}')


def test_history_as_a_frame_and_as_words():
    history = _history()
    frame = history.to_frame()
    assert frame.columns[:4] == ["epoch", "step", "train_loss", "validation_loss"]
    assert frame["train_loss"].to_list() == [None, 2.5, 2.0]
    assert history.best.validation_loss == 2.2
    assert history.best_epoch == 2.0
    text = repr(history)
    assert "20 steps" in text
    assert "2.2000 (untrained 3.0000)" in text
    assert "1 steps skipped" in text
    assert "3 steps taken again" in text


# ---------------------------------------------------------------- progress


def test_lines_are_plain_and_not_too_many():
    stream = io.StringIO()
    lines = Lines(100, stream, seconds=1000.0)
    lines.update(0, None, 3.0, 0.0)
    lines.update(50, 2.0, 2.5, 1000.0)  # too soon
    lines.update(100, 1.5, 2.0, 1234.5)
    first, last = stream.getvalue().splitlines()
    assert first.startswith("step 0/100  train –  validation 3.0000 nats")
    assert "train 1.5000  validation 2.0000 nats  1,234 rows/s" in last
    assert "\x1b" not in stream.getvalue()


def test_bar_shows_nats_and_speed():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    bar = choose_progress(True, 100, stream=stream)
    assert isinstance(bar, Bar)
    bar.update(40, 1.5, 2.25, 1234.0)
    bar.note("a [sentence]")
    bar.stop()
    shown = stream.getvalue()
    for part in (
        "40/100",
        "train 1.5000",
        "validation 2.2500 nats",
        "1,234 rows/s",
        "a [sentence]",
    ):
        assert part in shown


def test_progress_is_chosen_by_where_it_goes():
    assert isinstance(choose_progress(False, 10), Silent)
    assert isinstance(choose_progress(True, 10, stream=io.StringIO()), Lines)
