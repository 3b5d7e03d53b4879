"""The normal base with a full covariance."""

import pytest
import torch
from torch.testing import assert_close

import pushforward as pf
from pushforward import bases
from pushforward import transforms as T
from pushforward.errors import ArgumentError

COVARIANCE = [[2.0, 0.6], [0.6, 1.0]]


def test_it_takes_a_covariance_and_gives_its_factor():
    base = bases.MultivariateNormal(2, 1.0, COVARIANCE)
    assert_close(base.scale_tril @ base.scale_tril.mT, torch.tensor(COVARIANCE))
    assert base.loc.tolist() == [1.0, 1.0]
    z = torch.randn(5, 2)
    assert_close(bases.MultivariateNormal(2).log_prob(z), bases.Normal(2).log_prob(z))


def test_it_learns_mean_and_covariance():
    torch.manual_seed(0)
    x = torch.randn(4000, 2) @ torch.linalg.cholesky(torch.tensor(COVARIANCE)).mT + 1.0
    base = bases.MultivariateNormal(2, learn=True)
    flow = pf.Flow(T.Reverse(2), base)
    pf.fit(flow, x, steps=400, lr=0.02, ema=0.0, progress=False)
    found = (base.scale_tril @ base.scale_tril.mT).detach().flip(0, 1)
    assert_close(found, x.T.cov(), atol=0.05, rtol=0)
    assert_close(base.loc.detach().flip(0), x.mean(0), atol=0.05, rtol=0)


def test_infinite_numbers_have_no_density():
    z = torch.tensor([[float("inf"), 0.0], [0.0, -float("inf")], [0.0, 0.0]])
    log_p = bases.MultivariateNormal(2, covariance=COVARIANCE).log_prob(z)
    assert log_p.isneginf().tolist() == [True, True, False]


def test_what_is_above_the_diagonal_is_not_read():
    base = bases.MultivariateNormal(2, covariance=COVARIANCE, learn=True)
    z = torch.randn(5, 2)
    before = base.log_prob(z)
    base.below.data[0, 1] = 7.0
    assert torch.equal(base.log_prob(z), before)


def test_under_autocast_the_density_keeps_full_precision():
    base, z = bases.MultivariateNormal(2, covariance=COVARIANCE), torch.randn(50, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = base.log_prob(z)
    assert torch.equal(half, base.log_prob(z))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # by forward mode
def test_compiled_and_mapped_over_batches_it_is_the_same():
    base, z = bases.MultivariateNormal(2, 1.0, COVARIANCE).double(), torch.randn(6, 2).double()
    compiled = torch.compile(base.log_prob, fullgraph=True, backend="aot_eager")
    assert_close(compiled(z), base.log_prob(z))
    assert_close(torch.vmap(base.log_prob)(z), base.log_prob(z))
    precision = torch.linalg.inv(torch.tensor(COVARIANCE).double())
    assert_close(torch.func.hessian(base.log_prob)(z[0]), -precision, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("covariance", "says"),
    [
        ([[1.0]], r"covariance has shape \(1, 1\), expected \(2, 2\)"),
        ([[1.0, 0.5], [0.4, 1.0]], "expected a symmetric, positive definite matrix"),
        ([[1.0, 2.0], [2.0, 1.0]], "expected a symmetric, positive definite matrix"),
        ([[1.0, 0.0], [0.0, float("nan")]], "expected a symmetric, positive definite matrix"),
    ],
)
def test_a_matrix_that_is_no_covariance_is_refused(covariance, says):
    with pytest.raises(ArgumentError, match=says):
        bases.MultivariateNormal(2, covariance=covariance)


def test_it_is_saved(tmp_path):
    flow = pf.Flow(T.Diagonal(2), bases.MultivariateNormal(2, covariance=COVARIANCE))
    again = pf.load(pf.save(flow, tmp_path / "flow.safetensors"))
    x = torch.randn(5, 2)
    assert torch.equal(again.log_prob(x), flow.log_prob(x))
    assert repr(flow.base) == "MultivariateNormal(features=2)"
