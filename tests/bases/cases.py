"""One line a base. A base listed here gets every law of this folder."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributions as D

from pushforward import bases, flows, transforms


@dataclass(frozen=True)
class Case:
    """A base and the same density by ``torch.distributions``, which knows nothing of ours.

    Attributes:
        name: what the tests are called by.
        build: features -> the base.
        same: features -> the same density as a distribution with an event of that many features.
        reach: ``[-reach, reach]`` holds all of it but ``lost`` for each feature.
        lost: the share outside.
    """

    name: str
    build: Callable[[int], Any]
    same: Callable[[int], D.Distribution]
    reach: float = 12.0
    lost: float = 1e-6


def _line(features: int, low: float, high: float) -> torch.Tensor:
    return torch.linspace(low, high, features, dtype=torch.float64)


def _independent(distribution: D.Distribution) -> D.Distribution:
    return D.Independent(distribution, 1)


def _torch(make: Callable[[int], D.Distribution]) -> Callable[[int], Any]:
    return lambda n: bases.as_base(make(n))


def _full(n: int) -> D.Distribution:
    factor = torch.eye(n, dtype=torch.float64) + 0.4 * torch.ones(n, n).double().tril(-1)
    return D.MultivariateNormal(_line(n, -1, 1), scale_tril=factor)


def _two_lumps(n: int) -> D.Distribution:
    centres = torch.stack((_line(n, -3, -2), _line(n, 2, 3)))
    lumps = D.Independent(D.Normal(centres, torch.tensor([[0.5], [1.0]]).double()), 1)
    return D.MixtureSameFamily(D.Categorical(torch.tensor([0.3, 0.7]).double()), lumps)


def mixture(n: int) -> bases.Base:
    return bases.Mixture(
        bases.Normal(n, _line(n, -3, -2), 0.5, learn=True),
        bases.Normal(n, _line(n, 2, 3), learn=True),
        weights=[0.3, 0.7],
    )


def gaussian_mixture(n: int) -> bases.Base:
    """Two correlated lumps, and a background at the origin."""
    base = bases.GaussianMixture(n, 2, background=0.2)
    with torch.no_grad():
        base.loc[0], base.loc[1] = _line(n, -3, -2), _line(n, 2, 3)
        base.log_diagonal[0] = _line(n, 0.2, 0.7)
        base.log_diagonal[2] = -0.7
        # what is above the diagonal is nobody's business
        base.below[0] = 0.3 * torch.eye(n).roll(-1, 0) + 0.5 * torch.ones(n, n).triu()
    return base


def _correlated_lumps(n: int) -> D.Distribution:
    whitening = torch.diag(_line(n, 0.2, 0.7).exp()) + 0.3 * torch.eye(n).double().roll(-1, 0).tril(
        -1
    )
    lump = torch.linalg.inv(whitening)
    factors = torch.stack((lump, torch.eye(n).double(), math.exp(0.7) * torch.eye(n).double()))
    centres = torch.stack((_line(n, -3, -2), _line(n, 2, 3), torch.zeros(n).double()))
    shares = D.Categorical(torch.tensor([0.4, 0.4, 0.2]).double())
    return D.MixtureSameFamily(shares, D.MultivariateNormal(centres, scale_tril=factors))


def _flow(n: int) -> flows.Flow:
    scale = transforms.Diagonal(n)
    scale.log_scale.data.fill_(-0.5)
    return flows.Flow(scale, bases.Normal(n, 0.3))


def _widened(n: int) -> D.Distribution:
    scale = torch.tensor(0.5, dtype=torch.float64).exp()  # z = exp(-0.5) x
    return _independent(D.Normal((0.3 * scale).expand(n), scale))


def _uniform(n: int) -> D.Distribution:
    return _independent(D.Uniform(_line(n, -2, -1), _line(n, 1, 3)))


def _logistic(n: int) -> D.Distribution:
    """A distribution made of transforms, one of them turned round."""
    flat = D.Uniform(torch.zeros(n).double(), torch.ones(n).double())
    steps = [D.SigmoidTransform().inv, D.AffineTransform(_line(n, -1, 1), _line(n, 0.5, 1.0))]
    return D.TransformedDistribution(flat, steps)


def _shifted(n: int) -> D.Distribution:
    """Its support is smaller than what PyTorch says, which looks at the last transform alone."""
    flat = D.Uniform(torch.zeros(n).double(), torch.ones(n).double())
    low, high = _line(n, -2, -1), _line(n, 1, 3)
    return D.TransformedDistribution(flat, [D.AffineTransform(low, high - low)])


def _laplace(n: int) -> D.Distribution:
    return D.Laplace(_line(n, -1, 1), _line(n, 0.5, 1.5))


CASES = [
    Case(
        "normal",
        lambda n: bases.Normal(n, _line(n, -1, 1), _line(n, 0.5, 2)),
        lambda n: _independent(D.Normal(_line(n, -1, 1), _line(n, 0.5, 2))),
    ),
    Case(
        "uniform",
        lambda n: bases.Uniform(n, _line(n, -2, -1), _line(n, 1, 3)),
        _uniform,
    ),
    Case(
        "student-t",
        lambda n: bases.StudentT(n, _line(n, 2, 6)),
        lambda n: _independent(D.StudentT(_line(n, 2, 6))),
        reach=60.0,
        lost=3e-4,  # of Student's t with two degrees of freedom: 1 / reach^2
    ),
    Case("mixture", mixture, _two_lumps),
    Case("gaussian-components", gaussian_mixture, _correlated_lumps, reach=25.0),
    Case("wrapped-laplace", _torch(_laplace), lambda n: _independent(_laplace(n)), reach=25.0),
    Case("wrapped-logistic", _torch(_logistic), lambda n: _independent(_logistic(n)), reach=25.0),
    Case("wrapped-shifted", _torch(_shifted), _uniform),
    Case("wrapped-uniform", _torch(_uniform), _uniform),
    Case("wrapped-full-covariance", _torch(_full), _full),
    Case("wrapped-mixture", _torch(_two_lumps), _two_lumps),
    Case("flow", _flow, _widened),
]
