"""Networks: functions of (inputs, outputs) that give a module; they know nothing of flows."""

from pushforward.networks.grouped_mlp import GroupedMLP
from pushforward.networks.lipschitz_mlp import LipschitzMLP
from pushforward.networks.masked_mlp import MaskedMLP
from pushforward.networks.mixed_encoding import MixedEncoding
from pushforward.networks.mlp import MLP
from pushforward.networks.normalize import Normalize
from pushforward.networks.ramps import Ramps
from pushforward.networks.side_by_side import SideBySideMLP
from pushforward.networks.time_mlp import TimeMLP

__all__ = [
    "MLP",
    "GroupedMLP",
    "LipschitzMLP",
    "MaskedMLP",
    "MixedEncoding",
    "Normalize",
    "Ramps",
    "SideBySideMLP",
    "TimeMLP",
]
