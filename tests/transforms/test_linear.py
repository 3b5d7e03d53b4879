"""Matrices of linear transforms against their definitions, at extremes and where they begin."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from tests.transforms.cases import scatter
from torch.nn import functional
from torch.testing import assert_close

import pushforward as pf
from pushforward import Flow, bases
from pushforward import transforms as T
from pushforward.errors import ArgumentError, InverseError
from pushforward.transforms.linear import rotations

METHODS = ["exponential", "cayley", "householder"]
every_method = pytest.mark.parametrize("method", METHODS)
FULL = {
    "lu": lambda n, c=0: T.LU(n, context=c, hidden=(8,)),
    "qr": lambda n, c=0: T.QR(n, context=c, hidden=(8,)),
    "qr-cayley": lambda n, c=0: T.QR(n, method="cayley", context=c, hidden=(8,)),
    "svd": lambda n, c=0: T.SVD(n, context=c, hidden=(8,)),
    "svd-exponential": lambda n, c=0: T.SVD(n, method="exponential", context=c, hidden=(8,)),
    "low-rank": lambda n, c=0: T.LowRank(n, rank=2, context=c, hidden=(8,)),
    "orthogonal": lambda n, c=0: T.Orthogonal(n, context=c, hidden=(8,)),
    "householder": lambda n, c=0: T.Orthogonal(n, method="householder", context=c, hidden=(8,)),
}
UNSHIFTED = {
    "lu": lambda n: T.LU(n, shift=False),
    "qr": lambda n: T.QR(n, shift=False),
    "svd": lambda n: T.SVD(n, shift=False),
    "low-rank": lambda n: T.LowRank(n, rank=1, shift=False),
}


def drawn(transform, spread=0.4):
    scatter(transform.double(), spread)
    return transform


def matrix_of(transform):
    zero = torch.zeros(transform.event_shape, dtype=torch.float64)
    return torch.autograd.functional.jacobian(lambda v: transform(v)[0], zero)


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def is_rotation(matrix, atol=1e-13):
    one = torch.eye(len(matrix), dtype=matrix.dtype)
    assert_close(matrix @ matrix.mT, one, atol=atol, rtol=0)
    assert_close(torch.linalg.det(matrix), torch.ones_like(matrix[0, 0]), atol=10 * atol, rtol=0)


# ---------------------------------------------------------------- rotations


def test_the_exponential_is_scipys():
    raw = numbers(5, 5)
    below = np.tril(raw.numpy(), -1)
    want = torch.from_numpy(scipy.linalg.expm(below - below.T))
    assert_close(rotations.exponential(raw), want, atol=1e-13, rtol=0)


def test_cayleys_is_the_quotient():
    raw = numbers(5, 5)
    skew = raw.tril(-1) - raw.tril(-1).mT
    one = torch.eye(5).double()
    want = (one - skew) @ torch.linalg.inv(one + skew)
    assert_close(rotations.cayley(raw), want, atol=1e-13, rtol=0)


@pytest.mark.parametrize("features", [1, 2, 5])
@pytest.mark.parametrize("reflections", [1, 2, 3, 4, 5, 13])
def test_householders_is_the_product_of_reflections_one_by_one(features, reflections):
    raw = numbers(reflections, features)
    one = torch.eye(features).double()
    starts = [one[k // 2 % features] for k in range(reflections)]
    vectors = [v + s for v, s in zip(raw, starts, strict=True)]
    want = one
    for v in vectors + ([starts[-1]] if reflections % 2 else []):
        want = want @ (one - 2.0 * torch.outer(v, v) / (v @ v))
    assert_close(rotations.householder(raw), want, atol=1e-13, rtol=0)
    is_rotation(rotations.householder(raw))


@pytest.mark.parametrize("columns", [1, 3])
def test_reflected_columns_are_those_of_the_matrix(columns):
    raw, some = numbers(6, 3, 5), numbers(5, columns)
    want = rotations.householder(raw) @ some
    assert_close(rotations.reflect(raw, some), want, atol=1e-14, rtol=0)


@every_method
def test_a_batch_of_rotations_is_each_of_them(method):
    raw = numbers(2, 3, 4, 4)
    together = rotations.ROTATIONS[method](raw)
    for i in range(2):
        for j in range(3):
            alone = rotations.ROTATIONS[method](raw[i, j])
            assert_close(together[i, j], alone, atol=1e-13, rtol=0)


@every_method
@pytest.mark.parametrize("features", [1, 2, 3, 8])
def test_zeros_are_the_identity_with_a_gradient(method, features):
    raw = torch.zeros(features, features, dtype=torch.float64, requires_grad=True)
    matrix = rotations.ROTATIONS[method](raw)
    assert torch.equal(matrix, torch.eye(features).double())
    if features > 1:
        (gradient,) = torch.autograd.grad((matrix * numbers(features, features)).sum(), raw)
        assert float(gradient.norm()) > 0.1


@every_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [1e-30, 1e3, 1e18])
@pytest.mark.parametrize("features", [2, 7, 30])
def test_however_far_driven_it_is_orthogonal_to_rounding(method, dtype, size, features):
    for raw in (torch.randn(features, features, dtype=dtype), torch.ones(features, features)):
        matrix = rotations.ROTATIONS[method](raw.to(dtype) * size)
        one = torch.eye(features, dtype=dtype)
        allowed = 10.0 * features * torch.finfo(dtype).eps
        assert_close(matrix @ matrix.mT, one, atol=allowed, rtol=0)


def test_a_reflection_without_direction_does_nothing_new():
    """Driven exactly onto zero, a vector has no direction; it takes back the one it began with."""
    raw = torch.zeros(2, 3, dtype=torch.float64)
    raw[0, 0] = -1.0
    raw.requires_grad_()
    matrix = rotations.householder(raw)
    assert torch.equal(matrix, torch.eye(3).double())
    (gradient,) = torch.autograd.grad((matrix * numbers(3, 3)).sum(), raw)
    assert bool(gradient.isfinite().all())


def test_nearly_parallel_reflections_lose_no_digits():
    raw = 1e-9 * numbers(40, 6)
    is_rotation(rotations.householder(raw))
    assert_close(rotations.householder(raw), torch.eye(6).double(), atol=1e-6, rtol=0)


@every_method
@pytest.mark.parametrize("features", [2, 3, 6])
def test_a_rotation_is_learned(method, features):
    """From the identity to a rotation drawn at random, by gradient steps alone."""
    target = rotations.exponential(0.7 * numbers(features, features))
    turn = T.Orthogonal(features, method=method).double()
    x = torch.eye(features).double()
    search = torch.optim.Adam(turn.parameters(), lr=0.03)
    for _ in range(600):
        search.zero_grad()
        loss = (turn(x)[0] - x @ target.mT).square().sum()
        loss.backward()
        search.step()
    assert float(loss.detach()) < 1e-4


@pytest.mark.parametrize("features", [2, 3, 4, 5])
def test_as_many_reflections_as_features_reach_any_rotation(features):
    target = rotations.exponential(3.0 * numbers(features, features))
    one = torch.eye(features).double()
    left = target.clone()
    if features % 2:  # the one that stays fixed
        v = one[(features - 1) // 2]
        left = left @ (one - 2.0 * torch.outer(v, v))
    vectors = []
    for i in range(features):  # each reflection takes one more column to where it belongs
        v = left[:, i] - one[i]
        v = one[i] if float(v.norm()) < 1e-9 else v
        vectors.append(v)
        left = left - 2.0 * torch.outer(v, v @ left) / (v @ v)
    starts = torch.stack([one[k // 2 % features] for k in range(features)])
    found = rotations.householder(torch.stack(vectors) - starts)
    assert_close(found, target, atol=1e-9, rtol=0)


# ---------------------------------------------------------------- products of factors


def test_qr_is_the_product_of_its_factors():
    linear, x = drawn(T.QR(4)), numbers(5, 4)
    matrix = matrix_of(linear)
    q, r = np.linalg.qr(matrix.numpy())
    signs = np.sign(np.diag(r))
    q, r = torch.from_numpy(q * signs), torch.from_numpy(r * signs[:, None])
    is_rotation(q)
    assert_close(q, rotations.householder(linear.rotation.detach()), atol=1e-12, rtol=0)
    assert_close(r.triu(1), linear.upper.triu(1), atol=1e-12, rtol=0)
    assert_close(linear(x)[0], x @ matrix.mT + linear.shift, atol=1e-12, rtol=0)
    assert_close(linear(x)[1], r.diagonal().log().sum().expand(5), atol=1e-12, rtol=0)


def test_svd_has_the_singular_values_it_says():
    linear, x = drawn(T.SVD(4)), numbers(5, 4)
    matrix = matrix_of(linear)
    found = torch.from_numpy(scipy.linalg.svdvals(matrix.numpy()))
    want = (3.0 * torch.tanh(linear.log_scale / 3.0)).exp().sort(descending=True).values
    assert_close(found, want, atol=1e-12, rtol=0)
    left = rotations.householder(linear.left)
    right = rotations.householder(linear.right)
    bounded = torch.diag((3.0 * torch.tanh(linear.log_scale / 3.0)).exp())
    assert_close(matrix, left @ bounded @ right.mT, atol=1e-12, rtol=0)
    assert_close(linear(x)[0], x @ matrix.mT + linear.shift, atol=1e-12, rtol=0)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_low_rank_is_a_diagonal_matrix_and_one_of_that_rank(rank):
    linear, x = drawn(T.LowRank(5, rank=rank)), numbers(5, 5)
    matrix = matrix_of(linear)
    diagonal = functional.softplus(linear.diagonal + math.log(math.expm1(0.999))) + 1e-3
    values = torch.linalg.svdvals(matrix - diagonal.diag())
    assert bool((values[:rank] > 1e-3).all())
    assert bool((values[rank:] < 1e-13).all())
    assert float(torch.linalg.det(matrix)) > 0.0
    assert_close(linear(x)[0], x @ matrix.mT + linear.shift, atol=1e-12, rtol=0)
    want = torch.linalg.slogdet(matrix).logabsdet.expand(5)
    assert_close(linear(x)[1], want, atol=1e-12, rtol=0)
    solved = torch.linalg.solve(matrix, (x - linear.shift).mT).mT
    assert_close(linear.inverse(x)[0], solved, atol=1e-11, rtol=0)


def test_low_rank_reaches_any_sum_of_positive_determinant():
    """Neither symmetric nor above its diagonal: the numbers that give it are found by hand."""
    diagonal = torch.tensor([1.0, 2.0, 0.5, 1.5]).double()
    outer = torch.tensor([[-3.0, 1.0], [0.5, -4.0], [1.0, 0.3], [-0.2, -0.6]]).double()
    inner = torch.tensor([[1.0, 0.4], [0.2, 1.0], [0.5, -1.0], [0.3, 0.1]]).double()
    target = diagonal.diag() + outer @ inner.mT
    assert float(torch.linalg.det(target)) > 0
    assert float(torch.linalg.eigvalsh(target + target.mT).min()) < 0  # far from positive definite
    linear = T.LowRank(4, rank=2, shift=False).double()
    right = torch.linalg.qr(inner).Q
    left = (outer / diagonal[:, None]) @ (inner.mT @ right)
    core = torch.eye(2) + right.mT @ left
    q, r = torch.linalg.qr(core)
    q, r = q * r.diagonal().sign(), r * r.diagonal().sign()[:, None]
    turn = torch.from_numpy(scipy.linalg.logm(q.numpy()).real)
    unsoftened = lambda d: (d - 1e-3).expm1().log() - math.log(math.expm1(0.999))
    frame = linear._frame(outer)
    first = right[:, 0] - frame[:, 0]
    turned = right - 2.0 * torch.outer(first, first @ right) / (first @ first)
    second = turned[:, 1] - frame[:, 1]
    start = torch.eye(4)[0].double()
    with torch.no_grad():
        linear.diagonal.copy_(unsoftened(diagonal))
        linear.right.copy_(torch.stack([first - start, second - start]))
        linear.left.copy_(left)
        linear.core.copy_(turn.tril(-1) + r.triu(1) + unsoftened(r.diagonal()).diag())
    assert_close(matrix_of(linear), target, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", UNSHIFTED)
def test_without_a_shift_zero_stays_zero(name):
    linear = drawn(UNSHIFTED[name](3))
    zero = torch.zeros(2, 3).double()
    assert linear.shift is None
    assert torch.equal(linear(zero)[0], zero)
    assert_close(linear.inverse(linear(zero + 1.0)[0])[0], zero + 1.0, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", FULL)
def test_with_a_context_each_row_has_the_matrix_of_its_own_numbers(name):
    linear, x, c = drawn(FULL[name](3, 2)), numbers(4, 3), numbers(4, 2)
    z, logdet = linear(x, c)
    back = linear.inverse(z, c)[0]
    raw = linear._raw(x, c)
    for i in range(4):
        alone = FULL[name](3).double()
        for key, value in raw.items():
            getattr(alone, key).data.copy_(value[i])
        assert_close(z[i], alone(x[i])[0], atol=1e-13, rtol=0)
        assert_close(logdet[i], alone(x[i])[1], atol=1e-13, rtol=0)
        assert_close(back[i], x[i], atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("signs", ["random", "plus", "minus"])
@torch.no_grad()
def test_however_far_driven_it_can_be_inverted(name, dtype, signs):
    """Numbers of 1000 make matrices of condition 1e12; what is solved is solved as well as can be.

    The residual of a stable solve is a rounding of the size of factors times solution.
    """
    linear = FULL[name](3).to(dtype)
    for parameter in linear.parameters():
        drawn_signs = torch.randn(parameter.shape).sign()
        parameter.data.copy_(1e3 * (drawn_signs if signs == "random" else 1.0))
        if signs == "minus":
            parameter.data.neg_()
    z = torch.randn(20, 3, dtype=dtype)
    x, logdet = linear.inverse(z)
    back, forth = linear(x)
    assert bool(logdet.isfinite().all())
    assert_close(forth, -logdet, atol=0, rtol=0)
    residual = (back - z).abs().amax(-1)
    moderate = name.startswith(("svd", "orthogonal", "householder"))
    factors = 1e3 if moderate else 1e7
    allowed = torch.finfo(dtype).eps * factors * (1.0 + x.abs().amax(-1))
    assert bool((residual < allowed).all()), (residual / allowed).max()
    if moderate and signs == "random":  # bounded condition: there and back holds as it stands
        shift = 1e3 if name.startswith("svd") else 0.0
        x = torch.randn(20, 3, dtype=dtype) * (1.0 + shift)
        back = linear.inverse(linear(x)[0])[0]
        error = (back - x).abs().amax() / x.abs().amax()
        assert float(error) < (1e-4 if dtype == torch.float32 else 1e-10)


def test_names_in_a_saved_state_are_those_they_always_were():
    assert set(T.LU(2).state_dict()) == {"lower", "upper", "diagonal", "shift"}
    assert set(T.LU(2, shift=False).state_dict()) == {"lower", "upper", "diagonal"}
    assert set(T.Orthogonal(2).state_dict()) == {"generator"}


@pytest.mark.parametrize(
    "build",
    [
        lambda: T.Orthogonal(3, method="householder", reflections=3),
        lambda: T.QR(3, method="exponential"),
        lambda: T.SVD(3, bound=1.0, context=2),
        lambda: T.LowRank(3, rank=2, context=2),
        lambda: T.Compose(T.BatchNorm(3), T.LU(3, context=2)),
    ],
    ids=["orthogonal", "qr", "svd", "low-rank", "batch-norm"],
)
def test_a_saved_flow_comes_back(build, tmp_path):
    flow = Flow(build(), bases.Normal(3))
    scatter(flow, 0.3)
    flow.eval()
    pf.save(flow, tmp_path / "flow.safetensors")
    x = torch.randn(5, 3)
    c = torch.randn(5, 2) if flow.context else None
    again = pf.load(tmp_path / "flow.safetensors")
    assert torch.equal(again.log_prob(x, c), flow.log_prob(x, c))


# ---------------------------------------------------------------- convolution


@pytest.mark.parametrize("lu", [False, True], ids=["plain", "lu"])
@pytest.mark.parametrize("seed", [None, 3])
def test_convolution_is_pytorchs(lu, seed):
    layer, x = drawn(T.Convolution1x1((3, 4, 5), lu=lu, seed=seed)), numbers(2, 3, 4, 5)
    pixel = torch.eye(3).double()[:, :, None, None].expand(3, 3, 4, 5)
    kernel = layer(pixel)[0][:, :, 0, 0].mT  # row i is what unit vector i became
    want = functional.conv2d(x, kernel[:, :, None, None])
    assert_close(layer(x)[0], want, atol=1e-12, rtol=0)
    logdet = 20.0 * np.linalg.slogdet(kernel.detach().numpy())[1]
    assert_close(layer(x)[1], torch.full((2,), logdet, dtype=torch.float64), atol=1e-11, rtol=0)


@pytest.mark.parametrize("lu", [False, True], ids=["plain", "lu"])
def test_a_convolution_begins_as_the_rotation_of_its_seed(lu):
    def kernel(seed):
        layer = T.Convolution1x1((4, 1, 1), lu=lu, seed=seed)
        return layer(torch.eye(4)[:, :, None, None])[0][:, :, 0, 0].mT.detach()

    is_rotation(kernel(1), atol=1e-6)
    assert torch.equal(kernel(1), kernel(1))
    assert float((kernel(1) - kernel(2)).abs().max()) > 0.1
    assert_close(kernel(None), torch.eye(4), atol=1e-7, rtol=0)


def test_both_kinds_of_convolution_begin_as_the_same_rotation():
    plain, lu = (T.Convolution1x1((4, 2, 2), lu=lu, seed=5) for lu in (False, True))
    x = torch.randn(3, 4, 2, 2)
    assert_close(plain(x), lu(x), atol=1e-5, rtol=0)


def test_random_rotations_favour_no_side():
    """Haar's: every entry has mean zero and mean square 1 / features."""
    entries = torch.stack([T.Convolution1x1((3, 1, 1), seed=s).start for s in range(2000)])
    assert float(entries.mean(0).abs().max()) < 5.0 / math.sqrt(3 * 2000)
    assert_close(entries.square().mean(0), torch.full((3, 3), 1 / 3), atol=0.04, rtol=0)


def test_a_singular_kernel_has_no_density_and_no_inverse():
    layer = T.Convolution1x1((2, 3, 3)).double()
    layer.weight.data.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))  # W is all ones
    assert bool((layer(numbers(4, 2, 3, 3))[1] == -torch.inf).all())
    with pytest.raises(InverseError, match="the matrix is singular; write lu=True"):
        layer.inverse(numbers(4, 2, 3, 3))


@pytest.mark.parametrize("far", [-1e3, -1.0, 1e3])  # at -1 a diagonal without bound would be zero
@torch.no_grad()
def test_a_kernel_by_lu_is_never_singular(far):
    layer = T.Convolution1x1((3, 2, 2), lu=True, seed=1).double()
    layer.weight.data.fill_(far)
    z = numbers(5, 3, 2, 2)
    x, logdet = layer.inverse(z)
    assert bool(logdet.isfinite().all())
    residual = (layer(x)[0] - z).abs().amax()
    assert float(residual) < 1e7 * 2.3e-16 * (1.0 + float(x.abs().max()))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: T.LU(0), "LU: features is 0, expected a whole number from 1 up."),
        (lambda: T.QR(-1), "QR: features is -1, expected a whole number from 1 up."),
        (lambda: T.SVD(2.0), "SVD: features is 2.0, expected a whole number from 1 up."),
        (lambda: T.Orthogonal(0), "Orthogonal: features is 0, expected a whole number from 1 up."),
        (lambda: T.LowRank(0, 1), "LowRank: features is 0, expected a whole number from 1 up."),
        (lambda: T.BatchNorm(0), "BatchNorm: features is 0, expected a whole number from 1 up."),
        (lambda: T.Diagonal(0), "Diagonal: features is 0, expected a whole number from 1 up."),
        (lambda: T.ActNorm(0), "ActNorm: features is 0, expected a whole number from 1 up."),
        (lambda: T.Standardize(0), "Standardize: features is 0, expected a whole number from 1"),
        (lambda: T.Reverse(True), "Reverse: features is True, expected a whole number from 1 up."),
        (lambda: T.Permutation(0), "Permutation: features is 0, expected a whole number from 1"),
        (lambda: T.Permutation(3, order=3), "Permutation: order is 3, expected a permutation of 0"),
        (lambda: T.LowRank(3, 0), "LowRank: rank is 0, expected a whole number from 1 up."),
        (
            lambda: T.LowRank(3, 4),
            "LowRank: rank is 4, expected at most features = 3; write LU or QR.",
        ),
        (
            lambda: T.Orthogonal(3, method="householder", reflections=0),
            "Orthogonal: reflections is 0, expected a whole number from 1 up.",
        ),
        (
            lambda: T.QR(3, method="givens"),
            "QR: method is 'givens', expected one of exponential, cayley, householder.",
        ),
        (
            lambda: T.Orthogonal(3, reflections=2),
            "Orthogonal: reflections is 2, but method is 'exponential', which has none; "
            "write method='householder'.",
        ),
        (lambda: T.SVD(3, bound=0.0), "SVD: bound is 0.0, expected a positive number."),
        (
            lambda: T.Convolution1x1((3, 4)),
            "Convolution1x1: event_shape is (3, 4), expected channels, height and width, each a "
            "whole number from 1 up; write (3, 32, 32).",
        ),
        (lambda: T.Convolution1x1((3, 0, 4)), "Convolution1x1: event_shape is (3, 0, 4), expected"),
        (lambda: T.Convolution1x1(3), "Convolution1x1: event_shape is 3, expected channels"),
        (
            lambda: T.BatchNorm(2, momentum=0.0),
            "BatchNorm: momentum is 0.0, expected a share in (0, 1].",
        ),
        (lambda: T.BatchNorm(2, eps=0.0), "BatchNorm: eps is 0.0, expected a positive number."),
    ],
)
def test_what_cannot_be_is_refused(build, says):
    with pytest.raises(ArgumentError) as caught:
        build()
    assert str(caught.value).startswith(says)
