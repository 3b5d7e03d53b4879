"""Steps that a kernel takes in one go give what they give one after the other."""

import pytest
import torch
from tests.kernels.cases import FEATURES, LAYERS, ROWS, layer, needs_kernels, rows
from torch.testing import assert_close

from pushforward import kernels, maps
from pushforward import transforms as T
from pushforward.transforms import in_turn

pytestmark = needs_kernels
SINGLE, REAL = torch.float32, torch.float64
every_row = pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
directions = pytest.mark.parametrize("direction", ["forward", "inverse"])


def one_by_one(made, x, context, direction):
    """Through the door of each step, so that none knows of the others."""
    total = torch.zeros((), dtype=x.dtype)
    steps = list(made.transforms)
    for step in steps if direction == "forward" else reversed(steps):
        x, logdet = getattr(step, direction)(x, context if step.context else None)
        total = total + logdet
    return x, total


def found(apply, leaves):
    """Results and the gradients of a sum of them by what can have one."""
    z, logdet = apply()
    total = (z * rows(*z.shape, z.dtype, seed=5)).sum()
    total = total + (logdet * rows(len(z), 1, z.dtype, seed=6)[:, 0]).sum()
    return [z, logdet, *torch.autograd.grad(total, leaves)]


@every_row
@directions
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("count", [1, 33, 1000])
def test_a_row_gives_what_its_steps_give(case, direction, threads, count):
    made = layer(case, 3)
    x, c = rows(count, FEATURES).requires_grad_(), rows(count, 3, seed=9).requires_grad_()
    before, leaves = torch.get_num_threads(), [x, c, *made.parameters()]
    leaves = leaves if made.context else [x, *made.parameters()]
    torch.set_num_threads(threads)
    try:
        got = found(lambda: getattr(made, direction)(x, c), leaves)
        with torch.no_grad():
            bare = getattr(made, direction)(x, c)
    finally:
        torch.set_num_threads(before)
    want = found(lambda: one_by_one(made, x, c, direction), leaves)
    # sums over a thousand rows, through several layers
    assert_close(got, want, atol=1e-9, rtol=1e-9)
    assert_close(list(bare), want[:2], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("case", ROWS[:4], ids=lambda case: case.name)
def test_a_row_is_one_operation_of_autograd(case):
    """Small flows spend their time between operations."""
    node = layer(case, 3)(rows(5, FEATURES), rows(5, 3))[0].grad_fn
    assert {type(one[0]).__name__ for one in node.next_functions if one[0]} == {"AccumulateGrad"}


@every_row
def test_what_is_given_stays_as_it_is(case):
    """Without gradients the steps work in one piece of memory, which is not the caller's."""
    made = layer(case, 3)
    x, c = rows(40, FEATURES), rows(40, 3)
    given = x.clone(), c.clone()
    with torch.no_grad():
        made(x, c)
        made.inverse(x, c)
    assert torch.equal(x, given[0])
    assert torch.equal(c, given[1])


@pytest.mark.parametrize("trained", ["x", "context", "first", "last"])
def test_gradients_of_what_is_trained_alone(trained):
    made = layer(ROWS[3], 3)
    x, c = rows(40, FEATURES), rows(40, 3, seed=9)
    made.requires_grad_(False)
    leaves = {
        "x": [x],
        "context": [c],
        "first": list(made.transforms[0].parameters()),
        "last": list(made.transforms[-1].parameters()),
    }[trained]
    for leaf in leaves:
        leaf.requires_grad_()
    got = found(lambda: made(x, c), leaves)
    want = found(lambda: one_by_one(made, x, c, "forward"), leaves)
    assert_close(got, want, atol=1e-10, rtol=1e-10)


def test_gradients_flow_through_an_inverse_that_is_not_trained():
    """The kernel has no gradient of an autoregression's inverse; what lies before it is trained."""
    made = layer(ROWS[4], 0)
    made.requires_grad_(False)
    made.transforms[-1].requires_grad_()  # the first one of the inverse
    z = rows(20, FEATURES)
    leaves = list(made.transforms[-1].parameters())
    got = found(lambda: made.inverse(z), leaves)
    with kernels.disabled():
        want = found(lambda: made.inverse(z), leaves)
    assert_close(got, want, atol=1e-9, rtol=1e-9)


def test_a_step_that_stands_twice_gets_both_gradients():
    step = layer(LAYERS[0], 0)
    made = T.Compose(step, T.LU(FEATURES).double(), step)
    x = rows(20, FEATURES)
    leaves = list(made.parameters())
    got = found(lambda: made(x), leaves)
    want = found(lambda: one_by_one(made, x, None, "forward"), leaves)
    assert_close(got, want, atol=1e-10, rtol=1e-10)


def test_backward_again():
    made = layer(ROWS[2], 0)
    x = rows(20, FEATURES).requires_grad_()
    z, logdet = made(x)
    total = z.square().sum() + logdet.sum()
    first = torch.autograd.grad(total, [x, *made.parameters()], retain_graph=True)
    assert_close(torch.autograd.grad(total, [x, *made.parameters()]), first, atol=0, rtol=0)


@pytest.mark.parametrize("count", [64, 65, 150])
def test_rows_of_any_length(count, monkeypatch):
    steps = [layer(LAYERS[1], 0) for _ in range(count)]
    for step in steps:  # such that numbers stay in bounds
        step.network.last.weight.data.mul_(0.01)
    made = T.Compose(*steps)
    x = rows(10, FEATURES).requires_grad_()
    got = found(lambda: made(x), [x])
    assert_close(got, found(lambda: one_by_one(made, x, None, "forward"), [x]))
    monkeypatch.setattr(in_turn, "_MOST_SAVED", 1)  # each in a row of its own
    assert_close(got, found(lambda: made(x), [x]))


@pytest.mark.parametrize("place", ["_forward", "_inverse"])
def test_a_step_whose_direction_was_replaced_calls_it(place):
    made = layer(ROWS[0], 0)
    x = rows(10, FEATURES)
    direction = place[1:]
    plain = getattr(made.transforms[1], place)
    setattr(made.transforms[1], place, lambda x, context: (plain(x, context)[0], torch.ones(10)))
    with kernels.disabled():
        want = getattr(made, direction)(x)
    assert_close(getattr(made, direction)(x), want, atol=1e-10, rtol=1e-10)


class Louder(T.LU):
    """A transform from outside the package."""

    def _forward(self, x, context):
        z, logdet = super()._forward(x, context)
        return 2.0 * z, logdet + self.event_shape[0] * torch.tensor(2.0).log()


def test_a_step_that_derives_from_ours_is_its_own():
    made = T.Compose(layer(LAYERS[0], 0), Louder(FEATURES), layer(LAYERS[1], 0)).double()
    x = rows(10, FEATURES)
    want = one_by_one(made, x, None, "forward")
    assert_close(made(x), want, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", ["_move", "_plain"])
def test_a_coupling_one_of_whose_parts_was_replaced_calls_it(name):
    made = layer(ROWS[0], 0)
    x = rows(10, FEATURES)
    before = made(x)[0]
    plain = getattr(made.transforms[1], name)
    setattr(made.transforms[1], name, lambda *a, **k: (2.0 * plain(*a, **k)[0], torch.ones(10)))
    assert bool((made(x)[0] != before).any())
    same(lambda: made(x))


def test_triangles_one_of_whose_parts_was_replaced_call_it():
    made = layer(ROWS[2], 0)
    first = made.transforms[0]
    plain = first._factors
    first._factors = lambda raw: (plain(raw)[0], 2.0 * plain(raw)[1], 2.0 * plain(raw)[2])
    same(lambda: made(rows(10, FEATURES)))


def same(apply):
    got = apply()
    with kernels.disabled():
        want = apply()
    assert_close(got, want, atol=1e-10, rtol=1e-10)


def test_a_step_of_another_width_is_refused():
    made = T.Compose(T.LU(3), T.LU(3))
    for other in (
        T.LU(4),
        T.Coupling(4, map=maps.Affine()),
        T.Autoregressive(4, map=maps.Affine()),
    ):
        made.transforms[1] = other
        for x in (torch.zeros(1, 3), torch.zeros(200, 3)):
            with pytest.raises((RuntimeError, IndexError, ValueError)):
                made(x)


@pytest.mark.parametrize("width", [2, 5])
def test_a_step_of_another_context_is_refused(width):
    one = T.Coupling(4, map=maps.Affine(), hidden=(8,), context=3)
    made = T.Compose(one, T.LU(4))
    made.transforms[0] = T.Coupling(4, map=maps.Affine(), hidden=(8,), context=width)
    with pytest.raises(RuntimeError):
        made(torch.zeros(5, 4), torch.zeros(5, 3))


@pytest.mark.parametrize("name", ["lower", "diagonal", "upper", "shift"])
def test_triangles_with_a_frozen_tensor(name):
    """A buffer in the place of a parameter, as pruning and freezing make it."""
    made = layer(ROWS[1], 0)
    step = made.transforms[0]
    frozen = getattr(step, name).detach().clone()
    delattr(step, name)
    step.register_buffer(name, frozen)
    same(lambda: made(rows(10, FEATURES)))


def test_triangles_of_wrong_shapes_are_refused():
    made = T.Compose(T.LU(3), T.LU(3))
    made.transforms[1].lower = torch.nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(RuntimeError):
        made(torch.zeros(5, 3))


def test_a_shift_that_is_not_used_is_not_used():
    made = T.Compose(T.LU(3, shift=False), T.LU(3)).double()
    made.transforms[0].shift = torch.nn.Parameter(torch.ones(3).double())
    same(lambda: made(rows(5, 3)))


def test_gradients_of_a_context_that_few_of_many_steps_read():
    last = T.Coupling(4, map=maps.Affine(), hidden=(8,), context=3)
    for parameter in last.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    made = T.Compose(*(T.LU(4) for _ in range(64)), last).double()
    x, c = rows(50, 4), rows(50, 3).requires_grad_()
    same(lambda: torch.autograd.grad(sum(t.sum() for t in made(x, c)), c))


def test_what_is_not_trained_may_change_before_backward():
    """Autograd keeps nothing of steps whose weights, and whose data, have no gradient."""
    made = layer(ROWS[0], 0)
    made.transforms[0].requires_grad_(False)
    bias = made.transforms[0].network.last.bias
    leaves = [*made.transforms[1].parameters(), *made.transforms[2].parameters()]

    def gradients():
        z, logdet = made(rows(5, FEATURES))
        bias.add_(1.0)
        found = torch.autograd.grad(z.sum() + logdet.sum(), leaves)
        bias.sub_(1.0)
        return found

    same(gradients)


def test_a_first_step_made_in_inference_mode():
    with torch.inference_mode():
        first = layer(LAYERS[0], 0).requires_grad_(False)
    made = T.Compose(first, layer(LAYERS[1], 0))
    same(lambda: [t.detach() for t in made(rows(5, FEATURES))])


def test_a_model_changed_in_inference_mode_is_the_changed_one():
    keeps = [True, False] * 3, [False, True] * 3
    with torch.inference_mode():
        a, b = (T.Coupling(6, map=maps.Affine(), keep=keep, hidden=(8,)) for keep in keeps)
        for one in (a, b):
            for parameter in one.parameters():
                torch.nn.init.normal_(parameter, std=0.5)
        x = torch.linspace(-1.0, 1.0, 30).reshape(5, 6)
        a(x)
        a.load_state_dict(b.state_dict())
        assert_close(a(x), b(x))


@pytest.mark.parametrize("what", ["map", "activation", "network"])
def test_second_derivatives_of_what_was_replaced_are_refused(what):
    made = layer(ROWS[0], 0)
    x = rows(5, FEATURES).requires_grad_()
    z, _ = made(x)
    step, other = made.transforms[1], layer(ROWS[0], 0).transforms[1]
    if what == "map":
        step.map = maps.Affine(bound=0.1)
    elif what == "network":
        step.network = other.network
    else:
        step.network.activation = "tanh"
    with pytest.raises(RuntimeError, match="replaced between forward and backward"):
        torch.autograd.grad(z.sum(), x, create_graph=True)


def test_ends_of_a_box_that_are_trained():
    made = layer(LAYERS[0], 0)
    made.map.low = torch.nn.Parameter(made.map.low.clone())
    same(lambda: torch.autograd.grad(made(rows(20, FEATURES))[0].sum(), made.map.low))


def test_a_bias_whose_gradient_is_infinite_has_an_infinite_one():
    made = T.Coupling(2, map=maps.Additive(), hidden=(4,)).double()
    up = torch.ones(300, 2).double()
    up[0] = torch.inf
    x, bias = rows(300, 2), made.network.last.bias
    assert bool(torch.autograd.grad(made(x)[0], bias, up)[0].isposinf().all())


@pytest.mark.parametrize(("size", "diagonal"), [(0.3, -20.0), (1.0, -3.0), (0.5, -1.0)])
def test_gradients_of_the_inverse_of_nearly_singular_triangles(size, diagonal):
    """What undoes one triangle after the other must not be multiplied again: digits would go."""
    generator = torch.Generator().manual_seed(0)
    made, double = (T.Compose(T.LU(8)).to(t) for t in (SINGLE, REAL))
    (step,) = made.transforms
    with torch.no_grad():
        step.diagonal.fill_(diagonal)
        step.upper.normal_(0.0, size, generator=generator)
        step.lower.normal_(0.0, 0.1, generator=generator)
    double.load_state_dict(made.state_dict())
    z = torch.randn(300, 8, generator=generator)
    ours = together(made, "inverse", z)[2]
    with kernels.disabled():
        theirs, truth = together(made, "inverse", z)[2], together(double, "inverse", z.double())[2]
    wrong, plain = (float((one.double() - truth).norm()) for one in (ours, theirs))
    assert wrong <= max(2.0 * plain, 2e-6 * float(truth.norm()))


@pytest.mark.parametrize("features", [1, 2, 16, 43])
@directions
def test_triangles_in_float32_are_at_most_twice_as_wrong(features, direction):
    """Values, and the gradient of all parameters as one vector; of ten flows: of one, with few
    features, the last digit of one sum decides."""
    wrong, plain, size = (torch.zeros(3, dtype=REAL) for _ in range(3))
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        made, double = (T.Compose(*(T.LU(features) for _ in "123")).to(t) for t in (SINGLE, REAL))
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.5 / features, generator=generator)
        double.load_state_dict(made.state_dict())
        x = torch.randn(300, features, generator=generator)
        ours = together(made, direction, x)
        with kernels.disabled():
            theirs, truth = together(made, direction, x), together(double, direction, x.double())
        for i, (got, other, want) in enumerate(zip(ours, theirs, truth, strict=True)):
            wrong[i] += (got.double() - want).square().sum()
            plain[i] += (other.double() - want).square().sum()
            size[i] += want.square().sum()
    least = 2 * torch.finfo(SINGLE).eps * size.sqrt()
    assert bool((wrong.sqrt() <= torch.maximum(2.0 * plain.sqrt(), least)).all())


def together(steps, direction, x):
    """Values, logdets, and all gradients as one vector."""
    x = x.clone().requires_grad_()
    z, logdet, *grads = found(lambda: getattr(steps, direction)(x), [x, *steps.parameters()])
    return z.detach(), logdet.detach(), torch.cat([g.flatten() for g in grads])


def test_a_map_with_a_numeric_inverse_stands_in_a_row():
    made = T.Compose(
        T.Coupling(FEATURES, map=maps.LogisticMixture(3), hidden=(8,)), T.LU(FEATURES)
    ).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x = rows(20, FEATURES)
    z, logdet = made(x)
    back, other = made.inverse(z)
    assert_close(back, x, atol=1e-8, rtol=0)
    assert_close(other, -logdet, atol=1e-8, rtol=0)
