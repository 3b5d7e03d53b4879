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
    for seed in (0, 3):
        cloud = normal(1_500 + 1_000 * seed, columns, seed)
        assert count_groups(cloud) == 1
        assert count_groups(cloud.exp()) == 1
        assert count_groups(torch.special.ndtr(cloud)) == 1  # evenly spread in a box


@pytest.mark.parametrize("columns", [1, 3, 10])
def test_clouds_of_unequal_width_are_told_apart_in_any_units(columns):
    rows = shuffled(0.1 * normal(3_000, columns), normal(3_000, columns, 1) + 8.0)
    assert count_groups(rows) == 2
    assert count_groups(rows * 10.0 ** torch.arange(columns) - 1e3) == 2


@pytest.mark.parametrize("count", [2, 5, 21, 100])
def test_gaps_between_whole_numbers_are_none(count):
    for seed in range(4):
        numbers = torch.randint(0, count, (2_000, 1), generator=seeded(seed)).float()
        assert count_groups(numbers) == 1
        assert count_groups(torch.cat((numbers, normal(2_000, 1, seed)), 1)) == 1


def test_groups_of_whole_numbers_are_told_apart():
    rows = shuffled(normal(2_000, 1), normal(2_000, 1, 1) + 30.0)
    assert count_groups((10.0 * rows).round()) == 2


def test_outliers_are_no_group_and_hide_none():
    strays = 1e4 * normal(5, 2, 1)
    assert count_groups(shuffled(normal(3_000, 2), 50.0 + normal(20, 2, 1))) == 1
    two = (normal(3_000, 2), normal(3_000, 2, 1) + 9.0)
    assert count_groups(shuffled(*two, strays)) == 2


@pytest.mark.parametrize("rows", [torch.zeros(300, 2), normal(6, 3), normal(1, 2)])
def test_rows_that_tell_nothing_are_one_group(rows):
    assert count_groups(rows) == 1


def test_the_count_is_the_same_every_time_and_draws_from_no_shared_state():
    rows = shuffled(normal(2_000, 2), normal(2_000, 2, 1) + 6.0)
    state = torch.get_rng_state()
    assert count_groups(rows) == count_groups(rows) == 2
    assert torch.equal(torch.get_rng_state(), state)
