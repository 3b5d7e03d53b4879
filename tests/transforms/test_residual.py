"""Planar, radial and Sylvester transforms: definitions written out, and wild weights."""

import math

import pytest
import torch
from tests.transforms.cases import scatter
from torch.testing import assert_close

from pushforward import transforms as T
from pushforward.errors import ArgumentError
from pushforward.transforms.residual.constraint import above_minus_one, shrink
from pushforward.transforms.residual.orthonormal import exponential, reflected


def rows(n, features):
    return torch.randn(n, features, dtype=torch.float64)


def drawn(transform, spread=0.7):
    scatter(transform.double(), spread)
    return transform


# ---------------------------------------------------------------- constraints


def test_the_constraint_is_the_function_it_says():
    a = torch.linspace(-30.0, 30.0, 601, dtype=torch.float64)
    want = 0.999 * torch.expm1(torch.asinh(a / 0.999))
    assert_close(above_minus_one(a), want, atol=1e-13, rtol=1e-13)
    assert bool((above_minus_one(a).diff() > 0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_constraint_holds_for_every_number(dtype):
    a = torch.tensor([0.0, -1.0, -1e4, -1e12, -1e30, 1e30], dtype=dtype)
    value = above_minus_one(a)
    assert bool((value >= -0.999 * (1 + torch.finfo(dtype).eps)).all())
    assert bool(shrink(a).isfinite().all())
    assert value[0] == 0.0


@pytest.mark.parametrize("kind", [exponential, reflected])
@pytest.mark.parametrize(("features", "rank"), [(1, 1), (2, 1), (5, 3), (4, 4)])
@pytest.mark.parametrize("size", [0.0, 1.0, 30.0])
def test_frames_are_orthonormal(kind, features, rank, size):
    frame = kind(size * torch.randn(6, features, rank, dtype=torch.float64))
    unit = torch.eye(rank, dtype=torch.float64).expand(6, rank, rank)
    assert_close(frame.mT @ frame, unit, atol=1e-12, rtol=0)


def test_reflections_are_the_product_of_reflections():
    raw = torch.randn(4, 3, dtype=torch.float64)
    unit = torch.eye(4, 3, dtype=torch.float64)
    product = torch.eye(4, dtype=torch.float64)
    for v in (unit + raw).mT:
        product = product @ (torch.eye(4) - 2.0 * torch.outer(v, v) / (v @ v))
    assert_close(reflected(raw), product[:, :3], atol=1e-13, rtol=0)


def test_a_reflection_along_nothing_is_still_one():
    raw = -torch.eye(3, 2, dtype=torch.float64)  # e_i + raw_i = 0
    assert_close(reflected(raw).abs(), torch.eye(3, 2).double(), atol=0, rtol=0)


# ---------------------------------------------------------------- definitions


def test_planar_is_its_formula():
    t, x = drawn(T.Planar(3), 1.5), rows(50, 3)
    u, w, b = (part.detach() for part in t.raw.split([3, 3, 1]))
    dot = torch.dot(w, u)
    u = u + (above_minus_one(dot) - dot) * w / torch.dot(w, w)
    assert_close(torch.dot(w, u), above_minus_one(dot), atol=1e-12, rtol=0)
    assert_close(t(x)[0], x + u * torch.tanh(x @ w + b)[:, None], atol=1e-12, rtol=0)


def test_radial_is_its_formula():
    t, x = drawn(T.Radial(3), 1.5), rows(50, 3)
    centre, a, b = (part.detach() for part in t.raw.split([3, 1, 1]))
    alpha = torch.nn.functional.softplus(a + math.log(math.expm1(0.999))) + 1e-3
    beta = alpha * above_minus_one(b)
    assert float(beta) > -float(alpha)
    r = (x - centre).norm(dim=-1, keepdim=True)
    assert_close(t(x)[0], x + beta / (alpha + r) * (x - centre), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["orthogonal", "householder", "triangular"])
def test_sylvester_is_its_formula(kind):
    t, x = drawn(T.Sylvester(4, 3, kind)), rows(50, 4)
    both, q, b, columns = (part.detach() for part in t.raw.split([9, 3, 3, len(t.raw) - 15]))
    both = both.reshape(3, 3)
    dot = both.diagonal() * q
    outer = both.triu(1) + (above_minus_one(dot) / q).diag()
    inner = both.tril(-1).T + q.diag()
    frame = {
        "orthogonal": lambda: torch.linalg.matrix_exp(_antisymmetric(columns.reshape(4, 3)))[:, :3],
        "householder": lambda: reflected(columns.reshape(4, 3)),
        "triangular": lambda: torch.eye(4, 3).double(),
    }[kind]()
    want = x + torch.tanh(x @ frame @ inner.T + b) @ outer.T @ frame.T
    assert_close(t(x)[0], want, atol=1e-12, rtol=0)


def _antisymmetric(columns):
    below = torch.cat((columns, torch.zeros(4, 1)), -1).tril(-1)
    return below - below.T


def test_sylvester_leaves_alone_what_is_orthogonal_to_its_frame():
    t, x = drawn(T.Sylvester(4, 2, "orthogonal")), rows(50, 4)
    frame = torch.linalg.svd(t(x)[0].detach() - x).Vh[:2].T
    rest = torch.eye(4) - frame @ frame.T
    assert_close((t(x)[0] - x) @ rest, torch.zeros(50, 4).double(), atol=1e-12, rtol=0)


def test_a_planar_flow_of_the_paper_is_the_inverse():
    t, x = drawn(T.Planar(2)), rows(20, 2)
    paper = T.Inverse(t)
    assert_close(paper.inverse(x), t(x), atol=0, rtol=0)
    assert_close(paper.inverse(paper(x)[0])[0], x, atol=1e-12, rtol=0)


# ---------------------------------------------------------------- hard points


@pytest.mark.parametrize("build", [T.Planar, T.Sylvester, T.Radial], ids=lambda b: b.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("spread", [3.0, 30.0, 1e3])
def test_wild_weights_stay_invertible(build, dtype, spread):
    """x comes back as far as slopes of 1/1000 and of spread^2 let it."""
    for seed in range(20):
        torch.manual_seed(seed)
        t = build(2).to(dtype)
        t.raw.data.normal_(0.0, spread)
        x = 3.0 * torch.randn(500, 2, dtype=dtype)
        z, logdet = t(x)
        back, _ = t.inverse(z)
        assert bool(logdet.isfinite().all())
        again = t(back)[0]
        allowed = 200.0 * torch.finfo(dtype).eps * spread * (1.0 + spread * spread)
        if build is T.Sylvester:  # the error of one direction enters the root of the next
            allowed *= spread
        assert_close(again, z, atol=allowed, rtol=allowed)


def test_a_radial_flow_is_exact_at_its_centre():
    t = drawn(T.Radial(3), 1.0)
    x = t.raw.detach()[:3][None].clone().requires_grad_()
    z, logdet = t.inverse(x)
    assert_close(z, x, atol=1e-15, rtol=0)
    both = torch.autograd.grad(z.sum() + logdet.sum(), (x, t.raw))
    assert all(bool(g.isfinite().all()) for g in both)
    slope = 3 * torch.log1p(above_minus_one(t.raw[-1]))
    assert_close(logdet, -slope[None], atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_radial_flow_is_the_identity_far_out_and_nothing_overflows(dtype):
    t = T.Radial(3)
    t.raw.data.add_(torch.randn(5, generator=torch.Generator().manual_seed(0)))
    t = t.to(dtype)
    far = torch.finfo(dtype).max ** 0.9
    x = torch.tensor([[far, -far, 0.0], [1e19, 1e19, 1e19], [1e-25, 0.0, 0.0]], dtype=dtype)
    x[2] += t.raw.detach()[:3]
    for direction in (t.forward, t.inverse):
        at = x.clone().requires_grad_()
        z, logdet = direction(at)
        (logdet.sum() + z.sum() / far).backward()
        assert_close(z[:2], x[:2], rtol=1e-6, atol=10.0)
        assert bool(logdet.isfinite().all())
        assert bool(at.grad.isfinite().all())


def test_a_planar_flow_without_a_direction_is_a_shift():
    t = T.Planar(2).double()
    t.raw.data.copy_(torch.tensor([3.0, -2.0, 0.0, 0.0, 0.5]))
    z, logdet = t(rows(4, 2) * 0.0)
    assert_close(z, torch.tensor([3.0, -2.0]).double().expand(4, 2) * math.tanh(0.5))
    assert_close(logdet, torch.zeros(4).double(), atol=0, rtol=0)
    (gradient,) = torch.autograd.grad(z.sum(), t.raw)
    assert bool(gradient.isfinite().all())


# ---------------------------------------------------------------- refusals

REFUSED = {
    "expected one of orthogonal, householder, tri": lambda: T.Sylvester(2, kind="diagonal"),
    "rank is 3, expected a number from 1 to features, 2": lambda: T.Sylvester(2, rank=3),
    "rank is 0, expected a number from 1": lambda: T.Sylvester(2, rank=0),
}


@pytest.mark.parametrize("says", REFUSED)
def test_what_cannot_be_is_refused(says):
    with pytest.raises(ArgumentError, match=says):
        REFUSED[says]()
