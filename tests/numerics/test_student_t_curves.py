"""Student's t and rounding steps against what SciPy and hand-made numbers say."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch.testing import assert_close

from pushforward.numerics.rounding import rounding_step
from pushforward.numerics.tails.student_t_curves import (
    student_t_below,
    student_t_log_density,
    student_t_quantile,
)

DF = torch.tensor([0.5, 1.0, 3.7, 50.0, 5000.0], dtype=torch.float64)[:, None]
Z = torch.tensor([-1e6, -3.0, -1e-9, 0.0, 0.5, 40.0], dtype=torch.float64)


def test_density_and_distribution_function_are_those_of_scipy():
    law = scipy.stats.t(DF.numpy())
    got, want = student_t_log_density(Z, DF), torch.from_numpy(law.logpdf(Z.numpy()))
    assert_close(got, want, atol=1e-9, rtol=1e-9)  # SciPy's own constant is no better
    assert_close(
        student_t_below(Z, DF), torch.from_numpy(law.cdf(Z.numpy())), atol=1e-12, rtol=1e-9
    )


def test_the_constant_is_exact_in_float32_too():
    got = student_t_log_density(torch.zeros(1), torch.tensor(5000.0))
    assert_close(got, torch.tensor([-0.91898853]), atol=1e-7, rtol=0)


def test_quantiles_invert_the_distribution_function_and_are_symmetric():
    level = torch.tensor([1e-9, 0.2, 0.5, 0.8, 1.0 - 1e-9], dtype=torch.float64)
    z = student_t_quantile(level, DF)
    assert_close(student_t_below(z, DF), level.expand(5, 5), atol=1e-12, rtol=1e-6)
    assert_close(z[:, 1], -z[:, 3], atol=0, rtol=1e-12)


def test_the_density_has_gradients_however_far_out():
    z = torch.tensor([0.0, 1e-30, 1e30], requires_grad=True)
    df = torch.tensor(3.0, requires_grad=True)
    for slope in torch.autograd.grad(student_t_log_density(z, df).sum(), (z, df)):
        assert bool(slope.isfinite().all())


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([1.0, 2.0, 5.0], 1.0),
        ([1.5, 2.0, 5.0], 0.1),
        ([100.0, 300.0], 1.0),
        ([0.1 + 0.2, 0.7], 0.1),  # but for rounding of the last digit
        ([1.123456789, 2.0], 0.0),
        ([0.0, 1e6], 0.0),  # a step of 1 is too fine to matter
        ([1e-12, 3e-12, 7e-12], 0.0),  # close to no step, each of them
        ([3.0, 3.0], 0.0),
    ],
    ids=str,
)
def test_the_step_that_numbers_were_rounded_to(values, step):
    assert rounding_step(np.array(values)) == step
