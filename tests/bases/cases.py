"""One line a base. A base listed here gets every law of this folder."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import distributions as D
from torch import nn

from pushforward import bases, flows, transforms
from pushforward.spec import Part


@dataclass(frozen=True)
class Case:
    """A base and the same density by ``torch.distributions``, which knows nothing of ours.

    Attributes:
        name: what the tests are called by.
        build: features -> the base.
        same: features -> the same density as a distribution with an event of that many features.
        reach: ``[-reach, reach]`` holds all of it but ``lost`` for each feature.
        lost: the share outside.
        still: names of weights that draws do not follow, since a choice has no derivative.
    """

    name: str
    build: Callable[[int], Any]
    same: Callable[[int], D.Distribution]
    reach: float = 12.0
    lost: float = 1e-6
    still: tuple[str, ...] = ("logits",)


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


def _logistic_base(n: int) -> bases.Base:
    return bases.Logistic(n, _line(n, -1, 1), _line(n, 0.5, 1.0), learn=True)


def _multivariate(n: int) -> bases.Base:
    return bases.MultivariateNormal(n, _line(n, -1, 1), _full(n).covariance_matrix, learn=True)


def resampled(n: int) -> bases.Base:
    """With a chance of acceptance that is the same everywhere, it is the proposal."""
    base = bases.Resampled(bases.Normal(n, _line(n, -1, 1), learn=True), samples=1000)
    base.network.last.bias.data.fill_(-0.7)
    return base.eval()


class Steps(Part, nn.Module):
    """Logits that are high to the right of 0 in the first feature, low to the left."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.high = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x[..., :1] > 0, self.high, -2.0)


_CHANCES = [1 / (1 + math.exp(-10 * math.tanh(logit / 10))) for logit in (1.5, -2.0)]
_MEAN = 0.5 * sum(_CHANCES)


def halved(n: int) -> bases.Base:
    """Resampled so that most draws have a first feature above 0; Z is set to what it is."""
    base = bases.Resampled(bases.Normal(n, learn=True), Steps, truncation=3).settle(samples=10)
    base.kept[0] = math.log(_MEAN)
    return base


def _halves(n: int) -> D.Distribution:
    """The same as a mixture of two halves of a normal density, with shares by hand."""
    last = (1 - _MEAN) ** 2  # the first two draws rejected
    high = 0.5 * ((1 - last) * _CHANCES[0] / _MEAN + last)
    return _Halves(D.Categorical(torch.tensor([high, 1 - high]).double()), n)


class _Halves(D.Distribution):
    """Two halves of a standard normal density, split at 0 in the first feature."""

    arg_constraints: ClassVar[dict[str, object]] = {}

    def __init__(self, shares: D.Categorical, n: int) -> None:
        self.shares, self.normal = shares, D.Normal(torch.zeros(n).double(), 1.0)
        super().__init__(event_shape=torch.Size([n]), validate_args=False)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        side = (value[..., 0] <= 0).long()
        return self.normal.log_prob(value).sum(-1) + math.log(2.0) + self.shares.logits[side]

    def sample(self, sample_shape: tuple[int, ...] = ()) -> torch.Tensor:
        z = self.normal.sample(sample_shape)
        sign = 1.0 - 2.0 * self.shares.sample(sample_shape)
        z[..., 0] = z[..., 0].abs() * sign
        return z


class _Beside(D.Distribution):
    """Numbers side by side, each with a distribution of its own."""

    arg_constraints: ClassVar[dict[str, object]] = {}

    def __init__(self, *each: D.Distribution) -> None:
        self.each = each
        super().__init__(event_shape=torch.Size([len(each)]), validate_args=False)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        pairs = zip(self.each, value.unbind(-1), strict=True)
        return torch.stack([one.log_prob(number) for one, number in pairs]).sum(0)

    def sample(self, sample_shape: tuple[int, ...] = ()) -> torch.Tensor:
        return torch.stack([one.sample(sample_shape) for one in self.each], -1)


def columns(n: int) -> bases.Base:
    """A logistic number beside normal ones."""
    logistic = bases.Logistic(1, 0.5, 0.7, learn=True)
    others = [bases.as_base(_normal(n - 1))] if n > 1 else []
    return bases.Columns(logistic, *others)


def _normal(n: int) -> D.Distribution:
    return _independent(D.Normal(_line(n, -1, 1), _line(n, 0.5, 2)))


def _columns(n: int) -> D.Distribution:
    number = lambda x: torch.tensor(x, dtype=torch.float64)
    steps = [D.SigmoidTransform().inv, D.AffineTransform(number(0.5), number(0.7))]
    logistic = D.TransformedDistribution(D.Uniform(number(0.0), number(1.0)), steps)
    places, scales = _line(n - 1, -1, 1), _line(n - 1, 0.5, 2)
    return _Beside(logistic, *map(D.Normal, places, scales))


def mixed_columns(n: int) -> bases.Base:
    """Numbers before data was seen: mixtures of logistic densities at normal quantiles."""
    return bases.MixedColumns([{"value": "number"}] * n, components=3, hidden=(8,))


def _mixed_columns(n: int) -> D.Distribution:
    places = D.Normal(0.0, 1.0).icdf(torch.tensor([1 / 6, 1 / 2, 5 / 6]).double()).expand(n, 3)
    flat = D.Uniform(torch.zeros(n, 3).double(), torch.ones(n, 3).double())
    steps = [D.SigmoidTransform().inv, D.AffineTransform(places, torch.tensor(0.25).double())]
    lumps = D.TransformedDistribution(flat, steps)
    mixed = D.MixtureSameFamily(D.Categorical(torch.ones(n, 3).double()), lumps)
    return _independent(mixed)


CASES = [
    Case(
        "normal",
        lambda n: bases.Normal(n, _line(n, -1, 1), _line(n, 0.5, 2)),
        lambda n: _independent(D.Normal(_line(n, -1, 1), _line(n, 0.5, 2))),
    ),
    Case(
        "laplace",
        lambda n: bases.Laplace(n, _line(n, -1, 1), _line(n, 0.5, 1.5)),
        lambda n: _independent(_laplace(n)),
        reach=25.0,
    ),
    Case("logistic", _logistic_base, lambda n: _independent(_logistic(n)), reach=25.0),
    Case("multivariate-normal", _multivariate, _full),
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
    Case(
        "student-t-placed",
        lambda n: bases.StudentT(n, 4.0, True, _line(n, -1, 1), _line(n, 0.5, 1.5)),
        lambda n: _independent(D.StudentT(4.0, _line(n, -1, 1), _line(n, 0.5, 1.5))),
        reach=100.0,
        lost=1e-5,
    ),
    Case("mixture", mixture, _two_lumps),
    Case(
        "resampled-evenly",
        resampled,
        lambda n: _independent(D.Normal(_line(n, -1, 1), 1.0)),
        still=("network",),
    ),
    # the step at 0 lies between two points of a grid
    Case("resampled-halves", halved, _halves, lost=5e-5, still=("network",)),
    Case("gaussian-components", gaussian_mixture, _correlated_lumps, reach=25.0),
    Case("wrapped-laplace", _torch(_laplace), lambda n: _independent(_laplace(n)), reach=25.0),
    Case("wrapped-logistic", _torch(_logistic), lambda n: _independent(_logistic(n)), reach=25.0),
    Case("wrapped-shifted", _torch(_shifted), _uniform),
    Case("wrapped-uniform", _torch(_uniform), _uniform),
    Case("wrapped-full-covariance", _torch(_full), _full),
    Case("wrapped-mixture", _torch(_two_lumps), _two_lumps),
    Case("flow", _flow, _widened),
    Case("columns", columns, _columns, reach=25.0),
    Case("mixed-columns", mixed_columns, _mixed_columns, still=("network",)),
]
