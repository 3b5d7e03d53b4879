"""nflows: masks by feature, networks handed in; autoregressions with feedforward MADEs."""

from __future__ import annotations

import torch
from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.transforms import (
    AffineCouplingTransform,
    CompositeTransform,
    MaskedAffineAutoregressiveTransform,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
    PiecewiseRationalQuadraticCouplingTransform,
    ReversePermutation,
)

from speed_peers import BINS, BOX, HIDDEN, LAYERS, TorchModel, plain_network

_SPLINE = {"num_bins": BINS, "tails": "linear", "tail_bound": BOX}
# an input layer and one block: two hidden layers
_MADE = {"hidden_features": HIDDEN, "num_blocks": 1, "use_residual_blocks": False}


def build(kind: str, features: int) -> TorchModel | None:
    """A flow; tails are the identity, 23 numbers a spline where ours has 25."""
    torch.manual_seed(0)
    masks = [(torch.arange(features) + i) % 2 for i in range(LAYERS)]
    steps = {
        "coupling": lambda: [
            PiecewiseRationalQuadraticCouplingTransform(mask, plain_network, **_SPLINE)
            for mask in masks
        ],
        "realnvp": lambda: [AffineCouplingTransform(mask, plain_network) for mask in masks],
        "autoregressive": lambda: _turning(
            features, MaskedPiecewiseRationalQuadraticAutoregressiveTransform, **_SPLINE
        ),
        "maf": lambda: _turning(features, MaskedAffineAutoregressiveTransform),
    }[kind]()
    flow = Flow(CompositeTransform(steps), StandardNormal([features]))
    return TorchModel(flow, flow.log_prob, flow.sample)


def _turning(features: int, transform: type, **options: object) -> list[torch.nn.Module]:
    """Autoregressions whose order turns round between them."""
    steps: list[torch.nn.Module] = []
    for _ in range(LAYERS):
        steps += [ReversePermutation(features), transform(features=features, **_MADE, **options)]
    return steps
