"""Extreme numbers come through finite, and what is not a number stays in its row."""

from dataclasses import replace

import pytest
import torch
from tests.transforms.cases import BOX, CASES, made, points
from tests.transforms.test_gradients import special
from torch.testing import assert_close

from pushforward.transforms.domains import Everywhere

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
directions = pytest.mark.parametrize("direction", ["forward", "inverse"])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def within(case, transform, direction, x):
    """Which rows lie inside and which outside of where the numbers may be."""
    if case.outside == "nothing":  # an end of the box may be either, by rounding
        return (x.abs() <= BOX).all(-1), (x.abs() > BOX * (1.0 + 1e-6)).any(-1)
    inside = (transform.domain if direction == "forward" else transform.codomain).contains(x)
    return inside, ~inside


@directions
@dtypes
def test_outside_a_support_there_is_no_density_and_no_gradient(case, direction, dtype):
    """Nor is there a nan, in any of them."""
    transform = made(case, 3, 2, dtype)
    end = transform.domain if direction == "forward" else transform.codomain
    if isinstance(end, Everywhere):
        pytest.skip("there is no outside")
    x = special(replace(case, data=lambda x: x, latent=lambda z: z), transform, direction, dtype)
    x.requires_grad_()
    inside, outside = within(case, transform, direction, x)
    context = torch.zeros(2, dtype=dtype) if transform.context else None
    z, logdet = getattr(transform, direction)(x, context)
    assert bool(z.isfinite().all())
    assert bool((logdet[outside] == -torch.inf).all())
    assert bool(logdet[inside].isfinite().all())
    for output in (z.sum(), logdet.sum()):
        if output.requires_grad:
            (gradient,) = torch.autograd.grad(output, x, retain_graph=True)
            assert bool(gradient.isfinite().all())


@directions
@dtypes
@pytest.mark.parametrize("spread", [0.0, 0.4, 2.0], ids=["untrained", "trained", "wild"])
def test_extreme_points_give_finite_answers(case, direction, dtype, spread):
    transform = made(case, 3, 2, dtype, spread)
    x = special(case, transform, direction, dtype)
    context = torch.zeros(2, dtype=dtype) if transform.context else None
    z, logdet = getattr(transform, direction)(x, context)
    assert bool(z.isfinite().all())
    assert not bool(logdet.isnan().any())
    inside, outside = within(case, transform, direction, x)
    assert bool((logdet[outside] == -torch.inf).all())
    assert bool(logdet[inside].isfinite().all())


@directions
@dtypes
def test_an_extreme_context_gives_finite_answers(case, direction, dtype):
    transform = made(case, 3, 2, dtype)
    context = torch.tensor([[1e6, -1e6], [1e30, 0.0], [1e-40, -1e-40]], dtype=dtype)
    x = points(case, transform, (3,), dtype, direction)[0]
    z, logdet = getattr(transform, direction)(x, context if transform.context else None)
    assert bool(z.isfinite().all())
    assert bool(logdet.isfinite().all())


@directions
def test_far_rows_come_back(case, direction):
    """A row a million away is far, not lost: in float64 it returns to nine digits of its size."""
    if case.outside != "line" or not case.far:
        pytest.skip("there is no far away")
    transform = made(case, 3, 2)
    x = special(case, transform, direction, torch.float64)
    context = torch.zeros(2, dtype=torch.float64) if transform.context else None
    there = getattr(transform, direction)(x, context)
    other = "inverse" if direction == "forward" else "forward"
    back = getattr(transform, other)(there[0], context)
    error = (back[0] - x).abs() / (1.0 + x.abs().amax(-1, keepdim=True))
    assert_close(error, torch.zeros_like(error), atol=1e-9, rtol=0)


@directions
def test_not_a_number_stays_one_and_stays_in_its_row(case, direction):
    transform = made(case, 3, 2)
    if case.sees_rows:
        transform.eval()
    x = points(case, transform, (3,), direction=direction)[0]
    context = torch.zeros(2, dtype=torch.float64) if transform.context else None
    clean = getattr(transform, direction)(x, context)
    x[1].view(-1)[-1] = torch.nan
    z, logdet = getattr(transform, direction)(x, context)
    assert bool(z[1].isnan().any())
    for i in (0, 2):
        assert_close(z[i], clean[0][i], atol=1e-12, rtol=0)
        assert_close(logdet[i], clean[1][i], atol=1e-12, rtol=0)
