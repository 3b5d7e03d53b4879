"""The door: one place, and one sentence that says who, which argument, what came, what should."""

import pytest
import torch
from tests.transforms.cases import CASES, made, points

from pushforward.errors import ContextError, InputTypeError, ShapeError

pytestmark = [
    pytest.mark.parametrize("case", CASES, ids=lambda case: case.name),
    pytest.mark.parametrize(("direction", "name"), [("forward", "x"), ("inverse", "z")]),
]


def refusal(case, direction, kind, change, context=2):
    """What is said to points and context after ``change``."""
    transform = made(case, 3, context)
    x, c = change(*points(case, transform, (5,), direction=direction))
    with pytest.raises(kind) as caught:
        getattr(transform, direction)(x, c)
    return f"{type(transform).__name__}.{direction}", str(caught.value)


def shapes(case, direction):
    """The shape of five points, and how the one expected is written."""
    transform = made(case, 3, 2)
    event = transform.event_shape if direction == "forward" else transform.latent_shape
    return (5, *event), f"(*batch, {', '.join(map(str, event))})"


def test_a_wrong_width_is_named(case, direction, name):
    who, said = refusal(case, direction, ShapeError, lambda x, c: (x[..., :-1], c))
    came, want = shapes(case, direction)
    got = (*came[:-1], came[-1] - 1)
    assert said == f"{who}: {name} has shape {got}, expected {want}."


def test_a_missing_dimension_is_named(case, direction, name):
    who, said = refusal(case, direction, ShapeError, lambda x, c: (x[0, 0], c))
    came, want = shapes(case, direction)
    assert said == f"{who}: {name} has shape {came[2:]}, expected {want}."


def test_integers_are_refused(case, direction, name):
    who, said = refusal(case, direction, InputTypeError, lambda x, c: (x.long(), c))
    assert said == (
        f"{who}: {name} has dtype torch.int64, expected a floating one; write {name}.float()."
    )


def test_what_is_no_tensor_is_refused(case, direction, name):
    who, said = refusal(case, direction, InputTypeError, lambda x, c: (x.numpy(), c))
    assert said == (
        f"{who}: {name} is a ndarray, expected a tensor; write torch.as_tensor({name})."
    )


def test_a_missing_context_is_named(case, direction, name):
    if not case.conditional:
        pytest.skip("it reads no context")
    who, said = refusal(case, direction, ContextError, lambda x, c: (x, None))
    assert said == f"{who}: needs a context of shape (*batch, 2), got None."


def test_a_wrong_width_of_the_context_is_named(case, direction, name):
    if not case.conditional:
        pytest.skip("it reads no context")
    who, said = refusal(case, direction, ShapeError, lambda x, c: (x, torch.zeros(5, 4)))
    assert said == f"{who}: context has shape (5, 4), expected (*batch, 2)."


@pytest.mark.parametrize("ahead", [(4,), (5, 5), (1, 5)], ids=str)
def test_a_context_that_does_not_broadcast_is_named(case, direction, name, ahead):
    if not case.conditional:
        pytest.skip("it reads no context")
    wrong = torch.zeros(*ahead, 2)
    who, said = refusal(case, direction, ShapeError, lambda x, c: (x, wrong))
    assert said == (
        f"{who}: {name} has batch shape (5,) and context {ahead}; "
        f"the context must broadcast to the batch of {name}."
    )


def test_a_context_that_is_no_tensor_is_refused(case, direction, name):
    if not case.conditional:
        pytest.skip("it reads no context")
    who, said = refusal(case, direction, InputTypeError, lambda x, c: (x, c.tolist()))
    assert said == f"{who}: context is a list, expected a tensor."
