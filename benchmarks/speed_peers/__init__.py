"""The other libraries of the speed comparison: one file each, which imports it when asked.

A file has ``NAME``, ``PACKAGE`` (as it is installed) and ``build(kind, features)``: a model of six
layers, two hidden layers of 128 and, for splines, eight bins, or None where the library has none
of that kind. Nothing here imports pushforward: what a peer's first step costs is the peer's alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType
from typing import Any

__all__ = ["BINS", "BOX", "HIDDEN", "LAYERS", "PEERS", "TorchModel", "load", "plain_network"]

LAYERS, HIDDEN, BINS, BOX = 6, 128, 8, 5.0
PEERS = {
    "zuko": "speed_peers.zuko_flows",
    "nflows": "speed_peers.nflows_flows",
    "normflows": "speed_peers.normflows_flows",
    "FrEIA": "speed_peers.freia_flows",
    "FlowJAX": "speed_peers.flowjax_flows",
}


@dataclass(frozen=True)
class TorchModel:
    """A flow of a library on PyTorch.

    Attributes:
        module: holds the parameters.
        log_prob: of rows ``(n, features)``, nats.
        sample: draws n rows.
        differs: in what it is not the architecture that is compared.
    """

    module: Any
    log_prob: Callable[[Any], Any]
    sample: Callable[[int], Any]
    differs: str = ""


def load(name: str) -> ModuleType | str:
    """The file of a library, or why there is none."""
    package = {"FlowJAX": "flowjax"}.get(name, name)
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
    return importlib.import_module(PEERS[name])


def plain_network(inputs: int, outputs: int) -> Any:
    """Two hidden layers with ReLU; takes a context too, which is not there."""
    from torch import nn

    class Plain(nn.Sequential):
        hidden_features = HIDDEN  # nflows and normflows divide logits by its root

        def forward(self, x: Any, context: Any = None) -> Any:
            return super().forward(x)

    return Plain(
        nn.Linear(inputs, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, outputs),
    )
