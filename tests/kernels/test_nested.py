"""Steps within steps, and steps turned round, are taken in a row like others."""

import pytest
from tests.kernels.cases import FEATURES, LAYERS, ROWS, layer, needs_kernels, rows
from torch.testing import assert_close

from pushforward import kernels
from pushforward import transforms as T

pytestmark = needs_kernels


def test_rows_within_rows_and_steps_turned_round_are_one_operation_of_autograd():
    one, other = layer(ROWS[0], 0), layer(ROWS[1], 0)
    made = T.Compose(T.Inverse(T.Compose(one.transforms[0], one.transforms[1])), T.Inverse(other))
    x = rows(5, FEATURES).requires_grad_()
    z, logdet = made(x)
    assert {type(e[0]).__name__ for e in z.grad_fn.next_functions if e[0]} == {"AccumulateGrad"}
    with kernels.disabled():
        assert_close((z, logdet), made(x), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("where", ["within", "turned round"])
def test_a_row_within_a_row_whose_direction_was_replaced_calls_it(where):
    inner = T.Compose(layer(LAYERS[0], 0), layer(LAYERS[1], 0))
    made = T.Compose(inner if where == "within" else T.Inverse(inner), layer(LAYERS[2], 0))
    called = []

    def replaced(x, context):
        called.append(1)
        return x, x.new_zeros(x.shape[:-1])

    inner._forward = inner._inverse = replaced
    made(rows(4, FEATURES))
    assert called == [1]


def test_what_recomputes_among_others_that_do_not_goes_on_doing_so():
    inner = T.Compose(layer(LAYERS[0], 0), layer(LAYERS[1], 0), memory="recompute")
    made = T.Compose(layer(LAYERS[2], 0), inner)
    node = made(rows(4, FEATURES))[0].grad_fn
    assert "Recomputed" in type(node).__name__
