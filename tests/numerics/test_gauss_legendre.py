"""The quadrature is exact where it says so, and keeps its digits through float32."""

import pytest
import torch

from pushforward.numerics.gauss_legendre import floating, gauss_legendre


@pytest.mark.parametrize("points", [1, 2, 5, 24])
def test_it_is_exact_up_to_its_degree_and_not_beyond(points):
    nodes, weights = (floating(part, torch.float64) for part in gauss_legendre(points))
    for degree in range(2 * points + 1):
        error = abs(float((weights * nodes**degree).sum()) - 1.0 / (degree + 1))
        assert error < 1e-15 if degree < 2 * points else points > 5 or error > 1e-12


def test_constants_are_integers_that_lose_nothing():
    nodes, weights = gauss_legendre(24)
    assert nodes.dtype == weights.dtype == torch.int64
    kept = torch.nn.Module()
    kept.register_buffer("nodes", nodes)
    assert torch.equal(kept.float().double().nodes, nodes)
    assert floating(nodes, torch.float32).dtype == torch.float32
    assert float(floating(weights, torch.float64).sum()) == pytest.approx(1.0, abs=1e-15)
