"""Laws every map keeps: monotone, smooth, inverted, and with the derivative it says it has."""

import copy

import pytest
import torch
from tests.maps.cases import BOX, CASES, numbers, raws
from torch import Tensor
from torch.testing import assert_close

import pushforward.maps

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
directions = pytest.mark.parametrize("direction", ["forward", "inverse"])


def derivative(apply, x: Tensor, raw: Tensor) -> Tensor:
    """The derivative autograd finds, number by number."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(apply(x, raw)[0].sum(), x)[0]


def test_every_public_map_has_a_case():
    covered = {type(case.build()).__name__ for case in CASES}
    assert set(pushforward.maps.__all__) - {"Map"} == covered


@every_case
@directions
def test_the_log_derivative_is_the_one_autograd_finds(case, direction):
    map = case.build().double()
    x, raw = numbers(case, 2000), raws(map, 2000)
    apply = getattr(map, direction)
    assert_close(apply(x, raw)[1], derivative(apply, x, raw).log(), atol=1e-10, rtol=0)


@every_case
@directions
def test_it_is_monotone(case, direction):
    map = case.build().double()
    raw = raws(map, 1, spread=1.5).expand(4000, 1, -1)
    x = numbers(case, 4000).sort(0).values
    z, log_derivative = getattr(map, direction)(x, raw)
    assert bool((z.diff(dim=0) > 0).all())
    assert bool(log_derivative.isfinite().all())


@every_case
def test_inverse_undoes_forward_and_the_other_way_round(case):
    map = case.build().double()
    x, raw = numbers(case, 5000), raws(map, 5000)
    for first, second in ((map.forward, map.inverse), (map.inverse, map.forward)):
        z, log_there = first(x, raw)
        back, log_back = second(z, raw)
        assert_close(back, x, atol=case.double, rtol=0)
        assert_close(log_back, -log_there, atol=10 * case.double, rtol=0)


@every_case
def test_round_trips_hold_in_float32(case):
    map = case.build()
    x, raw = numbers(case, 5000, torch.float32), raws(map, 5000, dtype=torch.float32)
    for first, second in ((map.forward, map.inverse), (map.inverse, map.forward)):
        z, log_there = first(x, raw)
        back, log_back = second(z, raw)
        assert_close(back, x, atol=case.single, rtol=0)
        assert_close(log_back, -log_there, atol=10 * case.single, rtol=0)
        assert z.dtype == log_there.dtype == torch.float32


@every_case
@directions
def test_raw_zero_is_the_identity_or_close_to_it(case, direction):
    map = case.build().double()
    x = numbers(case, 501) if case.start is not None else torch.zeros(501, 1).double()
    raw = torch.zeros(501, 1, map.raw_width, dtype=torch.float64)
    z, log_derivative = getattr(map, direction)(x, raw)
    atol = 1e-6 if case.start is None else case.start
    assert_close(z, x, atol=atol, rtol=0)
    assert_close(log_derivative, torch.zeros_like(z), atol=atol, rtol=0)


@every_case
def test_away_from_zero_it_is_another_map(case):
    map = case.build().double()
    x = numbers(case, 501)
    moved = float((map(x, raws(map, 501))[0] - x).abs().mean())
    assert moved < 1e-12 if case.fixed else moved > 0.05


@every_case
@directions
def test_value_and_slope_go_on_where_the_formula_changes(case, direction):
    """From both sides of each end of the box; a jump of the slope is a jump of the density."""
    map = case.build().double()
    raw, step = raws(map, 200), 1e-10
    for end in case.ends:
        left, at, right = (
            getattr(map, direction)(torch.full((200, 1), x, dtype=torch.float64), raw)
            for x in (end - step, end, end + step)
        )
        if case.outside == "nothing":  # it ends here: the slope is that of the inside
            left, right = (left, at) if end > 0 else (at, right)
        turn = 2 * BOX if case.outside == "circle" else torch.inf
        assert_close(
            _around(right[0] - left[0], turn), torch.zeros(200, 1).double(), atol=1e-6, rtol=0
        )
        if case.smooth:
            assert_close(right[1], left[1], atol=1e-5, rtol=0)
            assert_close(at[1], left[1], atol=1e-5, rtol=0)


def _around(gap: Tensor, turn: float) -> Tensor:
    return gap if turn == torch.inf else gap - turn * torch.round(gap / turn)


@every_case
@directions
def test_numbers_do_not_see_each_other(case, direction):
    map = case.build().double()
    x, raw = numbers(case, 40), raws(map, 40)
    together = getattr(map, direction)(x, raw)
    alone = [getattr(map, direction)(x[i : i + 1], raw[i : i + 1]) for i in range(40)]
    for k in (0, 1):
        assert_close(together[k], torch.cat([a[k] for a in alone]), atol=1e-13, rtol=0)


@every_case
@directions
def test_batches_of_any_shape(case, direction):
    map = case.build().double()
    x, raw = numbers(case, 24), raws(map, 24)
    flat = getattr(map, direction)(x, raw)
    for batch in ((2, 3, 4), (24,), (0,)):
        many = 0 if batch == (0,) else 24
        shaped = getattr(map, direction)(
            x[:many].reshape(*batch, 1), raw[:many].reshape(*batch, 1, map.raw_width)
        )
        for k in (0, 1):
            assert shaped[k].shape == (*batch, 1)
            assert_close(shaped[k].reshape(many, 1), flat[k][:many], atol=1e-14, rtol=0)


@every_case
@directions
@pytest.mark.parametrize("spread", [0.0, 0.7, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_gradients_are_finite_everywhere(case, direction, spread, dtype):
    """In x and raw; inside, at the ends, just beside them, beyond, far out, and subnormal."""
    map = case.build().to(dtype)
    places = [0.0, 1e-40, 0.5, BOX, -BOX, 4.0, -4.0, 1e6, -1e6]
    beside = [float(torch.nextafter(torch.tensor(BOX), torch.tensor(to))) for to in (0.0, 9.0)]
    knots = (torch.arange(1, 8, dtype=dtype) / 8 * 2 * BOX - BOX).tolist()
    x = torch.tensor([*places, *beside, *knots], dtype=dtype).repeat(20)[:, None].requires_grad_()
    raw = raws(map, len(x), spread, dtype).requires_grad_()
    z, log_derivative = getattr(map, direction)(x, raw)
    assert bool(z.isfinite().all())
    assert not bool(log_derivative.isnan().any())
    for output in (z, log_derivative):
        if output.requires_grad:
            for gradient in torch.autograd.grad(
                output.sum(), (x, raw), retain_graph=True, allow_unused=True
            ):
                assert gradient is None or bool(gradient.isfinite().all())


@every_case
@directions
def test_gradients_are_those_of_small_steps(case, direction):
    map = case.build().double()
    x = numbers(case, 6).requires_grad_()
    raw = raws(map, 6).requires_grad_()
    assert torch.autograd.gradcheck(getattr(map, direction), (x, raw), atol=1e-5, rtol=1e-4)


@every_case
def test_bind_makes_a_copy(case):
    map = case.build()
    bound = copy.deepcopy(map).bind(1)
    assert bound is not map
    x, raw = numbers(case, 50, torch.float32), raws(map, 50, dtype=torch.float32)
    assert_close(bound(x, raw), map(x, raw), atol=0, rtol=0)
    loose = [key for key, value in vars(bound).items() if isinstance(value, Tensor)]
    assert not loose


@every_case
def test_tensors_lie_in_memory_as_a_file_brings_them_back(case):
    """Products of matrices round in the order of memory: another one is another last digit."""
    assert all(buffer.is_contiguous() for buffer in case.build().bind(1).buffers())


@every_case
@directions
@pytest.mark.parametrize("index", [slice(1, 3), torch.tensor([3, 1])], ids=["slice", "indices"])
def test_a_part_is_the_map_of_these_features(case, direction, index):
    """Each feature has constants of its own, which the data sets where it may."""
    map = case.build().double().bind(4)
    scale = torch.tensor([0.5, 1.0, 2.0, 8.0], dtype=torch.float64)
    map.fit(scale * torch.randn(500, 4, generator=torch.Generator().manual_seed(3)).double())
    x = numbers(case, 200).expand(200, 4) * (scale if case.outside == "line" else 1.0)
    raw = raws(map, 200).expand(200, 4, map.raw_width)
    whole = getattr(map, direction)(x, raw)
    part = map.part(index)
    some = getattr(part, direction)(x[:, index], raw[:, index])
    for k in (0, 1):
        assert_close(some[k], whole[k][:, index], atol=1e-13, rtol=1e-13)
    again = part.part(slice(1, 2))
    alone = getattr(again, direction)(x[:, index][:, 1:], raw[:, index][:, 1:])
    assert_close(alone, tuple(k[:, 1:] for k in some), atol=1e-13, rtol=1e-13)
    assert_close(getattr(map, direction)(x, raw), whole, atol=0, rtol=0)  # left as it was
