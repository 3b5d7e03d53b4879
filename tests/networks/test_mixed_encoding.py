"""What networks are shown of codes, numbers and angles."""

import math

import pytest
import torch
from torch.testing import assert_close

from pushforward.errors import ArgumentError, ShapeError
from pushforward.networks import MixedEncoding

COLUMNS = [
    {"codes": 3},
    {"codes": 2, "value": "number"},
    {"value": "angle", "period": 360.0},
    {"value": "whole"},
    {"codes": 2, "value": "angle", "period": 24.0},
]


def rows(n=500):
    draws = torch.Generator().manual_seed(0)
    even = torch.rand(n, 5, generator=draws)
    normal = torch.randn(n, 2, generator=draws)
    columns = [(3 * even[:, 0]).floor(), (even[:, 1] < 0.3).float(), 10.0 + 2.0 * normal[:, 0]]
    columns += [360.0 * even[:, 2], (4.0 * normal[:, 1]).round()]
    columns += [(even[:, 3] < 0.5).float(), 24.0 * even[:, 4]]
    return torch.stack(columns, -1)


def test_widths_and_where_each_output_comes_from():
    encode = MixedEncoding(COLUMNS)
    assert encode.features == 7
    assert encode.outputs == 3 + 2 + 2 + 2 + 4 + 4
    assert sorted(encode.groups) == sorted([0] * 3 + [1] * 3 + [2] * 4 + [3] + [4] * 6)
    assert encode(rows()).shape == (500, encode.outputs)
    assert encode(rows().reshape(5, 100, 7)).shape == (5, 100, encode.outputs)
    z = torch.randn(7, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(MixedEncoding(COLUMNS).double(), z)
    slots = torch.tensor([0, 1, 1, 2, 3, 4, 4])
    groups = torch.tensor(encode.groups)
    assert not bool((jacobian != 0)[groups[:, None] != slots].any())


def test_codes_are_ones_and_zeros():
    encode = MixedEncoding([{"codes": 3}, {"codes": 2}])
    made = encode(torch.cartesian_prod(torch.arange(3.0), torch.arange(2.0)))
    assert_close(made[:, :3], torch.eye(3).repeat_interleave(2, 0))
    assert_close(made[:, 3:], torch.eye(2).repeat(3, 1))


def test_codes_that_are_none_do_no_harm():
    encode = MixedEncoding([{"codes": 3}])
    made = encode(torch.tensor([[-1.0], [7.0], [torch.nan]]))
    assert_close(made, torch.eye(3)[[0, 2, 0]])


def test_numbers_become_normal_scores():
    encode = MixedEncoding(COLUMNS).fit(rows())
    x = rows()
    x[:, 1] = 0.0
    place = encode.groups.index(3)
    for score, number in (
        (encode(x)[:, place - 1], x[:, 2]),
        (encode(x)[:, place], x[:, 4]),
    ):
        assert abs(float(score.mean())) < 0.1
        assert float(score.std()) == pytest.approx(1.0, abs=0.1)
        assert bool((score[number.argsort()].diff() >= 0).all())


def test_a_value_that_is_not_there_is_zero_whatever_stands_in_its_place():
    encode = MixedEncoding(COLUMNS).fit(rows())
    x = rows()
    x[:, 1], x[:, 5] = 1.0, 1.0
    other = x.clone()
    other[:, 2], other[:, 6] = 1e30, -7.0
    assert_close(encode(other), encode(x), atol=0, rtol=0)


def test_values_that_are_not_there_have_no_part_in_the_curve():
    x = rows()
    spoiled = torch.where(x[:, 1:2] == 1, torch.tensor(1e20), x[:, 2:3])
    other = torch.cat((x[:, :2], spoiled, x[:, 3:]), -1)
    one, two = (MixedEncoding(COLUMNS).fit(z) for z in (x, other))
    assert torch.equal(one.knots_x, two.knots_x)


def test_angles_come_round():
    encode = MixedEncoding([{"value": "angle", "period": 360.0}])
    angle = torch.tensor([[0.0], [90.0], [359.0]], dtype=torch.float64)
    encode = encode.double()
    assert_close(encode(angle + 720.0), encode(angle), atol=1e-6, rtol=0)
    assert_close(encode(angle)[1], torch.tensor([0.0, 1.0, -1.0, 0.0]).double(), atol=1e-6, rtol=0)
    half = math.sqrt(0.5)
    at = encode(torch.tensor([45.0]).double())
    assert_close(at, torch.tensor([half, half, 0.0, 1.0]).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("far", [1e6, -1e6, 1e30])
def test_far_numbers_stay_finite_and_have_finite_gradients(far):
    encode = MixedEncoding(COLUMNS).fit(rows())
    x = rows(3)
    x[:, 1], x[:, 2], x[:, 4] = 0.0, far, -far
    x.requires_grad_()
    made = encode(x)
    assert bool(made.isfinite().all())
    assert bool(torch.autograd.grad(made.sum(), x)[0].isfinite().all())


def test_what_cannot_be_is_refused():
    with pytest.raises(ArgumentError, match="got no columns"):
        MixedEncoding([])
    with pytest.raises(ArgumentError, match=r"column 1 is .*'shape'"):
        MixedEncoding([{"codes": 2}, {"shape": 2}])
    with pytest.raises(ShapeError, match=r"rows have shape \(5, 2\), expected \(\*batch, 1\)"):
        MixedEncoding([{"codes": 2}])(torch.zeros(5, 2))
