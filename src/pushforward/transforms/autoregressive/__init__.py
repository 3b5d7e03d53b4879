"""Autoregressive transforms."""

from pushforward.transforms.autoregressive.autoregressive import Autoregressive
from pushforward.transforms.autoregressive.block import BlockAutoregressive

__all__ = ["Autoregressive", "BlockAutoregressive"]
