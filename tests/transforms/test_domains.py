"""Sets of events: what lies in them, which lies in which, and how they are said."""

import math

import pytest
import torch
from torch.testing import assert_close

from pushforward.transforms.domains import (
    Angles,
    Box,
    Directions,
    Either,
    Everywhere,
    PartOf,
    Product,
    Shaped,
    Shares,
)
from pushforward.transforms.domains.together import carried, row_of, shaped, side_by_side

INF = math.inf
UNIT = Box(0.0, 1.0)
POSITIVE = Box(0.0, INF)
MIXED = Product([POSITIVE, UNIT], [2, 1])

WITHIN = [
    (UNIT, Everywhere()),
    (UNIT, POSITIVE),
    (UNIT, UNIT),
    (Box(0.0, 1.0, closed=True), UNIT),  # the ends have no mass
    (Box(torch.tensor([0.1, 0.0]), torch.tensor([0.9, 1.0])), UNIT),
    (UNIT, Box(torch.tensor([0.0, -1.0]), 1.0)),
    (Box(0.0, 0.1), Box(0.0, torch.tensor([0.1, 0.1]))),  # float32 and float64
    (Box(-math.pi, math.pi), Angles(2.0 * math.pi)),
    (Angles(24.0), Angles(24.0)),
    (Angles(24.0), Everywhere()),
    (Shares(), Shares()),
    (Shares(), Box(0.0, 1.0)),
    (Directions(), Box(-1.0, 1.0)),
    (Directions(), Everywhere()),
    (MIXED, Everywhere()),
    (MIXED, POSITIVE),
    (MIXED, MIXED),
    (UNIT, MIXED),
    (Box(torch.tensor([0.0, 0.0, 0.2]), torch.tensor([INF, INF, 0.3])), MIXED),
    (MIXED, Box(0.0, torch.tensor([INF, INF, 1.0]))),
    (Everywhere(), Product([Everywhere(), Everywhere()], [1, 2])),
    (Product([Shares(), UNIT], [3, 1]), Product([Shares(), POSITIVE], [3, 1])),
    (PartOf(UNIT), UNIT),
    (PartOf(MIXED), MIXED),
    (PartOf(Shares()), Shares()),
    (Angles(24.0), Box(-12.0, 12.0)),
    (Box(-3.0, 12.0), Angles(24.0)),
    (Angles(24.0, wrapped=False), Angles(24.0)),
    (Angles(24.0), Angles(24.0, wrapped=False)),
    (Either([UNIT, Box(2.0, 3.0)]), POSITIVE),
    (Box(0.2, 0.3), Either([Box(2.0, 3.0), UNIT])),
    (Product([POSITIVE, UNIT, UNIT], [2, 2, 1]), Product([Box(-1.0, INF), UNIT], [3, 2])),
    (Shaped(UNIT, 2), Everywhere(2)),
    (Shaped(UNIT, 2), Shaped(POSITIVE, 2)),
    (Shaped(MIXED, 2), Shaped(MIXED, 2)),
]
NOT_WITHIN = [
    (Everywhere(), UNIT),
    (Everywhere(), POSITIVE),
    (Everywhere(), Angles(1.0)),
    (Everywhere(), Shares()),
    (Everywhere(), Directions()),
    (Everywhere(), MIXED),
    (POSITIVE, UNIT),
    (Box(-0.01, 1.0), UNIT),
    (Box(0.0, torch.tensor([1.0, 1.1])), UNIT),
    (Box(0.0, 7.0), Angles(2.0 * math.pi)),
    (POSITIVE, Angles(1.0)),
    (Angles(24.0), Angles(12.0)),
    (Angles(24.0), Box(-11.0, 12.0)),
    (Angles(24.0, wrapped=False), Box(-12.0, 12.0)),
    (Box(-12.0, 12.0), Angles(24.0, wrapped=False)),
    (Box(0.0, 24.0), Angles(24.0)),
    (Box(0.0, 2.0), Either([UNIT, Box(1.0, 2.0)])),
    (Either([UNIT, POSITIVE]), UNIT),
    (UNIT, Shares()),
    (Directions(), Shares()),
    (Shares(), Directions()),
    (POSITIVE, MIXED),
    (MIXED, UNIT),
    (Shares(), Product([UNIT, UNIT], [1, 2])),
    (Product([UNIT, Shares()], [1, 3]), Product([Shares(), UNIT], [3, 1])),
    (Everywhere(), PartOf(Everywhere())),
    (UNIT, PartOf(UNIT)),
    (UNIT, PartOf(Everywhere())),  # it may, but nobody knows
    (PartOf(UNIT), PartOf(UNIT)),
    (PartOf(Everywhere()), UNIT),
    (Product([POSITIVE, UNIT, UNIT], [2, 2, 1]), Product([UNIT, UNIT], [3, 2])),
    (Product([Shares(), UNIT], [3, 1]), Product([UNIT, UNIT], [2, 2])),
    (Everywhere(2), Shaped(UNIT, 2)),
    (Shaped(POSITIVE, 2), Shaped(UNIT, 2)),
]


@pytest.mark.parametrize(("inner", "outer"), WITHIN, ids=lambda d: type(d).__name__)
def test_what_lies_within(inner, outer):
    assert inner.within(outer)


@pytest.mark.parametrize(("inner", "outer"), NOT_WITHIN, ids=lambda d: type(d).__name__)
def test_what_does_not(inner, outer):
    assert not inner.within(outer)


NAN = math.nan
CONTAINS = [
    (Everywhere(), [[0.0, -1e30, 5.0], [0.0, INF, 0.0], [NAN, 0.0, 0.0]], [1, 0, 0]),
    (UNIT, [[0.5, 1e-30, 0.9], [0.5, 0.0, 0.9], [0.5, 0.5, 1.0], [0.5, NAN, 0.5]], [1, 0, 0, 0]),
    (Box(0.0, 1.0, closed=True), [[0.0, 1.0, 0.5], [0.0, 1.1, 0.5]], [1, 0]),
    (POSITIVE, [[1.0, 1e30, 1.0], [1.0, INF, 1.0], [1.0, -1.0, 1.0]], [1, 0, 0]),
    (Angles(1.0), [[1e6, -3.0, 0.0], [INF, 0.0, 0.0]], [1, 0]),
    (Shares(), [[0.2, 0.3, 0.5], [0.2, 0.3, 0.6], [0.0, 0.5, 0.5], [-0.1, 0.6, 0.5]], [1, 0, 0, 0]),
    (Directions(), [[0.6, 0.0, -0.8], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], [1, 0, 0]),
    (MIXED, [[5.0, 5.0, 0.5], [5.0, 5.0, 5.0], [5.0, -5.0, 0.5], [NAN, 5.0, 0.5]], [1, 0, 0, 0]),
    (PartOf(UNIT), [[0.5, 0.5, 0.5], [0.5, 0.5, 5.0]], [1, 0]),
    (Either([UNIT, Box(2.0, 3.0)]), [[0.5] * 3, [2.5] * 3, [0.5, 2.5, 0.5]], [1, 1, 0]),
]  # fmt: skip


@pytest.mark.parametrize(("domain", "rows", "inside"), CONTAINS, ids=lambda v: type(v).__name__)
def test_what_is_inside(domain, rows, inside):
    x = torch.tensor(rows)
    assert domain.contains(x).tolist() == [bool(i) for i in inside]
    assert domain.contains(x.reshape(len(rows), 1, 3)).shape == (len(rows), 1)


@pytest.mark.parametrize(("domain", "rows", "inside"), CONTAINS, ids=lambda v: type(v).__name__)
def test_what_is_pulled_in_is_inside_and_the_rest_stays(domain, rows, inside):
    x = torch.tensor(rows)
    keep = torch.tensor(inside, dtype=torch.bool)
    numbers = ~x.isnan().any(-1)
    pulled = domain.pull_in(x)
    assert bool(domain.contains(pulled)[numbers].all())
    assert bool(pulled[~numbers].isnan().any(-1).all())
    assert_close(pulled[keep], x[keep], atol=1e-7, rtol=0)


def test_an_image_is_one_event():
    x = torch.zeros(2, 3, 4, 4)
    x[1, 2, 3, 3] = INF
    assert Everywhere(3).contains(x).tolist() == [True, False]
    assert Everywhere(0).contains(torch.tensor([1.0, INF])).tolist() == [True, False]


SAID = {
    "every real number": Everywhere(),
    "numbers in (0, 1)": UNIT,
    "numbers in [0, 1]": Box(0.0, torch.ones(3), closed=True),
    "numbers in (0, inf)": POSITIVE,
    "numbers in (0, 1) x (0, 2)": Box(0.0, torch.tensor([1.0, 2.0])),
    "numbers in (0, 0) x (0, 1) x (0, 2) x (0, 3) x …": Box(0.0, torch.arange(5.0)),
    "angles of period 24": Angles(24.0),
    "numbers above zero that sum to one": Shares(),
    "vectors of length one": Directions(),
    "numbers in (0, inf) (2), then numbers in (0, 1) (1)": MIXED,
    "only a part of numbers in (0, 1)": PartOf(UNIT),
}


@pytest.mark.parametrize("words", SAID)
def test_how_it_is_said(words):
    assert str(SAID[words]) == words


def test_directions_to_move_in_span_the_unit_of_volume():
    x = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    shares = Shares().tangent(x)
    assert_close(shares.sum(0), torch.zeros(2).double(), atol=0, rtol=0)
    assert_close(shares[:2], torch.eye(2).double(), atol=0, rtol=0)
    x = x / x.norm()
    along = Directions().tangent(x)
    assert_close(along.mT @ along, torch.eye(2).double(), atol=1e-12, rtol=0)
    assert_close(x @ along, torch.zeros(2).double(), atol=1e-12, rtol=0)
    both = Product([Directions(), UNIT], [3, 1]).tangent(torch.cat((x, x[:1])))
    assert both.shape == (4, 3)
    assert_close(both[3], torch.tensor([0.0, 0.0, 1.0]).double(), atol=0, rtol=0)


def test_an_event_of_several_dimensions_lies_where_its_numbers_do():
    square = shaped(Product([POSITIVE, UNIT], [2, 2]), 2)
    x = torch.tensor([[[5.0, 5.0], [0.5, 0.5]], [[5.0, 5.0], [0.5, 5.0]]])
    assert square.contains(x).tolist() == [True, False]
    assert square.contains(square.pull_in(x)).tolist() == [True, True]
    assert_close(square.pull_in(x)[0], x[0])
    assert str(square) == "numbers in (0, inf) (2), then numbers in (0, 1) (2)"
    assert str(square.part(1, 3)) == "numbers in (0, inf) x (0, 1)"
    assert row_of(square) is square.row
    assert shaped(Everywhere(), 3).dims == row_of(shaped(Everywhere(), 3)).dims + 2
    assert isinstance(shaped(PartOf(UNIT), 2), PartOf)
    assert square.tangent(x[0]).shape == (4, 4)
    assert_close(square.bounds()[1], torch.tensor([INF, INF, 1.0, 1.0], dtype=torch.float64))


def test_neighbours_of_one_kind_are_said_in_one():
    assert isinstance(side_by_side([Everywhere(), Everywhere()], [1, 2]), Everywhere)
    assert str(side_by_side([Angles(24.0), Angles(24.0)], [1, 1])) == "angles of period 24"
    assert str(side_by_side([Angles(24.0), Angles(7.0)], [1, 1])) == (
        "angles of period 24 (1), then angles of period 7 (1)"
    )
    assert str(side_by_side([UNIT, POSITIVE], [1, 2])) == (
        "numbers in (0, 1) x (0, inf) x (0, inf)"
    )
    assert str(side_by_side([Shares(), Shares()], [2, 2])).count("sum to one (2)") == 2
    assert isinstance(side_by_side([UNIT, PartOf(UNIT)], [1, 1]), PartOf)


def test_what_is_carried_from_less_than_all_ends_in_a_part():
    assert carried(Everywhere(), POSITIVE, UNIT) is UNIT
    assert isinstance(carried(UNIT, POSITIVE, Everywhere()), PartOf)
    part = PartOf(UNIT)
    assert carried(UNIT, POSITIVE, part) is part


def test_differences_are_those_of_the_parts():
    x, y = torch.tensor([[0.75, 9.0, 1.0], [-3.25, 0.0, 0.0]]), torch.zeros(2, 3)
    mixed = Product([Angles(1.0), Everywhere(), Angles(3.0)], [1, 1, 1])
    off = torch.tensor([[-0.25, 9.0, 1.0], [-0.25, 0.0, 0.0]])
    for domain in (mixed, PartOf(mixed)):
        assert torch.equal(domain.difference(x, y), off)
    image = Shaped(mixed, 2)
    assert torch.equal(image.difference(x[:, None], y[:, None]), off[:, None])
    assert torch.equal(Everywhere().difference(x, y), x)
