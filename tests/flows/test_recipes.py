"""What a recipe is made of."""

from __future__ import annotations

import pytest
import torch

import pushforward as pf
from pushforward import maps
from pushforward.data.toys import TOYS
from pushforward.errors import ArgumentError


def affine_layers(flow):
    return [m for m in flow.modules() if isinstance(m, maps.Affine)]


def test_a_spline_flow_begins_with_as_many_affine_layers_as_asked_for():
    for autoregressive in (False, True):
        for count in (0, 1, 3):
            flow = pf.flows.nsf(
                3, layers=1, hidden=(4,), affine=count, autoregressive=autoregressive
            )
            assert len(affine_layers(flow)) == count


@pytest.mark.parametrize("affine", [-1, 1.5, "two"])
def test_a_number_of_affine_layers_that_cannot_be_is_refused(affine):
    with pytest.raises(ArgumentError, match=r"affine is .*, expected 0 or more"):
        pf.flows.nsf(2, affine=affine)


def far_misses(affine):
    """How far rows of a banana outside the boxes are below the truth, nats, after a short run."""
    toy = TOYS["banana"]
    flow = pf.flows.nsf(2, layers=2, hidden=(32,), affine=affine, seed=0)
    pf.fit(flow, toy.sample(4_000, seed=0).float(), steps=250, progress=False)
    x = toy.sample(100_000, seed=1, dtype=torch.float64)
    x = x[x[:, 1] > 12.0]  # about one row in a thousand
    with torch.no_grad():
        return float((toy.log_prob(x) - flow.double().log_prob(x)).mean())


def test_affine_layers_reach_what_lies_outside_the_boxes_of_the_splines():
    assert far_misses(2) < 0.75 * far_misses(0)
