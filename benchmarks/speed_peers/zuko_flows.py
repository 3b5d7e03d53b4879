"""zuko: lazy transforms; its couplings are those of NICE with a spline in place of the shift."""

from __future__ import annotations

from functools import partial

import torch
import zuko

from speed_peers import BINS, HIDDEN, LAYERS, TorchModel

_SPLINE = {
    "univariate": partial(zuko.transforms.MonotonicRQSTransform, slope=1e-3),
    "shapes": [(BINS,), (BINS,), (BINS - 1,)],
}


def build(kind: str, features: int) -> TorchModel | None:
    """A flow; tails are the identity, 23 numbers a spline where ours has 25."""
    torch.manual_seed(0)
    sizes = {"transforms": LAYERS, "hidden_features": (HIDDEN, HIDDEN)}
    flow = {
        "coupling": lambda: zuko.flows.NICE(features, **sizes, **_SPLINE),
        "autoregressive": lambda: zuko.flows.NSF(features, bins=BINS, **sizes),
        "maf": lambda: zuko.flows.MAF(features, **sizes),
        "realnvp": lambda: zuko.flows.RealNVP(features, **sizes),
    }[kind]()
    return TorchModel(flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)))
