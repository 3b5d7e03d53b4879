"""Rows that are repeated are found, and nothing that is no code passes for one."""

import math

import pytest
import torch

from pushforward.numerics.repeats import distinct_rows


def codes(n, sizes, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(k, (n,), generator=draws).double() for k in sizes], -1)


@pytest.mark.parametrize("sizes", [[2], [3, 1, 5], [7, 2, 2, 4]])
def test_rows_are_put_together_again(sizes):
    rows = codes(1000, sizes)
    distinct, place = distinct_rows(rows, sizes)
    assert torch.equal(distinct[place], rows)
    assert len(distinct) == len(rows.unique(dim=0))


def test_rows_that_hardly_repeat_are_left():
    assert distinct_rows(codes(1000, [1000, 1000]), [1000, 1000]) is None
    assert distinct_rows(codes(10, [2]), [2]) is None


@pytest.mark.parametrize("value", [-1.0, 0.5, 2.0, math.nan, math.inf])
def test_what_is_no_code_is_left(value):
    rows = codes(1000, [2, 2])
    rows[17, 1] = value
    assert distinct_rows(rows, [2, 2]) is None


def test_more_combinations_than_numbers_can_count_are_left():
    assert distinct_rows(torch.zeros(1000, 60), [2] * 60) is None
