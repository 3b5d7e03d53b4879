"""The Gaussian that every fit is compared with."""

import numpy as np
import pytest
import torch
from tests.tables.cases import conditional_gaussian, numbers

from pushforward.tables.gaussian import GaussianReference


def test_it_is_scipys():
    from scipy.stats import multivariate_normal

    x = torch.from_numpy(numbers().to_numpy())
    found = GaussianReference(x).log_prob(x)
    want = multivariate_normal(x.mean(0), np.cov(x.numpy().T, ddof=0)).logpdf(x)
    assert found.numpy() == pytest.approx(want, abs=1e-7)


def test_a_conditional_is_the_textbooks():
    data = numbers()
    x, c = (torch.tensor(data.select(names).to_numpy()) for names in (["a", "b"], ["c"]))
    found = GaussianReference(x, c).log_prob(x, c)
    assert found.numpy() == pytest.approx(conditional_gaussian(data, data, None), abs=1e-7)


def test_weights_are_repetitions():
    x = torch.from_numpy(numbers(50).to_numpy())
    times = torch.arange(50) % 4
    weighted = GaussianReference(x, weights=times.double())
    repeated = GaussianReference(x.repeat_interleave(times, 0))
    assert weighted.log_prob(x).numpy() == pytest.approx(repeated.log_prob(x), abs=1e-9)


def test_a_table_longer_than_a_chunk():
    x = torch.randn(70_000, 2, dtype=torch.float64) * torch.tensor([1.0, 1e4]) + 1e6
    found = GaussianReference(x).log_prob(x[:5])
    want = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov(correction=0))
    assert found.numpy() == pytest.approx(want.log_prob(x[:5]).numpy(), abs=1e-6)


def test_exactly_dependent_columns_still_have_a_figure():
    x = torch.randn(100, 1)
    assert (
        GaussianReference(torch.cat((x, 2 * x), 1))
        .log_prob(torch.cat((x, 2 * x), 1))
        .isfinite()
        .all()
    )


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (7, 30), (10, 9)])
def test_few_rows_make_a_sensible_yardstick(rows, columns):
    """Not much worse than independent columns, however few rows there are."""
    x = torch.randn(rows + 200, columns, generator=torch.manual_seed(0)).double()
    learned, held = x[:rows], x[rows:]
    figure = float(GaussianReference(learned).log_prob(held).mean())
    std = learned.std(0, correction=0)
    std = torch.where(std > 0.0, std, 1.0)
    alone = torch.distributions.Normal(learned.mean(0), std).log_prob(held).sum(1)
    assert figure > 3.0 * float(alone.mean())
    of_two = GaussianReference(learned, learned[:, :1]).log_prob(held, held[:, :1])
    assert bool(of_two.isfinite().all())


def test_columns_of_one_value_have_a_figure():
    x = torch.stack((torch.randn(20), torch.ones(20)), 1)
    assert bool(GaussianReference(x).log_prob(x + 1.0).isfinite().all())
