"""What a user of ``pf.fit`` sees: the flow, the history, and nothing else changed."""

import functools
import math
import random

import numpy as np
import pytest
import torch

from pushforward.bases import Normal
from pushforward.errors import ArgumentError, NotFiniteError
from pushforward.flows import Flow, nsf
from pushforward.training import Event, StopTraining, fit
from pushforward.transforms import Compose, Diagonal, Standardize, Transform


def quick(flow, data, **more):
    settings = {"steps": 60, "batch_size": 64, "lr": 0.01, "progress": False, **more}
    return fit(flow, data, **settings)


# ---------------------------------------------------------------- what it learns


def test_a_gaussian_is_learnt_to_its_entropy(gaussian):
    generator = torch.Generator().manual_seed(0)
    x = 2.0 + 0.5 * torch.randn(4000, 2, generator=generator)
    flow = gaussian()
    history = quick(flow, x, steps=800, lr=0.1, patience=math.inf)
    entropy = 2 * (0.5 * math.log(2 * math.pi * math.e) + math.log(0.5))
    assert history.best.validation_loss == pytest.approx(entropy, abs=0.1)
    assert history.evaluations[0].validation_loss > 4
    assert history.stopped == "all steps taken"


def test_a_spline_flow_learns_the_ring(build, ring):
    flow = build()
    assert quick(flow, ring, steps=300) is not None
    untrained = build().fit(ring)
    gain = (flow.log_prob(ring) - untrained.log_prob(ring)).mean()
    assert gain > 0.4
    assert not flow.training


def test_a_conditional_flow_learns_from_its_context(ring):
    flow = nsf(features=1, context=1, layers=1, hidden=(16,), bins=4, seed=0)
    x, context = ring[:, :1], ring[:, 1:]
    quick(flow, x, context=context, steps=200)
    with torch.no_grad():
        right = flow.log_prob(x, context).mean()
        wrong = flow.log_prob(x, context.roll(1, 0)).mean()
    assert right > wrong + 0.3


def test_weights_choose_what_is_learnt(gaussian):
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([torch.randn(300, 2, generator=generator) + c for c in (-3.0, 3.0)])
    weights = torch.cat([torch.zeros(300), torch.full((300,), 7.0)])
    flow = gaussian()
    quick(flow, x, weights=weights, steps=400, lr=0.1)
    mean = flow.decode(torch.zeros(2)).detach()
    torch.testing.assert_close(mean, x[300:].mean(0), atol=0.15, rtol=0)


def test_only_ratios_of_weights_matter(build, ring, weights_of, same):
    weights = torch.rand(600, generator=torch.Generator().manual_seed(4))
    first, second = build(), build()
    quick(first, ring, weights=weights)
    quick(second, ring, weights=64 * weights)  # a power of two, so that no rounding differs
    assert same(weights_of(first), weights_of(second))


def test_validation_is_the_exact_weighted_mean(build, ring):
    flow = build()
    held, weights = ring[:205], torch.rand(205, generator=torch.Generator().manual_seed(2))
    history = quick(flow, ring, validation=(held, None, weights), ema=0)
    with torch.no_grad():
        want = -(flow.log_prob(held) * weights).sum() / weights.sum()
    assert history.best.validation_loss == pytest.approx(want.item(), abs=1e-5)


# ---------------------------------------------------------------- the same again


def test_same_seed_same_weights_and_another_seed_others(build, ring, weights_of, same):
    flows = [build() for _ in range(3)]
    histories = [quick(f, ring, seed=s) for f, s in zip(flows, (5, 5, 6), strict=True)]
    assert same(weights_of(flows[0]), weights_of(flows[1]))
    assert not same(weights_of(flows[0]), weights_of(flows[2]))
    losses = [[e.validation_loss for e in h.evaluations] for h in histories]
    assert losses[0] == losses[1]


def test_the_callers_random_state_is_left_alone(build, ring):
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002  (the global state is the point)
    random.seed(11)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    quick(build(), ring, steps=10, callbacks=[lambda event: event.flow.sample(3) is None])
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert before[2] == random.getstate()


def test_the_callers_random_state_does_not_matter(build, ring, weights_of, same):
    flows = [build(), build()]
    for seed, flow in enumerate(flows):
        torch.manual_seed(seed)
        quick(flow, ring)
    assert same(*map(weights_of, flows))


def test_a_callback_that_draws_changes_nothing(build, ring, weights_of, same):
    def noisy(flow, batch, generator):
        return -flow(batch.x + 0.01 * torch.randn(batch.x.shape)).mean()

    flows = [build(), build()]
    quick(flows[0], ring, objective=noisy)
    quick(flows[1], ring, objective=noisy, callbacks=[lambda event: torch.rand(7).sum() < 0])
    assert same(*map(weights_of, flows))


# ---------------------------------------------------------------- which weights are kept


@pytest.mark.parametrize("ema", [0, 0.9])
def test_the_best_weights_are_kept(build, ring, ema):
    held = ring[::7]
    flow = build()
    history = quick(flow, ring[1:90], validation=held, steps=300, lr=0.03, ema=ema)
    losses = [e.validation_loss for e in history.evaluations]
    assert min(losses) < losses[-1]  # it did overfit
    with torch.no_grad():
        kept = -flow.log_prob(held).mean().item()
    assert kept == pytest.approx(min(losses), abs=1e-5)
    assert history.best.validation_loss == min(losses)


def test_the_untrained_flow_is_kept_where_training_hurts(build, ring, weights_of, same):
    flow, untrained = build(), build()
    history = quick(flow, ring, steps=40, lr=5.0)
    assert history.best_step == 0
    assert history.evaluations[-1].validation_loss > history.evaluations[0].validation_loss
    # what looks at data has looked; no parameter has moved
    ours, theirs = dict(flow.named_parameters()), dict(untrained.named_parameters())
    assert all(torch.equal(ours[n], theirs[n]) for n in theirs)
    assert not same(weights_of(flow), weights_of(untrained))


def test_a_gradient_too_large_to_square_is_named(build, ring):
    with pytest.raises(NotFiniteError, match="the norm of the gradient, whose parts are finite"):
        quick(build(), ring, steps=40, lr=50.0)


def test_without_validation_the_last_weights_are_kept(build, ring):
    history = quick(build(), ring, validation=0)
    assert history.best_step == 60
    assert all(e.validation_loss is None for e in history.evaluations)
    assert "no validation rows" in repr(history)


def test_a_run_without_gain_stops_early(build, ring):
    history = quick(build(), ring[:80], steps=4000, lr=0.03, patience=5)
    assert history.stopped == "no better for a while"
    last, steps = history.evaluations[-1].step, [e.step for e in history.evaluations]
    assert last < 4000
    assert len(steps) - 1 - steps.index(history.best_step) == 5


def test_a_flow_without_parameters_is_only_fitted(ring):
    flow = Flow(Standardize(2), Normal(2))
    history = quick(flow, ring)
    assert history.stopped == "nothing to train"
    assert history.best.step == 0
    assert math.isfinite(history.best.validation_loss)


# ---------------------------------------------------------------- what is not finite


def test_one_bad_batch_is_skipped_and_its_layer_named(poisoned, ring):
    x = ring.clone()
    x[17, 0] = 1e4
    flow = poisoned()
    history = quick(flow, x, validation=0, steps=18, epochs=None)  # two epochs of nine batches
    assert history.skipped_steps in (1, 2)  # the short last batch is left out
    for skipped in history.skipped:
        assert "'1.Poison' (log-determinant, 1 of 64 rows)" in skipped.source
    assert all(bool(torch.isfinite(p).all()) for p in flow.parameters())
    assert math.isfinite(history.evaluations[-1].train_loss)


def test_three_bad_steps_in_a_row_stop_the_run(poisoned, ring):
    flow = poisoned()
    before = {n: p.detach().clone() for n, p in flow.named_parameters()}
    x = ring.clone()
    x[:, 0] = 1e4
    with pytest.raises(NotFiniteError, match=r"3 steps in a row \(steps 0 to 2\).*'1.Poison'"):
        quick(flow, x)
    assert all(torch.equal(p, before[n]) for n, p in flow.named_parameters())
    assert not flow.training


class Kink(Transform):
    """The identity with an infinite slope at zero for its own weight's gradient."""

    event_shape = (2,)

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))

    def _forward(self, x, context):
        return x + self.weight.abs().sqrt(), torch.zeros_like(x[..., 0])

    def _inverse(self, z, context):
        return z, torch.zeros_like(z[..., 0])


def test_a_gradient_that_is_not_finite_is_traced_to_its_parameter(ring):
    flow = Flow(Compose(Diagonal(2), Kink()), Normal(2))
    with pytest.raises(NotFiniteError, match=r"gradient of transform.transforms.1.weight"):
        quick(flow, ring)


# ---------------------------------------------------------------- callbacks


def test_callbacks_see_the_evaluated_flow_and_can_stop(build, ring):
    seen = []
    held = ring[::5]

    def look(event):
        assert isinstance(event, Event)
        assert not event.flow.training
        with torch.no_grad():
            loss = -event.flow.log_prob(held).mean().item()
        assert loss == pytest.approx(event.evaluation.validation_loss, abs=1e-5)
        seen.append(event.evaluation.step)
        return len(seen) == 3

    history = quick(build(), ring, validation=held, callbacks=[look], steps=200)
    assert history.stopped == "callback"
    assert seen == [e.step for e in history.evaluations]
    assert len(seen) == 3


def test_a_callback_can_stop_with_a_reason(build, ring):
    def stop(event):
        if event.evaluation.step > 0:
            raise StopTraining("good enough")

    history = quick(build(), ring, callbacks=[stop], steps=200)
    assert history.stopped == "callback: good enough"


def test_an_error_in_a_callback_leaves_the_best_weights(build, ring):
    flow = build()
    losses = []

    def fail(event):
        losses.append(event.evaluation.validation_loss)
        if event.evaluation.step >= 40:
            raise RuntimeError("the disk is full")

    held = ring[::5]
    with pytest.raises(RuntimeError, match="the disk is full"):
        quick(flow, ring, callbacks=[fail], validation=held)
    assert not flow.training
    with torch.no_grad():
        assert -flow.log_prob(held).mean().item() == pytest.approx(min(losses), abs=1e-5)


# ---------------------------------------------------------------- settings


def test_float64_trains_in_float64(build, ring):
    flow = build()
    quick(flow, ring, precision="float64", steps=10)
    assert flow.dtype == torch.float64
    assert flow.log_prob(ring).dtype == torch.float64
    with pytest.raises(ArgumentError, match="flow is float64"):
        quick(flow, ring)


def test_bfloat16_trains_and_leaves_float32(build, ring):
    flow = build()
    history = quick(flow, ring, precision="bfloat16", steps=200)
    assert {p.dtype for p in flow.parameters()} == {torch.float32}
    assert history.best.validation_loss < history.evaluations[0].validation_loss - 0.3


def test_another_optimizer_is_scheduled_too(build, ring):
    rates = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    quick(build(), ring, optimizer=lambda ps: Spy(ps, lr=0.5, momentum=0.9), lr=None)
    assert len(rates) == 60
    assert max(rates) == pytest.approx(0.5)
    assert rates[-1] < 0.01


def test_an_objective_of_ones_own(gaussian, ring):
    class Pull:
        def __call__(self, flow, batch, generator):
            target = 1.0 + torch.rand((), generator=generator)
            z = flow.encode(torch.zeros(1, 2))
            return (z - target).square().sum() + 0 * batch.x.sum()

    flow = gaussian()
    quick(flow, ring, objective=Pull(), steps=400, lr=0.05)
    z = flow.encode(torch.zeros(2)).detach()
    torch.testing.assert_close(z, torch.full((2,), 1.5), atol=0.2, rtol=0)


def test_fewer_steps_than_an_epoch_is_said(build, ring):
    with pytest.warns(UserWarning, match="3 steps of 64 rows see 192 of the 540 training rows"):
        quick(build(), ring, steps=3)


def test_epochs_are_passes(build, ring):
    history = quick(build(), ring, steps=None, epochs=4)
    assert history.evaluations[-1].step == 4 * (540 // 64)
    assert history.evaluations[-1].epoch == 4.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0}, "epochs is 0, expected a number above 0"),
        ({"epochs": 2, "steps": 5}, "epochs and steps were both given"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"batch_size": 2.5}, "batch_size is 2.5, expected a whole number"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"patience": 0}, "patience is 0"),
        ({"validation": 1.0}, "validation is 1.0"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"device": "cuda:0"}, "torch finds no CUDA device"),
        ({"device": "gpu"}, "device is 'gpu'"),
        ({"resume": True}, "resume=True needs checkpoint="),
        ({"lr": 0.1, "optimizer": torch.optim.SGD}, "lr and optimizer were both given"),
    ],
)
def test_settings_that_make_no_sense_are_refused(build, ring, wrong, said):
    if "device" in wrong and torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(ArgumentError, match=said):
        fit(build(), ring, progress=False, **wrong)


def test_compiled_training_gives_the_same_figures(gaussian, ring, monkeypatch):
    # The graph is captured and differentiated; writing C++ for it would test PyTorch, slowly.
    compile = functools.partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", compile)
    plain, compiled = gaussian(), gaussian()
    quick(plain, ring, steps=20)
    quick(compiled, ring, steps=20, compile=True)
    for p, q in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(p, q)
