"""normflows: its wrappers bring residual networks and splines of what is kept; these are taken out.

So that the architectures match, the coupling inside the wrapper is built with a plain network and
without its unconditional splines. It is the faster for it.
"""

from __future__ import annotations

import normflows
import torch
from normflows.flows.neural_spline.autoregressive import (
    MaskedPiecewiseRationalQuadraticAutoregressive,
)
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

from speed_peers import BINS, BOX, HIDDEN, LAYERS, TorchModel, plain_network

_SPLINE = {"num_bins": BINS, "tails": "linear", "tail_bound": BOX}
_MADE = {"hidden_features": HIDDEN, "num_blocks": 1, "use_residual_blocks": False}
_ONE_LESS = "its masked networks have no activation behind their first layer"


def build(kind: str, features: int) -> TorchModel | None:
    """A flow; tails are the identity, 23 numbers a spline where ours has 25."""
    torch.manual_seed(0)
    layers = {
        "coupling": _coupling,
        "autoregressive": _autoregressive,
        "maf": _maf,
        "realnvp": _realnvp,
    }[kind]
    steps = [part for i in range(LAYERS) for part in layers(features, i)]
    flow = normflows.NormalizingFlow(normflows.distributions.DiagGaussian(features), steps)
    differs = {
        "coupling": "its inner coupling, with the network that all have, in place of its wrapper's",
        "autoregressive": _ONE_LESS,
        "maf": _ONE_LESS + "; turned round by its Reverse, so that log_prob takes one pass",
    }
    return TorchModel(flow, flow.log_prob, lambda n: flow.sample(n)[0], differs.get(kind, ""))


def _coupling(features: int, i: int) -> list[torch.nn.Module]:
    wrapper = normflows.flows.CoupledRationalQuadraticSpline(features, 1, HIDDEN)
    wrapper.prqct = PiecewiseRationalQuadraticCoupling(
        (torch.arange(features) + i) % 2, plain_network, **_SPLINE
    )
    return [wrapper]


def _autoregressive(features: int, i: int) -> list[torch.nn.Module]:
    wrapper = normflows.flows.AutoregressiveRationalQuadraticSpline(features, 1, HIDDEN)
    wrapper.mprqat = MaskedPiecewiseRationalQuadraticAutoregressive(
        features=features, init_identity=False, **_MADE, **_SPLINE
    )
    return [wrapper, _turn(features)]


def _maf(features: int, i: int) -> list[torch.nn.Module]:
    step = normflows.flows.MaskedAffineAutoregressive(features, **_MADE)
    return [normflows.flows.Reverse(step), _turn(features)]


def _realnvp(features: int, i: int) -> list[torch.nn.Module]:
    moved = features // 2
    network = normflows.nets.MLP([features - moved, HIDDEN, HIDDEN, 2 * moved])
    return [
        normflows.flows.AffineCouplingBlock(network),
        normflows.flows.Permute(features, mode="swap"),
    ]


def _turn(features: int) -> torch.nn.Module:
    """The features in the opposite order."""
    step = normflows.flows.Permute(features)
    step.perm = step.inv_perm = torch.arange(features).flip(0)
    return step
