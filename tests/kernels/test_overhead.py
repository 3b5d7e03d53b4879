"""What a call of a kernel costs besides its numbers: small batches feel nothing else."""

import time

import pytest
import torch
from tests.kernels.cases import needs_kernels

from pushforward import maps

pytestmark = needs_kernels
CALLS = 1000


def least(call):
    """Microseconds of the quickest of many calls: the rest waited for somebody else."""
    best = float("inf")
    for _ in range(CALLS):
        begin = time.perf_counter_ns()
        call()
        best = min(best, (time.perf_counter_ns() - begin) / 1e3)
    return best


class Nothing(torch.autograd.Function):
    """As many tensors in and out, and no work: PyTorch's own share."""

    @staticmethod
    def forward(ctx, x, raw):
        ctx.save_for_backward(x, raw)
        return torch.empty_like(x), torch.empty_like(x)

    @staticmethod
    def backward(ctx, grad_z, grad_log):
        return tuple(torch.empty_like(t) for t in ctx.saved_tensors)


@pytest.fixture
def numbers():
    spline = maps.RationalQuadratic(8, 3.0)
    raw = torch.randn(4, 3, spline.raw_width, generator=torch.Generator().manual_seed(0))
    return (
        spline,
        torch.linspace(-2.0, 2.0, 12).reshape(4, 3).requires_grad_(),
        raw.requires_grad_(),
    )


def test_a_call_costs_little(numbers):
    """On a quiet processor 15 microseconds, and 65 with gradients.

    Where PyTorch's own share alone is more than that, on slow or shared processors, they are told
    by that share: a guard against work that creeps into every call, not a measurement.
    """
    spline, x, raw = numbers
    ones = torch.ones(4, 3), torch.ones(4, 3)

    def with_gradients(apply):
        return lambda: torch.autograd.grad(apply(x, raw), (x, raw), ones)

    rounds = [(least(with_gradients(Nothing.apply)), least(with_gradients(spline))) for _ in "123"]
    share, ours = (min(times) for times in zip(*rounds, strict=True))
    assert ours <= max(65.0, 3.0 * share)
    with torch.no_grad():
        assert least(lambda: spline(x, raw)) <= max(15.0, share)
