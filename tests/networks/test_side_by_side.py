"""Networks of ensembles: members that do not see each other, and ramps between quantiles."""

import numpy
import pytest
import torch
from torch.testing import assert_close

import pushforward as pf
from pushforward.errors import ArgumentError, ShapeError
from pushforward.networks import Ramps, SideBySideMLP

NUMBER = {"value": "number"}


def test_members_compute_what_each_would_alone():
    network = SideBySideMLP(3, 4, 2, hidden=(8, 6)).double()
    x = torch.randn(5, 4).double()
    for k, got in enumerate(network(x)):
        want = x
        for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            want = want @ weight[k] + bias[k]
            want = want if i == 2 else torch.nn.functional.silu(want)
        assert_close(got, want, atol=1e-14, rtol=0)


def test_members_take_rows_of_their_own_and_no_others():
    network = SideBySideMLP(3, 4, 2, hidden=(8,)).double()
    x = torch.randn(3, 5, 4).double()
    assert_close(network(x)[1], network(x[1])[1], atol=1e-14, rtol=0)
    by_x = torch.autograd.functional.jacobian(lambda x: network(x).sum((1, 2)), x)
    for k in range(3):
        assert bool((by_x[k, k] != 0).all())
        assert not bool(by_x[k].index_fill(0, torch.tensor([k]), 0.0).any())


def test_members_begin_near_zero_and_apart():
    out = SideBySideMLP(5, 3, 2)(torch.randn(200, 3)).detach()
    assert float(out.std()) < 0.3  # a last layer of a tenth of its usual size
    assert float(out.std(0).mean()) > 0.01


def test_members_refuse_what_cannot_be():
    with pytest.raises(ArgumentError, match="expected widths of at least 1"):
        SideBySideMLP(0, 3, 2)
    with pytest.raises(ShapeError, match=r"input has shape \(2, 5, 3\), expected \(n, 3\) or \(4"):
        SideBySideMLP(4, 3, 2)(torch.zeros(2, 5, 3))


def test_ramps_are_piecewise_linear_between_quantiles():
    x = torch.randn(500, 1).double()
    encode = Ramps.of([NUMBER], x)
    made = encode(x)
    assert made.shape == (500, 1 + 8)
    assert_close(made[:, 0].mean(), torch.zeros(()).double(), atol=1e-12, rtol=0)
    assert_close(made[:, 0].std(correction=0), torch.ones(()).double(), atol=1e-12, rtol=0)
    edges = numpy.quantile(x.numpy(), numpy.linspace(0, 1, 9))
    for k in range(8):
        want = numpy.interp(x[:, 0].numpy(), edges[k : k + 2], [-1.0, 1.0])
        assert_close(made[:, 1 + k].numpy(), want, atol=1e-12, rtol=0)
    far = encode(torch.tensor([[1e9], [-1e9]]))  # beyond the rows only the number goes on
    assert_close(far[:, 1:], torch.tensor([[1.0], [-1.0]]).double().expand(2, 8))


def test_a_few_different_numbers_give_as_many_ramps_as_there_are_steps_between_them():
    x = torch.tensor([[0.0, 1.0, 7.0], [1.0, 2.0, 7.0], [5.0, 1.0, 7.0]])
    encode = Ramps.of([NUMBER] * 3, x)
    assert encode.pieces == [2, 0, 0]  # two values are told apart by the number itself
    assert encode(torch.tensor([[5.0, 1.0, 9.0]]))[0, 2] == 2.0  # a constant column has unit 1


def test_a_constant_column_keeps_its_unit_whatever_its_mean_is_rounded_to():
    encode = Ramps.of([NUMBER], torch.full((49, 1), 0.1, dtype=torch.float64))
    assert_close(encode(torch.tensor([[0.6]]).double()), torch.tensor([[0.5]]).double())


def test_ramps_encode_categories_angles_and_gaps():
    columns = [{"codes": 3}, {"codes": 2, "value": "number"}, {"value": "angle", "period": 4.0}]
    x = torch.tensor([[0, 0, 1, 0], [2, 0, 3, 1], [1, 0, 5, 1], [1, 1, 999, 1]]).double()
    encode = Ramps.of(columns, x)
    made = encode(x)
    assert made.shape == (4, encode.outputs)
    number, ramps, codes, there, waves = made.split([1, 2, 3, 2, 4], 1)
    assert_close(number[3], torch.zeros(1).double())  # what stands in a gap is not seen …
    assert not bool(ramps[3].any())
    assert_close(encode.mean, torch.tensor([3.0]).double())  # … nor learned from
    assert codes.argmax(1).tolist() == [0, 2, 1, 1]
    assert there.argmax(1).tolist() == [0, 0, 0, 1]
    assert_close(waves[1], torch.tensor([0.0, 1.0, -1.0, 0.0]).double())


def test_ramps_do_not_round_large_numbers():
    x = 1.7e9 + torch.arange(100).double()[:, None]
    assert_close(
        Ramps.of([NUMBER], x)(x)[:, 0].diff(), torch.full((99,), 12.0 / 9999).sqrt().double()
    )


def test_ramps_refuse_what_does_not_fit():
    with pytest.raises(ArgumentError, match=r"pieces is \[1\], expected for each of 2 columns"):
        Ramps([NUMBER] * 2, [1])
    with pytest.raises(ArgumentError, match="0 for those that hold no number"):
        Ramps([{"codes": 3}], [1])
    with pytest.raises(ShapeError, match=r"these rows give \[2\] ramps, expected \[5\]"):
        Ramps([NUMBER], [5]).fit(torch.tensor([[1.0], [2.0], [4.0]]))
    with pytest.raises(ShapeError, match=r"rows have shape \(3, 2\), expected \(\*batch, 1\)"):
        Ramps([NUMBER], [0])(torch.zeros(3, 2))


def test_both_are_saved_and_loaded(tmp_path):
    x = torch.randn(50, 2).double()
    encode = Ramps.of([NUMBER] * 2, x)
    network = SideBySideMLP(2, encode.outputs, 1, (8,)).double()
    again, other = (
        pf.load(pf.save(part, tmp_path / f"{i}.safetensors"))
        for i, part in enumerate((encode, network))
    )
    assert_close(other.double()(again(x)), network(encode(x)), atol=0, rtol=0)
