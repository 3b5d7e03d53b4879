"""Integrals of densities over one and two dimensions."""

import math

import pytest
import torch

from pushforward import bases
from pushforward.numerics.quadrature import integrate_density


def drawn(base, n=4096):
    return base.rsample((n,), generator=torch.Generator().manual_seed(0)).detach()


def narrow(features):
    """Two lumps, one a hundred times narrower than the other."""
    return bases.Mixture(
        bases.Normal(features, -3.0, 0.01), bases.Normal(features, 3.0), weights=[0.3, 0.7]
    )


@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize("factor", [1.0, 0.9, 1.3])
def test_smooth_and_narrow_densities_have_the_mass_they_have(features, factor):
    for base in (bases.Normal(features), narrow(features)):
        scaled = lambda x, base=base: base.log_prob(x).detach() + math.log(factor)
        value, error = integrate_density(scaled, drawn(base))
        assert value == pytest.approx(factor, abs=max(4 * error, 5e-3))
        assert error < 1e-2


def test_a_smooth_density_takes_few_cells():
    seen = 0

    def counted(x):
        nonlocal seen
        seen += len(x)
        return bases.Normal(2).log_prob(x)

    integrate_density(counted, drawn(bases.Normal(2)))
    assert seen < 200_000


def test_a_periodic_density_is_integrated_over_one_period():
    von_mises = lambda x: (
        torch.cos(x[:, 0] - 1.0) - math.log(2 * math.pi * torch.i0(torch.ones(())))
    )
    angles = bases.Uniform(1, -math.pi, math.pi)
    ends = (angles.low, angles.high)
    assert integrate_density(von_mises, drawn(angles), ends)[0] == pytest.approx(1.0, abs=1e-3)
    assert integrate_density(von_mises, drawn(angles))[0] > 1.5
