"""A transform of some features that is given the others."""

import pytest
import torch
from tests.transforms.cases import scatter
from torch.testing import assert_close

import pushforward as pf
from pushforward import bases, maps
from pushforward import transforms as T
from pushforward.errors import ArgumentError, ShapeError
from pushforward.networks import MixedEncoding


def coupling(features=3, context=2):
    made = T.Coupling(features, map=maps.Affine(), hidden=(8,), context=context).double()
    scatter(made, 0.5)
    return made


def test_what_stays_stays_and_the_rest_is_moved_given_it():
    inner = coupling()
    both, x = T.Given(2, inner), torch.randn(5, 5).double()
    z, logdet = both(x)
    want, want_logdet = inner(x[:, 2:], x[:, :2])
    assert_close(z, torch.cat((x[:, :2], want), -1), atol=0, rtol=0)
    assert_close(logdet, want_logdet, atol=0, rtol=0)


def test_a_further_context_comes_after_what_stays():
    inner = coupling(context=5)
    both, x, c = (
        T.Given(2, inner, context=3),
        torch.randn(5, 5).double(),
        torch.randn(5, 3).double(),
    )
    want = inner(x[:, 2:], torch.cat((x[:, :2], c), -1))[0]
    assert_close(both(x, c)[0][:, 2:], want, atol=0, rtol=0)


def test_what_stays_is_seen_as_the_embedding_shows_it():
    encode = MixedEncoding([{"codes": 3}, {"value": "number"}]).double()
    inner = coupling(context=encode.outputs)
    both, x = T.Given(2, inner, encode), torch.randn(5, 5).double()
    x[:, 0] = torch.arange(5) % 3
    want = inner(x[:, 2:], encode(x[:, :2]))[0]
    assert_close(both(x)[0][:, 2:], want, atol=0, rtol=0)


def test_fit_lets_the_embedding_and_the_transform_look():
    encode = MixedEncoding([{"value": "number"}])
    spread = T.Standardize(2)
    x = torch.randn(600, 3) * torch.tensor([9.0, 3.0, 0.1]) + 5.0
    T.Given(1, spread, encode).fit(x)
    assert_close(spread.mean, x[:, 1:].mean(0))
    assert_close(encode(x[:, :1]).std(), torch.tensor(1.0), atol=0.1, rtol=0)


def test_a_transform_that_reads_no_context_moves_alone():
    both = T.Given(2, T.LU(2).double())
    scatter(both, 0.5)
    says = both.influence()
    assert says.tolist() == [[i == j or (i > 1 and j > 1) for j in range(4)] for i in range(4)]


def test_a_support_is_that_of_the_transform():
    flow = pf.Flow(T.Given(1, T.Log(2)), bases.Normal(3))
    x = torch.tensor([[-5.0, 1.0, 1.0], [-5.0, -1.0, 1.0]])
    assert flow.log_prob(x).isfinite().tolist() == [True, False]


def test_it_is_saved_with_its_embedding(tmp_path):
    encode = MixedEncoding([{"codes": 2}]).fit(torch.ones(9, 1))
    inner = T.Coupling(2, map=maps.Affine(), hidden=(8,), context=encode.outputs)
    flow = pf.Flow(T.Given(1, inner, encode), bases.Normal(3))
    scatter(flow, 0.5)
    x = torch.randn(5, 3)
    again = pf.load(pf.save(flow, tmp_path / "flow.safetensors"))
    assert torch.equal(again.log_prob(x), flow.log_prob(x))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ArgumentError, match="keep is 0, expected at least 1"):
        T.Given(0, coupling())
    with pytest.raises(ShapeError, match="width 2, expected 3 of what stays and 0 besides"):
        T.Given(3, coupling())
    with pytest.raises(ShapeError, match="width 2, expected 1 of what stays and 2 besides"):
        T.Given(1, coupling(), context=2)
    with pytest.raises(ShapeError, match=r"Convolution1x1 takes \(3, 2, 2\)"):
        T.Given(1, T.Convolution1x1((3, 2, 2)))
