"""Steps that a kernel takes back in one go: where they began, and gradients of the way there."""

import pytest
import torch
from tests.kernels.cases import FEATURES, LAYERS, ROWS, layer, needs_kernels, rows
from torch.testing import assert_close

from pushforward import transforms as T
from pushforward.kernels.layer import retrace_layers

pytestmark = needs_kernels
CASES = {case.name: case for case in (*LAYERS, *ROWS)}
CLOSED = (
    "coupling-silu",
    "row-triangles",
    "row-triangles-couplings",
    "row-some-with-context",
    "row-scalings",
)


def weighted(z, logdet):
    """One number that all results are in."""
    by_row = rows(len(z), 1, z.dtype, seed=6)[:, 0]
    return (z * rows(*z.shape, z.dtype, seed=5)).sum() + (logdet * by_row).sum()


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("count", [1, 33, 200])
def test_what_the_way_back_keeps_serves_the_way_there(name, direction, threads, count):
    made = layer(CASES[name], 3, spread=0.15)
    x, c = rows(count, FEATURES).requires_grad_(), rows(count, 3, seed=9).requires_grad_()
    weights = list(made.parameters())
    end, logdet = getattr(made, direction)(x, c)
    leaves = [x, c, *weights] if made.context else [x, *weights]
    want = torch.autograd.grad(weighted(end, logdet), leaves)
    steps = T.Compose(made)._plain_steps(f"_{direction}", "store")
    row = [step.in_a_row(end, c, retraced=True) for step in steps]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        start, *again = retrace_layers(
            [one.call for one in row], end.detach(), c, [one.weights for one in row]
        )
        got = torch.autograd.grad(weighted(*again), [start, *leaves[1:]])
    finally:
        torch.set_num_threads(before)
    # what triangles and steep splines did, they undo to some digits fewer
    assert_close(start, x, atol=1e-7, rtol=1e-7)
    assert_close(again, [end, logdet], atol=1e-9, rtol=1e-9)
    assert_close(got, want, atol=1e-8, rtol=1e-8)
