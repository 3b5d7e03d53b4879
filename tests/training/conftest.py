"""Small flows and small tables, whose training takes a fraction of a second."""

import pytest
import torch

from pushforward.bases import Normal
from pushforward.flows import Flow, nsf
from pushforward.maps import Affine
from pushforward.transforms import Compose, Diagonal, Elementwise, Transform


@pytest.fixture
def ring():
    """600 rows of a noisy circle, 2 features."""
    generator = torch.Generator().manual_seed(1)
    angle = torch.rand(600, generator=generator) * 6.2832
    noise = 0.1 * torch.randn(600, 2, generator=generator)
    return torch.stack([angle.cos(), angle.sin()], 1) + noise


@pytest.fixture
def build():
    """A function that builds the same small spline flow every time."""
    return lambda **more: nsf(features=2, layers=2, hidden=(16,), bins=4, seed=3, **more)


@pytest.fixture
def gaussian():
    """A function that builds a flow with a scale and a shift for each feature."""
    return lambda features=2: Flow(Elementwise(features, map=Affine()), Normal(features))


@pytest.fixture
def poisoned():
    """A function that builds a flow whose second layer is nan where the first feature is large."""

    def build():
        return Flow(Compose(Diagonal(2), Poison(), Diagonal(2)), Normal(2))

    return build


class Poison(Transform):
    """The identity, with a logdet that is nan for rows that begin with a large number."""

    event_shape = (2,)

    def _forward(self, x, context):
        return x, torch.where(x[..., 0] > 1e3, torch.nan, 0.0) * x[..., 0]

    def _inverse(self, z, context):
        return z, torch.zeros_like(z[..., 0])


@pytest.fixture
def weights_of():
    """A function that copies every parameter and buffer of a flow."""

    def copy(flow):
        tensors = dict(flow.named_parameters()) | dict(flow.named_buffers())
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}

    return copy


@pytest.fixture
def same():
    """A function that tells whether two copies of weights are equal in every bit."""
    return lambda a, b: set(a) == set(b) and all(torch.equal(a[n], b[n]) for n in a)
