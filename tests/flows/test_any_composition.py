"""Whatever steps are put together: what is accepted loses no mass and means what it says."""

import functools
import math
import random

import pytest
import torch

from pushforward import Flow, bases, maps
from pushforward import transforms as T
from pushforward.errors import ArgumentError
from pushforward.transforms.domains import Angles, Everywhere, PartOf

PI = math.pi


def _spline(tails, box):
    return maps.RationalQuadratic(bins=3, box=box, tails=tails)


SPLINES = [_spline(tails, box) for tails in ("none", "circular") for box in (1.0, PI)]
MAPS = [maps.Affine(), maps.Additive(), *SPLINES]
STEPS = [
    lambda: T.Sigmoid(2),
    lambda: T.Logit(2),
    lambda: T.Tanh(2),
    lambda: T.Exp(2),
    lambda: T.Log(2),
    lambda: T.NormalCDF(2),
    lambda: T.Interval(2, 0.0, 1.0, -1.0, 1.0),
    lambda: T.Interval(2, -1.0, 1.0, -PI, PI),
    lambda: T.Interval(2, -PI, PI, 0.0, 2.0 * PI),
    lambda: T.Diagonal(2),
    lambda: T.LU(2),
    lambda: T.Reverse(2),
    lambda: T.Circle(2),
    lambda: T.Inverse(T.Circle(2)),
    lambda: T.Circle(2, 2.0),
    lambda: T.Columns(T.Sigmoid(1), T.Circle(1)),
    lambda: T.Columns(T.Exp(1), T.Diagonal(1)),
    *(functools.partial(T.Elementwise, 2, map=map) for map in MAPS),
    *(functools.partial(T.Coupling, 2, map=map, hidden=(4,)) for map in MAPS),
    *(functools.partial(T.Coupling, 2, map=map, hidden=(4,), periodic=True) for map in MAPS),
    *(functools.partial(T.Autoregressive, 2, map=map, hidden=(4,)) for map in MAPS),
]  # fmt: skip
BASES = [
    lambda: bases.Normal(2),
    lambda: bases.Uniform(2),
    lambda: bases.Uniform(2, -1.0, 1.0),
    lambda: bases.Uniform(2, -PI, PI),
    lambda: bases.Uniform(2, 0.0, 2.0 * PI),
    lambda: bases.Mixture(bases.Uniform(2, 0.0, 0.5), bases.Uniform(2, 0.5, 1.0)),
]


def _composed(chance, depth=1):
    """Up to four steps, one of them perhaps a composition, that were accepted one after another."""
    steps = []
    for _ in range(chance.randint(1, 4)):
        nested = depth and chance.random() < 0.3
        step = _composed(chance, 0) if nested else chance.choice(STEPS)()
        step = T.Inverse(step) if chance.random() < 0.3 else step
        try:
            T.Compose(*steps, step)
        except ArgumentError:
            continue
        steps.append(step)
    return T.Compose(*steps) if steps else T.Diagonal(2)


def _trained(part):
    torch.manual_seed(0)
    for parameter in part.parameters():
        parameter.data.add_(0.4 * torch.randn_like(parameter))
    return part.double().eval()


@pytest.mark.filterwarnings("ignore:.*can never influence")
def test_what_is_accepted_loses_no_mass():
    """Every draw of the base comes from an x that goes back to it, with a density."""
    chance, accepted, refused = random.Random(0), 0, 0
    for _ in range(600):
        transform, base = _composed(chance), chance.choice(BASES)()
        try:
            flow = Flow(transform, base)
        except ArgumentError:
            refused += 1
            continue
        accepted += 1
        flow = _trained(flow)
        with torch.no_grad():
            z = flow.base.rsample(64, generator=torch.Generator().manual_seed(0)).double()
            x, logdet = flow.transform.inverse(z)
            again, back = flow.transform(x)
        # a double exponential of a draw may leave float64; nothing else may be lost
        kept = x.isfinite().all(-1) & (x.abs() < 1e250).all(-1) & (logdet.abs() < 300.0)
        assert int(kept.sum()) > 32, flow
        assert bool(flow.transform.domain.contains(x[kept]).all()), flow
        assert bool(back[kept].isfinite().all()), flow
        size = torch.where(logdet > 0, logdet.exp(), 1.0)[kept, None]  # what rounding x costs z
        assert bool(((again - z)[kept].abs() < 1e-7 * (1.0 + size)).all()), flow
    assert min(accepted, refused) > 100


def _inside(domain, features):
    """Points well inside a domain of two features; None where it is not known."""
    if isinstance(domain, PartOf):
        return None
    if isinstance(domain, Everywhere):
        return torch.randn(64, features, dtype=torch.float64)
    if isinstance(domain, Angles):
        return (torch.rand(64, features, dtype=torch.float64) - 0.5) * 1.6 * domain.period
    if hasattr(domain, "parts"):
        pairs = zip(domain.parts, domain.widths, strict=True)
        return torch.cat([_inside(part, width) for part, width in pairs], -1)
    low, high = (end.expand(features) for end in domain.bounds())
    share = torch.rand(64, features, dtype=torch.float64) * 0.9 + 0.05
    between = low + (high - low) * share
    beyond = torch.where(low.isfinite(), low - share.log(), high + share.log())
    return torch.where((high - low).isfinite(), between, beyond)


def test_a_domain_is_where_there_is_something():
    """And what comes out lies in the codomain, in either direction."""
    chance, known = random.Random(1), 0
    for _ in range(600):
        transform = _trained(_composed(chance))
        ends = (transform.domain, transform.codomain)
        for apply, start, end in ((transform.forward, *ends), (transform.inverse, *ends[::-1])):
            x = _inside(start, 2)
            if x is None:
                continue
            known += 1
            with torch.no_grad():
                z, logdet = apply(x)
            assert not bool(logdet.isnan().any()), transform
            # an exponential of an exponential may round to an end, or leave float64
            assert int((logdet == -math.inf).sum()) < 8, transform
            kept = z.isfinite().all(-1) & (logdet.abs() < 30.0)
            assert int(kept.sum()) > 16, transform
            assert not bool(end.outside(z[kept]).any()), transform
    assert known > 300
