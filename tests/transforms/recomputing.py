"""Steps whose activations are made again, beside the same steps with stored ones."""

import copy

import torch
from tests.transforms.cases import scatter
from torch.testing import assert_close

from pushforward import maps
from pushforward import transforms as T


def pair(*steps):
    """The same steps twice: stored, and recomputed."""
    return T.Compose(*steps), T.Compose(*copy.deepcopy(steps), memory="recompute")


def couplings(count, features=4, map=None, spread=0.2, hidden=(16,), **options):
    map = maps.RationalQuadratic(bins=5, box=4.0) if map is None else map
    keeps = [[(i + j) % 2 == 0 for j in range(features)] for i in range(count)]
    steps = [T.Coupling(features, map=map, keep=k, hidden=hidden, **options) for k in keeps]
    for i, step in enumerate(steps):
        scatter(step, spread, seed=i)
    return [step.double() for step in steps]


def rows(count=16, features=4, dtype=torch.float64, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, features, generator=generator, dtype=torch.float64).to(dtype)


def gradients(transform, x, c=None, direction="forward"):
    """Of a loss of z and logdet: in x, in the context and in every parameter."""
    leaves = [t.clone().requires_grad_() for t in (x, c) if t is not None]
    z, logdet = getattr(transform, direction)(*leaves)
    wanted = [*leaves, *(p for p in transform.parameters() if p.requires_grad)]
    loss = (z.square().sum(-1).sum() if z.ndim else z.square()) + (2.0 * logdet).sum()
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return (z, logdet), [None if g is None else g for g in found]


def assert_same(got, want, rtol=1e-9):
    """The same values, and gradients to a share of the largest.

    States found on the way back are off by a few hundred roundings at most, 1e-13, which slopes
    up to 30 in each of three steps amplify.
    """
    # Logdets are added part by part; a search is polished once more where gradients are asked for.
    assert_close(got[0], want[0], atol=1e-12, rtol=1e-12)
    assert [g is None for g in got[1]] == [g is None for g in want[1]]
    there = [(a, b) for a, b in zip(got[1], want[1], strict=True) if a is not None]
    largest = max((float(b.abs().max()) for _, b in there if b.numel()), default=0.0)
    for a, b in there:
        assert_close(a, b, atol=rtol * largest, rtol=0)
