"""Smoothing: training sees every row moved by noise that is shaped like the rows themselves."""

import math

import pytest
import torch
from torch.testing import assert_close

import pushforward as pf
from pushforward import bases, flows
from pushforward.errors import ArgumentError
from pushforward.objectives import Batch, MaximumLikelihood
from pushforward.training import Checkpoints


class Watcher(torch.nn.Module):
    """A flat density that keeps the rows it was asked about."""

    def forward(self, x, context=None):
        self.seen = x
        return x.new_zeros(len(x))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def correlated(n):
    """Rows of very different spreads, two of them strongly correlated."""
    mix = torch.tensor([[1.0, 0.0, 0.0], [9.5, 3.0, 0.0], [0.001, 0.0, 0.02]], dtype=torch.float64)
    return torch.randn(n, 3, generator=seeded(1), dtype=torch.float64) @ mix.T + 50.0


def noise(x, smoothing, seed=0, training=True):
    watcher = Watcher().train(training)
    MaximumLikelihood(smoothing)(watcher, Batch(x), seeded(seed))
    return watcher.seen - x


@pytest.mark.parametrize("smoothing", [0.05, 0.3])
def test_the_noise_has_the_covariance_of_the_rows(smoothing):
    x = correlated(60_000)
    found, want = noise(x, smoothing).T.cov(), smoothing**2 * x.T.cov()
    scale = want.diagonal().sqrt()
    # The covariance comes from 256 of the rows: its entries are known to about sqrt(2 / 256) = 9 %
    # of the spreads, and three standard errors of that are allowed.
    error = (found - want) / scale.outer(scale)
    assert float(error.abs().max()) < 3.0 * math.sqrt(2.0 / 256.0)
    assert_close(noise(x, smoothing).mean(0) / scale, torch.zeros(3).double(), atol=0.02, rtol=0)


def test_over_many_batches_the_covariance_is_that_of_all_rows():
    x = correlated(40_000)
    drawn = torch.cat([noise(piece, 0.1, seed) for seed, piece in enumerate(x.split(250))])
    want = 0.01 * x.T.cov()
    scale = want.diagonal().sqrt()
    error = (drawn.T.cov() - want) / scale.outer(scale)
    # 160 batches of 250 rows: sqrt(2 / 40 000) from the rows and as much again from the mixing,
    # and a bias of 1 / 250 since each batch is centred on its own mean.
    assert float(error.abs().max()) < 4.0 * math.sqrt(4.0 / 40_000.0) + 1.0 / 250.0


def test_the_noise_keeps_exact_dependence():
    """Columns that determine each other still do: the noise does not leave the rows' plane."""
    a = torch.randn(500, 1, generator=seeded(2), dtype=torch.float64)
    moved = noise(torch.cat((a, 3.0 * a), 1), 0.2)
    assert_close(moved[:, 1], 3.0 * moved[:, 0], atol=1e-12, rtol=1e-12)


def test_each_row_has_noise_of_its_own():
    moved = noise(correlated(2_000), 0.2)
    assert len(moved.unique(dim=0)) == 2_000
    neighbours = torch.corrcoef(torch.stack((moved[:-1, 0], moved[1:, 0])))[0, 1]
    assert abs(float(neighbours)) < 4.0 / math.sqrt(2_000.0) + 0.06  # shared covariance rows


def test_only_training_is_blurred():
    assert float(noise(correlated(64), 0.3, training=False).abs().max()) == 0.0
    assert float(noise(correlated(64), 0.3, training=True).abs().max()) > 0.0


def test_no_smoothing_changes_nothing_and_draws_nothing():
    generator = seeded()
    before = generator.get_state()
    watcher = Watcher().train()
    x = correlated(8)
    MaximumLikelihood()(watcher, Batch(x), generator)
    assert watcher.seen is x
    assert torch.equal(generator.get_state(), before)


def test_the_generator_decides_the_noise():
    x = correlated(32)
    assert torch.equal(noise(x, 0.1, seed=3), noise(x, 0.1, seed=3))
    assert not torch.equal(noise(x, 0.1, seed=3), noise(x, 0.1, seed=4))
    state = torch.get_rng_state()
    noise(x, 0.1)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_loss_is_the_plain_one_when_the_flow_is_evaluated():
    flow = flows.realnvp(3, layers=2, hidden=(8,), seed=0, base=bases.Normal(3)).eval()
    batch = Batch(correlated(50).float(), weights=torch.rand(50, generator=seeded(5)))
    plain = MaximumLikelihood()(flow, batch)
    assert torch.equal(MaximumLikelihood(0.2)(flow, batch, seeded()), plain)
    flow.train()
    assert not torch.equal(MaximumLikelihood(0.2)(flow, batch, seeded()), plain)


def test_dtype_and_shape_are_those_of_the_rows():
    for dtype in (torch.float32, torch.float64):
        x = torch.rand(40, 2, 3, dtype=dtype)
        moved = noise(x, 0.1)
        assert (moved.dtype, moved.shape) == (dtype, x.shape)


def test_a_single_row_has_no_spread_and_stays():
    assert float(noise(correlated(1), 0.5).abs().max()) == 0.0


def moving(first, last, progress):
    objective = MaximumLikelihood((first, last))
    objective.at(progress)
    watcher, x = Watcher().train(), correlated(500)
    objective(watcher, Batch(x), seeded())
    return watcher.seen - x


@pytest.mark.parametrize(("progress", "size"), [(0.0, 0.3), (0.5, 0.2), (0.75, 0.15), (1.0, 0.1)])
def test_noise_of_two_sizes_goes_evenly_from_one_to_the_other(progress, size):
    plain = noise(correlated(500), size)
    assert_close(moving(0.3, 0.1, progress), plain, atol=1e-12, rtol=1e-9)


def test_noise_that_vanishes_is_gone_at_the_end():
    assert float(moving(0.3, 0.0, 1.0).abs().max()) == 0.0


def test_training_tells_the_objective_how_far_it_is_and_a_resumed_run_as_well(tmp_path):
    class Told(MaximumLikelihood):
        def __init__(self, stop=None):
            super().__init__((0.2, 0.0))
            self.told, self.stop = [], stop

        def at(self, progress):
            super().at(progress)
            self.told.append(progress)
            if len(self.told) == self.stop:
                raise RuntimeError("the machine stops")

    x = correlated(200).float()

    def run(objective, folder, **more):
        flow = flows.realnvp(3, layers=2, hidden=(8,), seed=0)
        checkpoint = Checkpoints(tmp_path / folder, seconds=math.inf, steps=5)
        options = {"steps": 20, "batch_size": 32, "seed": 1, "progress": False}
        pf.fit(flow, x, objective=objective, checkpoint=checkpoint, **options, **more)
        return flow

    whole = Told()
    wanted = run(whole, "whole")
    assert whole.told == [step / 20 for step in range(20)]
    with pytest.raises(RuntimeError, match="the machine stops"):
        run(Told(stop=8), "cut")
    again = Told()
    found = run(again, "cut", resume=True)
    assert again.told[-1] == 0.95
    assert again.told[0] == 0.25
    for a, b in zip(wanted.parameters(), found.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("wrong", [(0.1, -0.1), (), (0.1, 0.2, 0.3), [math.nan, 0.1]])
def test_two_sizes_that_are_no_shares_are_refused(wrong):
    with pytest.raises(ArgumentError, match="expected a number from 0 up, or two"):
        MaximumLikelihood(wrong)


@pytest.mark.parametrize("wrong", [-0.1, math.inf, math.nan])
def test_a_smoothing_that_is_no_share_is_refused(wrong):
    with pytest.raises(ArgumentError, match=rf"smoothing is {wrong}, expected a number from 0 up"):
        MaximumLikelihood(wrong)


def test_it_says_what_it_is():
    assert repr(MaximumLikelihood()) == "MaximumLikelihood()"
    assert repr(MaximumLikelihood(0.1)) == "MaximumLikelihood(smoothing=0.1)"
    assert repr(MaximumLikelihood(torch.tensor(0.5))) == "MaximumLikelihood(smoothing=0.5)"
    assert repr(MaximumLikelihood((0.1, 0.0))) == "MaximumLikelihood(smoothing=(0.1, 0.0))"


class TestOnlyAndJitter:
    """Noise for some of the numbers, and within the step that numbers are rounded to."""

    def moved(self, x, training=True, seed=0, **options):
        watcher = Watcher().train(training)
        MaximumLikelihood(**options)(watcher, Batch(x), seeded(seed))
        return watcher.seen - x

    def test_noise_reaches_only_what_it_is_for(self):
        x = correlated(500)
        found = self.moved(x, smoothing=0.1, only=[0, 2])
        assert not bool(found[:, 1].any())
        assert bool((found[:, [0, 2]] != 0).all())
        assert not bool(self.moved(x, smoothing=0.1, only=[]).any())
        # of these it has the covariance
        found = self.moved(correlated(60_000), smoothing=0.1, only=[0, 1])[:, :2]
        want = 0.01 * correlated(60_000)[:, :2].T.cov()
        scale = want.diagonal().sqrt()
        error = (found.T.cov() - want) / scale.outer(scale)
        assert float(error.abs().max()) < 3.0 * math.sqrt(2.0 / 256.0)

    def test_jitter_fills_the_step_evenly(self):
        x = correlated(20_000).round()
        found = self.moved(x, jitter=[1.0, 0.0, 0.01])
        assert not bool(found[:, 1].any())
        for place, step in ((0, 1.0), (2, 0.01)):
            assert float(found[:, place].abs().max()) <= 0.5 * step
            assert float(found[:, place].std()) == pytest.approx(step / math.sqrt(12.0), rel=0.02)
            assert float(found[:, place].mean()) == pytest.approx(0.0, abs=0.01 * step)

    def test_validation_moves_nothing(self):
        x = correlated(50)
        assert not bool(self.moved(x, training=False, smoothing=0.1, jitter=[1.0] * 3).any())

    def test_the_generator_decides(self):
        x, options = correlated(50), {"smoothing": 0.1, "only": [1], "jitter": [1.0, 0.0, 0.0]}
        assert torch.equal(self.moved(x, **options), self.moved(x, **options))
        assert not torch.equal(self.moved(x, **options), self.moved(x, seed=1, **options))

    def test_it_says_what_it_does(self):
        assert repr(MaximumLikelihood()) == "MaximumLikelihood()"
        said = repr(MaximumLikelihood(0.1, only=[0], jitter=[0.5, 0.0]))
        assert said == "MaximumLikelihood(smoothing=0.1, only=[0], jitter=[0.5, 0.0])"
        assert repr(MaximumLikelihood(jitter=[0.0, 0.0])) == "MaximumLikelihood()"
