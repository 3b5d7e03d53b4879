"""Before training a transform is the identity, or close to it, whatever the context says."""

import math

import pytest
import torch
from tests.transforms.cases import CASES
from torch.testing import assert_close

from pushforward import maps
from pushforward import transforms as T

TRAINED = [case for case in CASES if case.start is not None]


@pytest.mark.parametrize("case", TRAINED, ids=lambda case: case.name)
@pytest.mark.parametrize("features", [1, 2, 7])
@pytest.mark.parametrize("context", [0, 2])
def test_before_training_it_is_the_identity(case, features, context):
    transform = case.build(features, context if case.conditional else 0).double()
    far = {"line": 100.0, "circle": 3.4, "nothing": 3.4}[case.outside]
    shape = (40, *transform.event_shape)
    x = torch.linspace(-far, far, math.prod(shape), dtype=torch.float64).reshape(shape)
    c = torch.randn(40, context, dtype=torch.float64) if transform.context else None
    for direction in ("forward", "inverse"):
        z, logdet = getattr(transform, direction)(x, c)
        assert_close(z, x, atol=case.start, rtol=1e-14)
        assert_close(logdet, torch.zeros_like(logdet), atol=features * case.start, rtol=0)


def test_a_spline_turned_round_gets_its_box_from_the_data():
    x = 50.0 * torch.randn(2000, 2)
    turned = T.Inverse(T.Elementwise(2, map=maps.RationalQuadratic())).fit(x)
    assert float(turned.transform.map.high.min()) > 100.0


def test_steps_turned_round_are_fitted_each_by_itself():
    x = 50.0 * torch.randn(2000, 2)
    spline, norm = T.Elementwise(2, map=maps.RationalQuadratic()), T.ActNorm(2)
    inner = T.Compose(T.Log(2), T.Compose(spline, T.Reverse(2)), norm)
    T.Inverse(inner).fit(x)
    assert float(spline.map.high.min()) > 100.0
    assert not bool(norm.initialized)
    # a part of the line only is reached, so that these steps could not be composed the other way
    T.Inverse(T.Compose(T.Sigmoid(2), T.LU(2))).fit(x).settle(x)
    T.Inverse(T.Inverse(norm)).fit(x)
    assert bool(norm.initialized)


def test_a_scaling_turned_round_is_left_alone():
    norm = T.Inverse(T.ActNorm(2)).fit(50.0 * torch.randn(2000, 2))
    assert not bool(norm.transform.initialized)
    assert float(norm.transform.log_scale.detach().abs().max()) == 0.0
