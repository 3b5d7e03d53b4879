"""Networks: functions of (inputs, outputs) that give a module; they know nothing of flows."""

from pushforward.networks.masked_mlp import MaskedMLP
from pushforward.networks.mlp import MLP
from pushforward.networks.normalize import Normalize

__all__ = ["MLP", "MaskedMLP", "Normalize"]
