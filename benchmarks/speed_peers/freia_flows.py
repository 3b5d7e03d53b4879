"""FrEIA: affine couplings. The version on PyPI (0.2) has no splines, and no autoregression."""

from __future__ import annotations

import math

import FrEIA.framework
import FrEIA.modules
import torch

from speed_peers import LAYERS, TorchModel, plain_network


def build(kind: str, features: int) -> TorchModel | None:
    """Three GLOW blocks of two affine couplings each, one network a coupling."""
    if kind != "realnvp":
        return None
    torch.manual_seed(0)
    flow = FrEIA.framework.SequenceINN(features)
    for _ in range(LAYERS // 2):
        flow.append(FrEIA.modules.GLOWCouplingBlock, subnet_constructor=plain_network)
    constant = 0.5 * features * math.log(2 * math.pi)

    def log_prob(x: torch.Tensor) -> torch.Tensor:
        z, logdet = flow(x)
        return logdet - 0.5 * (z**2).sum(-1) - constant

    def sample(n: int) -> torch.Tensor:
        return flow(torch.randn(n, features), rev=True)[0]

    return TorchModel(flow, log_prob, sample, "three GLOWCouplingBlocks of two couplings each")
