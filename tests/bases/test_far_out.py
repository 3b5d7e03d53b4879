"""Laplace's and the logistic density far out, to the last digits; and their farthest draws."""

import math

import numpy
import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from pushforward import bases

both = pytest.mark.parametrize(
    ("build", "same", "log_density"),
    [
        (bases.Logistic, stats.logistic, lambda z: -z - 2.0 * numpy.log1p(numpy.exp(-z))),
        (bases.Laplace, stats.laplace, lambda z: -z - math.log(2.0)),
    ],
    ids=["logistic", "laplace"],
)
Z = [0.0, 1e-8, 1.0, 19.9, 20.1, 21.0, 30.0, 700.0, 1e6]


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_far_densities_are_accurate(build, same, log_density, dtype):
    z = torch.tensor(Z, dtype=dtype)[:, None]
    want = torch.from_numpy(log_density(z[:, 0].double().numpy()))
    for sign in (1.0, -1.0):
        found = build(1).to(dtype).log_prob(sign * z)
        assert_close(found.double(), want, rtol=2 * torch.finfo(dtype).eps, atol=0)


@both
@pytest.mark.parametrize("share", [0.0, 2.0**-24, 0.5, 1.0 - 2.0**-24])
def test_the_farthest_draws_are_finite(build, same, log_density, share, monkeypatch):
    """Whatever number of [0, 1) comes: also 0, which has no logarithm."""
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, share))
    draw = float(build(1).rsample())
    assert math.isfinite(draw)
    if share > 0.0:
        assert same.cdf(draw) == pytest.approx(share, rel=1e-3)
    else:
        assert same.cdf(draw) < 2.0**-24
