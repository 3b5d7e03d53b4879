"""The density of a normal base that a kernel finds behind the layers, in one go with them."""

import pytest
import torch
from tests.kernels.cases import FEATURES, LAYERS, ROWS, layer, needs_kernels, rows
from tests.kernels.errors import how_much_worse
from torch.testing import assert_close

from pushforward import Flow, bases, kernels
from pushforward import transforms as T
from pushforward.errors import ShapeError

pytestmark = needs_kernels
SINGLE, REAL = torch.float32, torch.float64


def scaling(features=FEATURES, dtype=REAL):
    made = T.Standardize(features).to(dtype)
    made.mean.copy_(rows(1, features, dtype, seed=3)[0])
    made.scale.copy_((0.2 * rows(1, features, dtype, seed=4)[0]).exp())
    return made


def normal(features=FEATURES, dtype=REAL, **options):
    loc, log_scale = 0.3 * rows(2, features, seed=5)
    return bases.Normal(features, loc, log_scale.exp(), **options).to(dtype)


def flow_of(steps, base=None):
    return Flow(T.Compose(*steps), normal() if base is None else base)


def some_steps(context=0):
    return [scaling(), *layer(ROWS[0], context).transforms, scaling()]


def found(flow, x, *given):
    """Log-densities, and the gradients of a sum of them by x and all that is trained."""
    log_prob = flow.log_prob(x, *given)
    up = rows(log_prob.numel(), 1, log_prob.dtype, seed=6).reshape(log_prob.shape)
    leaves = [x, *(one for one in flow.parameters() if one.requires_grad)]
    return [log_prob, *torch.autograd.grad((log_prob * up).sum(), leaves)]


def plain(flow, x, *given):
    with kernels.disabled():
        return found(flow, x, *given)


@pytest.mark.parametrize("batch", [(), (1,), (33,), (1000,), (2, 3, 5)])
@pytest.mark.parametrize("context", [0, 3])
def test_a_density_behind_layers(batch, context):
    flow = flow_of(some_steps(context))
    given = [rows(1, context, seed=7)[0]] if context else []
    count = torch.Size(batch).numel()
    x = rows(count, FEATURES).reshape(*batch, FEATURES).requires_grad_()
    got, want = found(flow, x, *given), plain(flow, x, *given)
    assert_close(got, want, atol=1e-9, rtol=1e-9)
    with torch.no_grad():
        assert_close(flow.log_prob(x, *given), want[0], atol=1e-10, rtol=1e-10)


def test_a_density_behind_what_no_kernel_knows():
    flow = flow_of([layer(LAYERS[0], 0), T.Reverse(FEATURES)])
    x = rows(20, FEATURES).requires_grad_()
    assert_close(found(flow, x), plain(flow, x), atol=1e-10, rtol=1e-10)


def test_scaling_layers_and_density_are_one_operation_of_autograd():
    """Small flows spend their time between operations."""
    node = flow_of(some_steps()).log_prob(rows(5, FEATURES)).grad_fn
    assert {type(one[0]).__name__ for one in node.next_functions if one[0]} == {"AccumulateGrad"}


@pytest.mark.parametrize("what", ["scaling", "density"])
@pytest.mark.parametrize("features", [7, 3000])
def test_in_float32_it_is_at_most_twice_as_wrong(what, features):
    """Squares of thousands of numbers are added up."""
    steps = [scaling(features)] if what == "scaling" else [T.Reverse(features)]
    flow = flow_of(steps, bases.Normal(features) if what == "scaling" else normal(features))
    x = rows(400, features)
    truth = plain(flow.double(), x.requires_grad_())
    flow, x = flow.float(), x.detach().float().requires_grad_()
    for exact, ours, theirs in zip(truth, found(flow, x), plain(flow, x), strict=True):
        errors = [((one - exact).abs() / (1 + exact.abs())).detach() for one in (ours, theirs)]
        assert max(how_much_worse(*errors)) <= 2.0


@pytest.mark.parametrize("dtype", [SINGLE, REAL])
def test_what_is_not_finite_gets_through(dtype):
    flow = flow_of([scaling(2, dtype)], normal(2, dtype))
    places = [0.0, -0.0, 1e-42, 1e30, -1e30, torch.inf, -torch.inf, torch.nan]
    x = torch.cartesian_prod(*[torch.tensor(places, dtype=dtype)] * 2).requires_grad_()
    for got, want in zip(found(flow, x), plain(flow, x), strict=True):
        assert torch.equal(got.isnan(), want.isnan())
        assert_close(got, want, equal_nan=True)


def test_second_derivatives():
    flow, x = flow_of(some_steps()), rows(3, FEATURES)

    def of(x):
        return flow.log_prob(x).sum()

    got = torch.autograd.functional.hessian(of, x)
    with kernels.disabled():
        want = torch.autograd.functional.hessian(of, x)
    assert_close(got, want, atol=1e-9, rtol=1e-9)
    assert float(want.abs().max()) > 0.1


@pytest.mark.parametrize("options", [{"learn": True}, {"context": 3}])
def test_a_base_that_is_trained_gets_its_gradients(options):
    flow = flow_of(some_steps(options.get("context", 0)), normal(**options))
    x, given = rows(20, FEATURES).requires_grad_(), [rows(20, 3)] if "context" in options else []
    got, want = found(flow, x, *given), plain(flow, x, *given)
    assert_close(got, want, atol=1e-9, rtol=1e-9)
    assert len(got) == 2 + len(list(flow.parameters()))


@pytest.mark.parametrize("name", ["scale", "mean"])
def test_a_scaling_that_is_trained_gets_its_gradients(name):
    flow, x = flow_of(some_steps()), rows(20, FEATURES)
    tensor = getattr(flow.transform.transforms[0], name).requires_grad_()

    def gradient():
        return torch.autograd.grad(flow.log_prob(x).sum(), tensor)

    got = gradient()
    with kernels.disabled():
        assert_close(got, gradient(), atol=1e-10, rtol=1e-10)


def test_hooks_of_a_transform_are_called():
    flow, seen = flow_of(some_steps()), []
    flow.transform.register_forward_hook(lambda *given: seen.append(given[2][1]))
    flow.log_prob(rows(4, FEATURES))
    assert len(seen) == 1


def test_a_base_that_derives_from_ours_is_its_own():
    class Doubled(bases.Normal):
        def log_prob(self, z, context=None):
            return 2.0 * super().log_prob(z, context)

    flow = flow_of(some_steps())
    once = flow.log_prob(x := rows(4, FEATURES))
    logdet = flow.transform(x)[1]
    flow.base = Doubled(FEATURES, flow.base.loc, flow.base.log_scale.exp()).double()
    assert_close(flow.log_prob(x), 2.0 * once - logdet)


@pytest.mark.parametrize("of", ["mean", "scale", "loc", "log_scale"])
@pytest.mark.parametrize("change", ["in place", "exchanged"])
def test_constants_that_change_before_backward_are_told(of, change):
    flow = flow_of(some_steps())
    log_prob = flow.log_prob(rows(4, FEATURES).requires_grad_()).sum()
    tensor = getattr(flow.base if "lo" in of else flow.transform.transforms[0], of)
    if change == "in place":
        tensor.add_(1.0)
    else:
        tensor.data = tensor + 1.0
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation|exchanged"):
        log_prob.backward()


def test_rows_of_another_width_are_refused():
    with pytest.raises(ShapeError, match="forward: x"):
        flow_of(some_steps()).log_prob(rows(4, FEATURES + 1))


def test_what_is_given_stays_as_it_is():
    flow, x = flow_of(some_steps()), rows(40, FEATURES)
    before = x.clone()
    with torch.no_grad():
        flow.log_prob(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("of", ["mean", "scale"])
def test_a_constant_that_became_a_parameter_gets_its_gradient(of):
    flow = flow_of(some_steps())
    first = flow.transform.transforms[0]
    setattr(first, of, torch.nn.Parameter(getattr(first, of).clone()))
    x = rows(20, FEATURES).requires_grad_()
    assert_close(found(flow, x), plain(flow, x), atol=1e-9, rtol=1e-9)


def test_samples_may_be_changed_in_place_before_backward():
    """The last step of sampling is a scaling, whose gradient does not ask what it gave."""
    flow = flow_of(some_steps()[:3])

    def gradients(change):
        x = flow.rsample(5, generator=torch.Generator().manual_seed(0))
        return torch.autograd.grad(change(x).sum(), list(flow.parameters()))

    assert_close(gradients(lambda x: x.mul_(2.0)), gradients(lambda x: 2.0 * x))


def test_the_data_may_be_written_over_before_backward():
    flow, x = flow_of(some_steps()), rows(5, FEATURES)
    leaves = list(flow.parameters())
    want = torch.autograd.grad(flow.log_prob(x).sum(), leaves)
    log_prob = flow.log_prob(x).sum()
    x.zero_()
    assert_close(torch.autograd.grad(log_prob, leaves), want)


def test_second_derivatives_in_data_that_was_written_over_are_refused():
    flow, x = flow_of(some_steps()), rows(5, FEATURES)
    log_prob = flow.log_prob(x).sum()
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(log_prob, list(flow.parameters()), create_graph=True)


@pytest.mark.parametrize("of", ["mean", "scale", "loc", "log_scale"])
def test_second_derivatives_with_exchanged_constants_are_refused(of):
    flow = flow_of(some_steps())
    x = rows(4, FEATURES).requires_grad_()
    log_prob = flow.log_prob(x).sum()
    tensor = getattr(flow.base if "lo" in of else flow.transform.transforms[0], of)
    tensor.data = tensor + 1.0
    with pytest.raises(RuntimeError, match="exchanged"):
        torch.autograd.grad(log_prob, x, create_graph=True)


def test_a_transform_that_is_to_be_compiled_is():
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph

    flow = flow_of(some_steps()[:2])
    want = flow.log_prob(x := rows(4, FEATURES))
    flow.transform.compile(backend=backend)
    assert_close(flow.log_prob(x), want)
    assert compiled
