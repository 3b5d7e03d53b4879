"""Drawn rows beside rows of a table: what differs, and whether they are copies."""

import math

import pytest
import torch

from pushforward.errors import DataError
from pushforward.tables.likeness import likeness
from pushforward.tables.schema.column import Column

COLUMNS = [Column(name, "Float64", low=-9.0, high=9.0) for name in "abc"]


def rows(n, seed):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("n", [60, 600])
def test_fresh_rows_of_the_same_kind_are_like_them(n, seed):
    found = likeness(COLUMNS, rows(n, seed), rows(n, seed + 100))
    near = found["distances"]
    assert near["near"] <= near["near_by_chance"]
    assert near["copies"] == 0.0
    assert 0.8 < near["drawn"] / near["data"] < 1.25
    assert all(one["distance"] < 1.5 * one["chance"] for one in found["columns"].values())


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_some_copies_among_fresh_rows_are_found(noise):
    data = rows(600, 0)
    drawn = rows(600, 1)
    drawn[:180] = data[:180] + noise * rows(180, 2)
    found = likeness(COLUMNS, drawn, data)["distances"]
    assert found["near"] > found["near_by_chance"]
    assert found["copies"] == pytest.approx(0.3 if noise == 0.0 else 0.0)


def test_moved_and_uncorrelated_columns_are_named():
    data = rows(500, 0)
    data[:, 1] += 2.0 * data[:, 0]
    drawn = rows(500, 1)
    drawn[:, 1] *= math.sqrt(5.0)
    drawn[:, 2] += 1.0
    found = likeness(COLUMNS, drawn, data)
    assert found["correlations"]["between"] == ["a", "b"]
    assert found["correlations"]["largest"] > 0.7
    assert found["columns"]["c"]["distance"] > 3.0 * found["columns"]["c"]["chance"]


def test_few_rows_are_refused():
    with pytest.raises(DataError, match="there are 9 rows, expected at least 10"):
        likeness(COLUMNS, rows(50, 0), rows(9, 1))
