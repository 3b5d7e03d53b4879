"""What happens between forward and backward to the tensors that kernels were given."""

import pytest
import torch
from tests.kernels.cases import FEATURES, LAYERS, ROWS, layer, needs_kernels, rows
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.testing import assert_close

from pushforward import kernels, maps
from pushforward import transforms as T

pytestmark = needs_kernels
CASES = [case for case in [*LAYERS, *ROWS] if case.name in ("coupling-spline", "row-couplings")]
CASES.append(next(case for case in LAYERS if case.name == "autoregressive-affine"))
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def zeros(parameters):
    for parameter in parameters:
        parameter.data = torch.zeros_like(parameter)


def narrower(parameters):
    for parameter in parameters:
        parameter.data = torch.zeros(2, dtype=parameter.dtype)


def flattened(parameters):
    vector_to_parameters(0.0 * parameters_to_vector(parameters).detach(), parameters)


def single(parameters):
    for parameter in parameters:
        parameter.data = parameter.data.float()


@every
@pytest.mark.parametrize("exchange", [zeros, narrower, flattened, single])
def test_parameters_that_got_other_memory_are_differentiated_as_they_were(case, exchange):
    """As PyTorch's own operations are; never the memory that is there now, or is gone."""
    made = layer(case, 0)
    x = rows(70, FEATURES).requires_grad_()

    def gradient():
        z, logdet = made(x)
        return z.square().sum() + logdet.sum()

    (want,) = torch.autograd.grad(gradient(), x)
    loss = gradient()
    exchange(list(made.parameters()))
    (got,) = torch.autograd.grad(loss, x)
    assert_close(got, want, atol=0, rtol=0)


@pytest.mark.parametrize("of", ["x", "raw"])
def test_numbers_of_a_map_that_got_other_memory(of):
    spline = maps.RationalQuadratic(4, 3.0).double()
    given = {
        "x": rows(40, 3).requires_grad_(),
        "raw": rows(40, 3 * spline.raw_width).reshape(40, 3, -1).requires_grad_(),
    }
    results = []
    for exchanged in (False, True):
        z, log_derivative = spline(**given)
        if exchanged:
            given[of].data = torch.zeros(1, dtype=torch.float64)
        other = given["raw" if of == "x" else "x"]
        results.append(torch.autograd.grad(z.sin().sum() + log_derivative.sum(), other)[0])
    assert_close(results[1], results[0], atol=0, rtol=0)


@every
def test_second_derivatives_in_exchanged_parameters_are_refused(case):
    made = layer(case, 0)
    x = rows(5, FEATURES).requires_grad_()
    z, _ = made(x)
    zeros(made.parameters())
    with pytest.raises(RuntimeError, match=r"exchanged between forward and backward.*disabled"):
        torch.autograd.grad(z.sum(), x, create_graph=True)


@pytest.mark.parametrize("of", ["layer", "map"])
def test_constants_that_got_other_memory_are_told(of):
    made = layer(CASES[0], 0)
    x = rows(5, FEATURES).requires_grad_()
    width = made.map.raw_width
    z = made(x)[0] if of == "layer" else made.map(x[:, :4], rows(20, width).reshape(5, 4, -1))[0]
    made.map.low.data = made.map.low.data - 1.0
    with pytest.raises(RuntimeError, match="exchanged between forward and backward"):
        z.sum().backward()


@every
def test_hooks_may_lay_out_saved_tensors_anew(case):
    """As compressing or offloading ones do."""
    made = layer(case, 0)
    x = rows(70, FEATURES).requires_grad_()
    leaves = [x, *made.parameters()]

    def gradients():
        z, logdet = made(x)
        return torch.autograd.grad(z.square().sum() + logdet.sum(), leaves)

    want = gradients()
    turned = saved_tensors_hooks(
        lambda t: t.mT.contiguous() if t.ndim > 1 else t, lambda t: t.mT if t.ndim > 1 else t
    )
    with turned:
        got = gradients()
    assert_close(got, want, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("of", ["layer", "map"])
@pytest.mark.parametrize(
    "pack", [lambda t: t[..., :1].clone() if t.ndim else t, lambda t: t.float()]
)
def test_hooks_that_give_other_tensors_back_are_told(of, pack):
    made = layer(CASES[0], 0)
    x = rows(70, FEATURES).requires_grad_()
    raw = rows(70, FEATURES * made.map.raw_width).reshape(70, FEATURES, -1)
    spline = maps.RationalQuadratic(4, 3.0).double()
    raw = raw[..., : spline.raw_width]
    with saved_tensors_hooks(pack, lambda t: t):
        z = made(x)[0] if of == "layer" else spline(x, raw)[0]
    with pytest.raises(RuntimeError, match="hook for saved tensors"):
        z.sum().backward()


@pytest.mark.parametrize("of", ["layer", "map", "row"])
def test_gradients_that_are_nothing_but_zero(of):
    """Autograd does not always write zeros down."""
    x = rows(33, FEATURES).requires_grad_()
    if of == "map":
        raw = 0.1 * x.detach()[..., None] + x.new_ones(2)
        call = lambda: maps.Affine()(x, raw * x[..., :1, None])
    else:
        made = layer(CASES[0] if of == "layer" else CASES[1], 0)
        call = lambda: made(x)

    def gradient():
        z, log = call()
        nothing = torch._efficientzerotensor(z.shape, dtype=torch.float64)
        return torch.autograd.grad((z, log), x, (nothing, torch.ones_like(log)))

    got = gradient()
    with kernels.disabled():
        want = gradient()
    assert_close(got, want, atol=1e-9, rtol=1e-9)
    nothing = torch._efficientzerotensor((4, 3), dtype=torch.float64)
    assert_close(T.LU(3).double()(nothing)[0], torch.zeros(4, 3).double())
