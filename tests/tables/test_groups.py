"""Groups with gaps between them are counted, and densities that vary are not taken for groups."""

import pytest
import torch

from pushforward.data.toys import TOYS
from pushforward.tables.groups import count_groups


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=seeded(seed))


def shuffled(*parts):
    rows = torch.cat(parts)
    return rows[torch.randperm(len(rows), generator=seeded(9))]


@pytest.mark.parametrize("rows", [2_000, 20_000])
@pytest.mark.parametrize(
    ("toy", "groups"), [("eight_gaussians", 8), ("pinwheel", 5), ("two_moons", 2), ("banana", 1)]
)
def test_the_toys_have_as_many_as_one_sees(toy, groups, rows):
    assert count_groups(TOYS[toy].sample(rows, seed=3).float()) == groups


@pytest.mark.parametrize("columns", [1, 2, 6, 20, 40])
def test_one_cloud_is_one_group(columns):
    cloud = normal(5_000, columns)
    assert count_groups(cloud) == 1
    assert count_groups(cloud.exp()) == 1
    assert count_groups(torch.rand(5_000, columns, generator=seeded(1))) == 1


@pytest.mark.parametrize("columns", [1, 3, 10])
def test_clouds_of_unequal_width_are_told_apart_in_any_units(columns):
    rows = shuffled(0.1 * normal(3_000, columns), normal(3_000, columns, 1) + 8.0)
    assert count_groups(rows) == 2
    assert count_groups(rows * 10.0 ** torch.arange(columns) - 1e3) == 2


def test_whole_numbers_are_groups_only_where_they_are_few():
    numbers = torch.randint(0, 100, (6_000, 1), generator=seeded()).float()
    assert count_groups(numbers) == 1
    assert count_groups((numbers % 2) + 0.001 * normal(6_000, 1)) == 2


def test_outliers_are_no_group():
    assert count_groups(shuffled(normal(3_000, 2), 50.0 + normal(20, 2, 1))) == 1


@pytest.mark.parametrize("rows", [torch.zeros(300, 2), normal(6, 3), normal(1, 2)])
def test_rows_that_tell_nothing_are_one_group(rows):
    assert count_groups(rows) == 1


def test_the_count_is_the_same_every_time_and_draws_from_no_shared_state():
    rows = shuffled(normal(2_000, 2), normal(2_000, 2, 1) + 6.0)
    state = torch.get_rng_state()
    assert count_groups(rows) == count_groups(rows) == 2
    assert torch.equal(torch.get_rng_state(), state)
