"""What each transform is by definition. The laws hold for its inverse too, and for a stranger."""

import pytest
import torch
from tests.transforms.cases import scatter
from torch.testing import assert_close

from pushforward import maps
from pushforward import transforms as T
from pushforward.errors import ArgumentError, DataError, InputTypeError, ShapeError


def rows(n, features):
    return torch.randn(n, features, dtype=torch.float64)


def drawn(transform):
    scatter(transform.double(), 0.4)
    return transform


def test_compose_applies_the_first_step_to_the_data_first():
    first, second = drawn(T.LU(3)), T.Permutation(3, order=[1, 2, 0])
    both, x = T.Compose(first, second), rows(5, 3)
    assert_close(both(x)[0], second(first(x)[0])[0], atol=0, rtol=0)
    assert_close(both(x)[1], first(x)[1] + second(first(x)[0])[1], atol=0, rtol=0)
    assert_close(both.inverse(x)[0], first.inverse(second.inverse(x)[0])[0], atol=0, rtol=0)


def test_compose_hands_the_context_to_the_steps_that_read_it():
    step = drawn(T.Coupling(3, map=maps.Affine(), context=2, hidden=(16,)))
    both, x, c = T.Compose(T.Reverse(3), step), rows(5, 3), rows(5, 2)
    assert both.context == 2
    assert_close(both(x, c), step(x.flip(-1), c), atol=0, rtol=0)


def test_compose_of_a_compose_names_every_step():
    both = T.Compose(T.Reverse(2), T.Compose(T.LU(2), T.Diagonal(2)))
    assert [name for name, _ in both.steps()] == ["0.Reverse", "1.0.LU", "1.1.Diagonal"]


def test_compose_fits_each_step_on_what_the_steps_before_give():
    x = rows(500, 2) * torch.tensor([3.0, 0.1]) + 5.0
    spread, same = T.Standardize(2).double(), T.Standardize(2).double()
    T.Compose(spread, T.Permutation(2, order=[1, 0]), same).fit(x)
    assert_close(spread.mean, x.mean(0), atol=1e-12, rtol=0)
    assert_close(same.mean, torch.zeros(2).double(), atol=1e-12, rtol=0)
    assert_close(same.scale, torch.ones(2).double(), atol=1e-12, rtol=0)


def test_inverse_exchanges_the_directions():
    inner = drawn(T.LU(3))
    turned, x = T.Inverse(inner), rows(5, 3)
    assert_close(turned(x), inner.inverse(x), atol=0, rtol=0)
    assert_close(turned.inverse(x), inner(x), atol=0, rtol=0)


def test_lu_is_the_product_of_its_factors():
    linear, x = drawn(T.LU(4)), rows(5, 4)
    matrix = torch.autograd.functional.jacobian(lambda v: linear(v)[0], x[0])
    lower = linear.lower.tril(-1) + torch.eye(4)
    upper = torch.linalg.solve_triangular(lower, matrix, upper=False, unitriangular=True)
    assert_close(upper, upper.triu(), atol=1e-12, rtol=0)
    assert_close(upper.triu(1), linear.upper.triu(1), atol=1e-12, rtol=0)
    assert bool((upper.diagonal() > 0).all())
    assert_close(linear(x)[0], x @ matrix.mT + linear.shift, atol=1e-12, rtol=0)
    assert_close(linear(x)[1], upper.diagonal().log().sum().expand(5), atol=1e-12, rtol=0)


def test_lu_stays_invertible_however_far_its_diagonal_is_driven():
    linear = T.LU(3).double()
    linear.diagonal.data.fill_(-1e3)
    assert bool(linear(rows(5, 3))[1].isfinite().all())


def test_orthogonal_is_a_rotation():
    turn = drawn(T.Orthogonal(4))
    matrix = torch.autograd.functional.jacobian(lambda v: turn(v)[0], rows(1, 4)[0])
    assert_close(matrix @ matrix.mT, torch.eye(4).double(), atol=1e-12, rtol=0)
    assert_close(torch.linalg.det(matrix), torch.tensor(1.0).double(), atol=1e-12, rtol=0)
    assert not torch.equal(matrix, torch.eye(4).double())


def test_diagonal_scales_each_feature_by_its_own_number():
    scale = T.Diagonal(2).double()
    scale.log_scale.data.copy_(torch.tensor([2.0, 5.0]).log())
    z, logdet = scale(torch.ones(3, 2, dtype=torch.float64))
    assert_close(z, torch.tensor([2.0, 5.0]).double().expand(3, 2), atol=1e-6, rtol=0)
    assert_close(logdet.exp(), torch.full((3,), 10.0).double(), atol=1e-5, rtol=0)


def test_permutation_puts_feature_order_i_in_place_i():
    swap, x = T.Permutation(4, order=[2, 0, 3, 1]), rows(5, 4)
    assert_close(swap(x)[0], x[:, [2, 0, 3, 1]], atol=0, rtol=0)
    assert torch.equal(T.Permutation(9, seed=4).order, T.Permutation(9, seed=4).order)
    assert not torch.equal(T.Permutation(9, seed=4).order, T.Permutation(9, seed=5).order)


def test_a_random_permutation_leaves_the_callers_random_state_alone():
    before = torch.get_rng_state()
    T.Permutation(9, seed=4)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("order", [[0, 0], [0], [1, 2], [0, 1, 2], [0.5, 1.5]], ids=str)
def test_what_is_no_permutation_is_refused(order):
    with pytest.raises(ArgumentError, match=r"expected a permutation of 0 … 1"):
        T.Permutation(2, order=order)


@pytest.mark.parametrize("kind", [T.Standardize, T.ActNorm])
def test_a_fitted_scaling_makes_mean_zero_and_deviation_one(kind):
    x = rows(400, 3) * torch.tensor([1e-3, 1.0, 1e4]) + torch.tensor([0.0, 5.0, 1e6])
    z, logdet = kind(3).double().fit(x)(x)
    assert_close(z.mean(0), torch.zeros(3).double(), atol=1e-9, rtol=0)
    assert_close(z.std(0, unbiased=False), torch.ones(3).double(), atol=1e-9, rtol=0)
    want = -x.std(0, unbiased=False).log().sum()
    assert_close(logdet, want.expand(400), atol=1e-9, rtol=0)


def test_actnorm_looks_at_data_once():
    norm = T.ActNorm(1).double().fit(rows(100, 1))
    before = norm.shift.clone()
    norm.fit(rows(100, 1) + 10.0)
    assert_close(norm.shift, before, atol=0, rtol=0)


def test_standardize_looks_again_at_every_fit():
    scale = T.Standardize(1).double().fit(rows(100, 1))
    scale.fit(rows(100, 1) + 10.0)
    assert float(scale.mean) > 9.0


@pytest.mark.parametrize("kind", [T.Standardize, T.ActNorm])
def test_columns_that_carry_no_density_are_named(kind):
    x = rows(10, 2)
    x[:, 1] = 7.0
    with pytest.raises(DataError, match=r"column 1 of x is constant \(7\)"):
        kind(2).double().fit(x)
    x[3, 1] = torch.nan
    with pytest.raises(DataError, match="column 1 of x holds values that are not finite"):
        kind(2).double().fit(x)


LOOKING = {
    "Standardize": lambda: T.Standardize(2),
    "ActNorm": lambda: T.ActNorm(2),
    "Circle": lambda: T.Circle(2),
    "Interp": lambda: T.Interp(2),
    "RationalQuadratic": lambda: T.Coupling(2, map=maps.RationalQuadratic()),
    "SumOfSquares": lambda: T.Elementwise(2, map=maps.SumOfSquares()),
    "GeneralizedPareto": lambda: T.Elementwise(2, map=maps.GeneralizedPareto()),
}


@pytest.mark.parametrize("name", LOOKING)
def test_a_table_without_rows_is_said_to_have_none(name):
    with pytest.raises(DataError) as caught:
        T.Compose(LOOKING[name](), T.Diagonal(2)).fit(torch.zeros(0, 2))
    assert str(caught.value) == f"{name}.fit: x has no rows, expected at least 1."


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", ["RationalQuadratic", "SumOfSquares", "GeneralizedPareto"])
def test_maps_set_no_box_by_what_is_not_finite(name, bad):
    x = torch.randn(50, 2)
    x[:5, 1] = bad
    says = f"{name}.fit: column 1 of x holds values that are not finite"
    with pytest.raises(DataError, match=says):
        T.Elementwise(2, map=getattr(maps, name)()).fit(x)


def test_a_coupling_moves_by_what_stays():
    keep = [True, False, False, True]
    step = drawn(T.Coupling(4, map=maps.Affine(), keep=keep, hidden=(16,)))
    x = rows(5, 4)
    z, logdet = step(x)
    kept, moved = [0, 3], [1, 2]
    assert_close(z[:, kept], x[:, kept], atol=0, rtol=0)
    scale_and_shift = step.network(4.0 * torch.asinh(x[:, kept] / 4.0)).unflatten(-1, (2, 2))
    want, log_derivative = maps.Affine()(x[:, moved], scale_and_shift)
    assert_close(z[:, moved], want, atol=1e-14, rtol=0)
    assert_close(logdet, log_derivative.sum(-1), atol=1e-14, rtol=0)


def test_a_map_handed_to_several_layers_is_copied():
    spline = maps.RationalQuadratic()
    a, b = T.Coupling(2, map=spline), T.Coupling(2, map=spline)
    a.fit(torch.randn(100, 2) * 50.0)
    assert float(a.map.high[0]) > 50.0
    assert float(b.map.high[0]) == float(spline.high) == 3.5


@pytest.mark.parametrize(
    ("keep", "says"),
    [([True, True], "at least one of them False"), ([True], r"expected booleans of shape \(2,\)")],
    ids=str,
)
def test_a_coupling_that_cannot_be_is_refused(keep, says):
    with pytest.raises(ArgumentError, match=says):
        T.Coupling(2, map=maps.Affine(), keep=keep)


def test_numbers_for_booleans_are_refused():
    with pytest.raises(ArgumentError, match="expected booleans"):
        T.Coupling(2, map=maps.Affine(), keep=[1, 0])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]], ids=str)
def test_an_autoregression_depends_on_what_is_earlier_and_on_all_of_it(order):
    step = drawn(T.Autoregressive(4, map=maps.Affine(), order=order, hidden=(16,)))
    jacobian = torch.autograd.functional.jacobian(lambda v: step(v)[0], rows(1, 4)[0])
    place = torch.tensor(order)
    earlier_or_same = place[None, :] <= place[:, None]
    assert torch.equal(jacobian != 0, earlier_or_same)


def test_steps_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"LU gives \(2,\), the next step, LU, takes \(3,\)"):
        T.Compose(T.LU(2), T.LU(3))
    with pytest.raises(ShapeError, match=r"contexts of widths \[1, 2\], expected one"):
        T.Compose(*(T.Coupling(2, map=maps.Affine(), context=c) for c in (1, 2)))
    with pytest.raises(ArgumentError, match="got no transform"):
        T.Compose()
    with pytest.raises(InputTypeError, match=r"write Compose\(a, b\) rather than"):
        T.Compose([T.LU(2)])
