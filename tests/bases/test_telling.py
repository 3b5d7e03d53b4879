"""What an earlier column tells of others: found where it is there, and where training begins."""

import math

import pytest
import torch
from torch.testing import assert_close

from pushforward import bases
from pushforward.bases.columns.telling import code_shares, places_and_scales, telling
from pushforward.errors import ArgumentError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def towns(n, seed=0):
    """A town, its postal code, a place of that town, and two columns that nothing is told of."""
    draws = seeded(seed)
    town = (8.0 * torch.rand(n, generator=draws).square()).floor().double()
    place = (3.0 * town + 0.1 * torch.randn(n, generator=draws)).double()
    noise = torch.randn(n, generator=draws).double()
    coin = (torch.rand(n, generator=draws) < 0.5).double()
    return torch.stack((town, coin, (5.0 * town + 2.0) % 8.0, place, noise), 1)


COLUMNS = [{"codes": 8}, {"codes": 2}, {"codes": 8}, {"value": "number"}, {"value": "number"}]


@pytest.mark.parametrize("rows", [40, 300, 20_000])
def test_it_is_found_where_it_is_there_and_only_there(rows):
    assert telling(COLUMNS, towns(rows)) == [None, None, 0, 0, None]


@pytest.mark.parametrize("seed", range(20))
def test_independent_columns_tell_nothing(seed):
    draws = seeded(seed)
    codes = (torch.rand(60, 4, generator=draws) * torch.tensor([2.0, 5.0, 9.0, 30.0])).floor()
    z = torch.cat((codes, torch.randn(60, 2, generator=draws)), 1).double()
    columns = [{"codes": 2}, {"codes": 5}, {"codes": 9}, {"codes": 30}, *[{"value": "number"}] * 2]
    assert telling(columns, z) == [None] * 6


def test_the_one_that_tells_most_is_taken():
    draws = seeded()
    x = torch.randint(0, 6, (500,), generator=draws)
    rough = x // 2
    noisy = torch.where(torch.rand(500, generator=draws) < 0.1, 5 - x, x)
    z = torch.stack((rough, noisy, x), 1).double()
    assert telling([{"codes": 3}, {"codes": 6}, {"codes": 6}], z)[2] == 1


def test_a_number_that_is_often_missing_is_told_of_by_what_it_is_where_it_is_there():
    draws = seeded()
    group = torch.randint(0, 3, (300,), generator=draws).double()
    missing = (torch.rand(300, generator=draws) < 0.4).double()
    value = group + 0.05 * torch.randn(300, generator=draws)
    z = torch.stack((group, missing, torch.where(missing == 1, 0.0, value)), 1)
    assert telling([{"codes": 3}, {"codes": 2, "value": "number"}], z) == [None, 0]


def test_shares_are_frequencies_where_there_are_many_rows():
    draws = seeded()
    given = torch.randint(0, 3, (200_000,), generator=draws)
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]])
    codes = torch.multinomial(p[given], 1, generator=draws)[:, 0]
    log_share = code_shares(given, codes, (3, 3))
    overall = torch.bincount(codes).double() / len(codes)
    assert_close((log_share + overall.log()).exp(), p.double(), atol=0.01, rtol=0)


def test_a_code_that_no_row_had_says_nothing():
    given = torch.tensor([0, 1] * 50)
    assert_close(code_shares(given, given, (3, 2))[2], torch.zeros(2).double())
    [mean, log_scale] = places_and_scales(given, given.double(), 3)[2].tolist()
    assert (mean, log_scale) == (0.0, 0.0)


def test_places_are_means_and_spreads_of_groups():
    draws = seeded()
    given = torch.randint(0, 2, (100_000,), generator=draws)
    numbers = torch.randn(100_000, generator=draws).double() * (0.1 + 0.4 * given) + given - 0.5
    found = places_and_scales(given, numbers, 2)
    assert_close(found[:, 0], torch.tensor([-0.5, 0.5]).double(), atol=0.01, rtol=0)
    assert_close(found[:, 1].exp(), torch.tensor([0.1, 0.5]).double(), atol=0.01, rtol=0)


def test_before_any_training_draws_have_what_it_tells():
    z = towns(100).float()
    after = telling(COLUMNS, z)
    base = bases.MixedColumns(COLUMNS, components=3, hidden=(8,), after=after).fit(z)
    drawn = base.rsample(2_000, generator=seeded())
    town, postal, place = drawn[:, 0], drawn[:, 2], drawn[:, 3]
    assert float(((5.0 * town + 2.0) % 8.0 == postal).float().mean()) > 0.98
    assert float((place - 3.0 * town).abs().median()) < 0.5
    plain = bases.MixedColumns(COLUMNS, components=3, hidden=(8,)).fit(z)
    fresh = towns(2_000, seed=1).float()
    gain = (base.log_prob(fresh) - plain.log_prob(fresh)).detach().mean()
    assert float(gain) > 2.0


def test_it_is_saved_with_the_rest():
    z = towns(100).float()
    base = bases.MixedColumns(COLUMNS, hidden=(8,), after=telling(COLUMNS, z)).fit(z)
    again = bases.MixedColumns(COLUMNS, hidden=(8,), after=telling(COLUMNS, z))
    again.load_state_dict(base.state_dict())
    assert torch.equal(again.log_prob(z), base.log_prob(z))
    assert "parts.0.told.table" not in bases.MixedColumns(COLUMNS).state_dict()


@pytest.mark.parametrize(
    "after", [[None] * 4, [0, None, None, None, None], [None, None, None, 4, 3]]
)
def test_only_an_earlier_column_with_codes_tells(after):
    with pytest.raises(ArgumentError, match="expected for each of the 5 columns None or the place"):
        bases.MixedColumns(COLUMNS, after=after)


def test_a_component_is_never_narrower_than_the_least():
    """Else a density grew without bound where rows repeat a number."""
    z = torch.stack((torch.arange(200.0) % 2, 5.0 * (torch.arange(200.0) % 2)), 1)
    columns = [{"codes": 2}, {"value": "number"}]
    base = bases.MixedColumns(columns, hidden=(8,), after=[None, 0]).fit(z)
    with torch.no_grad():
        base.network.last.bias[2:] = -50.0
    assert math.isfinite(float(base.log_prob(z).detach().max()))
    assert float(base.log_probs(z).detach()[:, 1].max()) < 10.0


def test_columns_of_many_codes_are_looked_at_beside_many_others():
    draws = seeded()
    town = torch.randint(0, 200, (2000, 1), generator=draws)
    others = torch.randint(0, 30, (2000, 120), generator=draws)
    z = torch.cat((town, town * 7 % 200, others), 1).float()
    found = telling([{"codes": 200}, {"codes": 200}, *[{"codes": 30}] * 120], z)
    assert found == [None, 0, *[None] * 120]
