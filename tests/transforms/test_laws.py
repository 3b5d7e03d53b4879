"""Laws every transform keeps. Nothing here knows which transform it tests."""

import pytest
import torch
from tests.transforms.cases import CASES, made, points
from torch.testing import assert_close

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
widths = pytest.mark.parametrize("features", [1, 2, 7], ids=lambda n: f"D{n}")
contexts = pytest.mark.parametrize("context", [0, 2], ids=lambda n: f"context{n}")
directions = pytest.mark.parametrize("direction", ["forward", "inverse"])


def round_trips(case, transform, dtype, allowed):
    """There and back from both ends."""
    for direction, other in (("forward", "inverse"), ("inverse", "forward")):
        x, c = points(case, transform, (64,), dtype, direction)
        z, logdet = getattr(transform, direction)(x, c)
        back, logdet_back = getattr(transform, other)(z, c)
        assert_close(back, x, atol=allowed, rtol=0)
        assert_close(logdet_back, -logdet, atol=allowed, rtol=0)


@widths
@contexts
def test_inverse_undoes_forward_and_the_other_way_round(case, features, context):
    round_trips(case, made(case, features, context), torch.float64, case.double)


@widths
@contexts
def test_round_trips_hold_in_float32(case, features, context):
    round_trips(case, made(case, features, context, torch.float32), torch.float32, case.single)


@widths
@contexts
@directions
def test_log_determinant_is_the_one_autograd_finds(case, features, context, direction):
    transform = made(case, features, context)
    x, c = points(case, transform, direction=direction)
    apply = getattr(transform, direction)
    expected = []
    for i in range(len(x)):
        ci = None if c is None else c[i]
        jacobian = torch.autograd.functional.jacobian(lambda v, c=ci: apply(v, c)[0], x[i])
        jacobian = jacobian.reshape(-1, x[i].numel())
        if case.tangent is not None and direction == "forward":
            jacobian = jacobian @ case.tangent(x[i])
        elif case.tangent is not None:
            jacobian = torch.linalg.pinv(case.tangent(apply(x[i], c)[0])) @ jacobian
        expected.append(torch.linalg.slogdet(jacobian).logabsdet)
    assert_close(apply(x, c)[1], torch.stack(expected), atol=case.double, rtol=0)


@directions
def test_float32_gives_what_float64_gives(case, direction):
    double, single = made(case, 7, 2), made(case, 7, 2, torch.float32)
    x, c = points(case, double, (64,), direction=direction)
    want = getattr(double, direction)(x, c)
    got = getattr(single, direction)(x.float(), None if c is None else c.float())
    for a, b in zip(got, want, strict=True):
        assert_close(a.double(), b, atol=case.single, rtol=case.single)


@contexts
@directions
def test_rows_do_not_see_each_other(case, context, direction):
    transform = made(case, 7, context)
    if case.sees_rows:
        transform.eval()
    x, c = points(case, transform, direction=direction)
    apply = getattr(transform, direction)
    alone = [apply(x[i], None if c is None else c[i]) for i in range(len(x))]
    z, logdet = apply(x, c)
    # Matrix products of another shape sum in another order: that much may differ.
    assert_close(z, torch.stack([a[0] for a in alone]), atol=case.double, rtol=0)
    assert_close(logdet, torch.stack([a[1] for a in alone]), atol=case.double, rtol=0)


@widths
@contexts
@directions
@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,)], ids=str)
def test_shapes_follow_the_batch(case, features, context, direction, batch):
    transform = made(case, features, context)
    x, c = points(case, transform, batch, direction=direction)
    z, logdet = getattr(transform, direction)(x, c)
    event = transform.latent_shape if direction == "forward" else transform.event_shape
    assert z.shape == (*batch, *event)
    assert logdet.shape == batch


@directions
@pytest.mark.parametrize("ahead", [(), (3,), (1,), (2, 1), (2, 3)], ids=str)
def test_the_context_broadcasts_to_the_batch(case, direction, ahead):
    transform = made(case, 3, 2)
    x, _ = points(case, transform, (2, 3), direction=direction)
    context = torch.randn(*ahead, 2, dtype=torch.float64)
    few = getattr(transform, direction)(x, context)
    many = getattr(transform, direction)(x, context.expand(2, 3, 2).contiguous())
    assert_close(few, many, atol=1e-12, rtol=0)


@directions
def test_the_context_matters_where_it_is_read(case, direction):
    transform = made(case, 3, 2)
    x, c = points(case, transform, direction=direction)
    other = torch.zeros(2, dtype=torch.float64)
    here, there = (getattr(transform, direction)(x, c)[0] for c in (c, other))
    assert (transform.context > 0) is case.conditional
    if case.conditional:
        assert bool((here != there).flatten(1).any(-1).all())
    else:  # ignored, so that Compose can hand it on
        assert_close(here, there, atol=0, rtol=0)


@directions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_dtype_is_kept(case, direction, dtype):
    transform = made(case, 3, 2, dtype)
    z, logdet = getattr(transform, direction)(*points(case, transform, (4,), dtype, direction))
    assert z.dtype == dtype
    assert logdet.dtype == dtype


@directions
def test_the_input_is_left_as_it_was(case, direction):
    transform = made(case, 3, 2)
    x, c = points(case, transform, direction=direction)
    before = x.clone()
    getattr(transform, direction)(x, c)
    assert_close(x, before, atol=0, rtol=0)


@directions
def test_rows_may_lie_in_memory_as_they_like(case, direction):
    transform = made(case, 3, 2)
    x, c = points(case, transform, (6,), direction=direction)
    strided = x.transpose(0, -1).contiguous().transpose(0, -1)
    apply = getattr(transform, direction)
    assert_close(apply(strided, c), apply(x, c), atol=1e-12, rtol=0)


@directions
def test_evaluation_and_training_mode_agree(case, direction):
    if case.sees_rows:
        pytest.skip("in training mode rows see each other")
    transform = made(case, 3, 2)
    x, c = points(case, transform, direction=direction)
    learning = getattr(transform.train(), direction)(x, c)
    assert_close(getattr(transform.eval(), direction)(x, c), learning, atol=0, rtol=0)
