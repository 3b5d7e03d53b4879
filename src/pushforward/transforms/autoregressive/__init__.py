"""Autoregressive transforms."""

from pushforward.transforms.autoregressive.autoregressive import Autoregressive

__all__ = ["Autoregressive"]
