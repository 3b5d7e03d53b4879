"""Gradients: everywhere finite, of every parameter, and the same by every way torch knows."""

import math

import pytest
import torch
from tests.transforms.cases import BOX, CASES, made, points
from torch.testing import assert_close

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
# torch's own forward mode compiles its decompositions with torch.jit, which torch deprecates.
forward_mode = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
directions = pytest.mark.parametrize("direction", ["forward", "inverse"])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)

# Inside, on both ends of the box and one rounding beside them, on what were knots before training
# (five bins of 1.4), beyond the box, far out, at the smallest numbers there are, and at zero.
EDGE = torch.tensor(BOX)
SPECIAL = [
    0.3,
    BOX,
    -BOX,
    float(torch.nextafter(EDGE, torch.tensor(9.0))),
    float(torch.nextafter(EDGE, torch.tensor(0.0))),
    -2.1,
    -0.7,
    0.7,
    2.1,
    4.0,
    -4.0,
    1e6,
    -1e6,
    1e-40,
    0.0,
    -0.0,
]


def special(case, transform, direction, dtype):
    """Rows whose features are all special, in every combination of two neighbours."""
    event = transform.event_shape if direction == "forward" else transform.latent_shape
    numbers = math.prod(event)
    values = torch.tensor(SPECIAL, dtype=torch.float64).clamp(-case.reach, case.reach).to(dtype)
    rows = torch.cartesian_prod(values, values)
    rows = rows.repeat(1, (numbers + 1) // 2)[:, :numbers].reshape(-1, *event)
    return case.end(direction)(rows)


@directions
@dtypes
@pytest.mark.parametrize("features", [1, 3], ids=lambda n: f"D{n}")
@pytest.mark.parametrize("spread", [0.0, 0.4], ids=["untrained", "trained"])
def test_gradients_are_finite_everywhere(case, direction, dtype, features, spread):
    transform = made(case, features, 2, dtype, spread)
    x = special(case, transform, direction, dtype).requires_grad_()
    context = torch.linspace(-1, 1, 2, dtype=dtype) if transform.context else None
    z, logdet = getattr(transform, direction)(x, context)
    weights = list(transform.parameters())
    for output in (z.sum(), logdet.sum()):
        if output.requires_grad:
            gradients = torch.autograd.grad(
                output, [x, *weights], retain_graph=True, allow_unused=True
            )
            assert all(bool(g.isfinite().all()) for g in gradients if g is not None)


@directions
def test_every_parameter_gets_a_gradient(case, direction):
    transform = made(case, 5, 2)
    z, logdet = getattr(transform, direction)(*points(case, transform, (64,), direction=direction))
    if any(True for _ in transform.parameters()):
        (z.square().sum() + logdet.sum()).backward()
    silent = [
        name for name, p in transform.named_parameters() if p.grad is None or not bool(p.grad.any())
    ]
    assert not silent


def test_every_parameter_gets_a_gradient_through_the_log_determinant_or_z_alone(case):
    """The gradient in the data passes through both, and both say the same twice."""
    transform = made(case, 3, 2)
    x, c = points(case, transform)
    gradients = []
    for _ in range(2):
        y = x.clone().requires_grad_()
        z, logdet = transform(y, c)
        gradients.append(torch.autograd.grad(z.square().sum() + logdet.sum(), y)[0])
    assert_close(gradients[0], gradients[1], atol=0, rtol=0)
    assert bool(gradients[0].flatten(1).any(-1).all())


@forward_mode
@directions
def test_jacobians_by_rows_and_by_columns_agree(case, direction):
    transform = made(case, 3, 2)
    x, c = points(case, transform, direction=direction)
    apply = getattr(transform, direction)
    for i in (0, 1):
        f = lambda v, i=i: apply(v, None if c is None else c[0])[i]
        by_rows = torch.func.jacrev(f)(x[0])
        assert_close(torch.func.jacfwd(f)(x[0]), by_rows, atol=case.double, rtol=1e-9)
        plain = torch.autograd.functional.jacobian(f, x[0])
        assert_close(plain, by_rows, atol=case.double, rtol=1e-9)


@forward_mode
@directions
def test_second_derivatives_agree(case, direction):
    """Of z and logdet together: Hessian-vector products are what scores and Laplace fits need."""
    transform = made(case, 2, 2)
    x, c = points(case, transform, direction=direction)
    row = None if c is None else c[0]

    def f(v):
        z, logdet = getattr(transform, direction)(v.reshape(x[0].shape), row)
        return z.square().sum() + logdet

    flat = x[0].flatten()
    hessian = torch.func.hessian(f)(flat)
    assert_close(hessian, hessian.mT, atol=1e-8, rtol=1e-8)
    assert_close(torch.autograd.functional.hessian(f, flat), hessian, atol=1e-8, rtol=1e-8)


@directions
def test_vmap_is_the_loop(case, direction):
    if case.adaptive:
        pytest.skip("its steps depend on the numbers")
    transform = made(case, 3, 2)
    x, c = points(case, transform, direction=direction)
    apply = getattr(transform, direction)
    given = (x,) if c is None else (x, c)
    assert_close(torch.func.vmap(apply)(*given), apply(x, c), atol=1e-12, rtol=0)


@directions
def test_weights_can_be_mapped_over(case, direction):
    """An ensemble: one call with stacked weights gives what each member gives."""
    if case.adaptive:
        pytest.skip("its steps depend on the numbers")
    members = [made(case, 3, 2, spread=spread) for spread in (0.2, 0.4)]
    x, c = points(case, members[0], direction=direction)
    weights, buffers = torch.func.stack_module_state(members)
    c_arg = () if c is None else (c,)

    class Turned(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, *args):
            return getattr(self.inner, direction)(*args)

    turned = Turned(members[0])

    def call(weights, buffers):
        state = {f"inner.{k}": v for k, v in {**weights, **buffers}.items()}
        return torch.func.functional_call(turned, state, (x, *c_arg))

    if not weights and not buffers:
        weights, together = {}, call({}, {})
        together = tuple(torch.stack([t, t]) for t in together)
    else:
        together = torch.func.vmap(call)(weights, buffers)
    for i, member in enumerate(members):
        alone = getattr(member, direction)(x, c)
        assert_close(tuple(t[i] for t in together), alone, atol=1e-12, rtol=0)
