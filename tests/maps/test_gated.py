"""The gate: what it keeps and what it cannot do."""

import math

import torch
from torch.testing import assert_close

from pushforward.maps import Gated


def test_it_is_the_gate_of_the_paper_but_for_its_start():
    map, raw = Gated(offset=1.5), torch.randn(50, 1, 2, dtype=torch.float64)
    x = torch.randn(50, 1, dtype=torch.float64)
    gate = torch.sigmoid(4 * torch.tanh(raw[..., 0] / 4) + 1.5)
    want = gate * x * (1 + math.exp(-1.5)) + (1 - gate) * raw[..., 1]
    assert_close(map(x, raw)[0], want, atol=1e-12, rtol=0)


def test_it_cannot_blow_up_and_never_closes():
    map, x = Gated(), torch.ones(2, 1)
    raw = torch.tensor([[[1e6, 0.0]], [[-1e6, 0.0]]])
    z = map(x, raw)[0]
    assert 1.0 < float(z[0]) < 1.0 + math.exp(-2.0)
    assert 1 / 8 < float(z[1]) < 1 / 7
