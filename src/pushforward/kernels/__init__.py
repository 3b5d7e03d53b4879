"""Compiled inner loops, each beside the plain-PyTorch function that defines it."""

from pushforward.kernels.dispatch import disabled
from pushforward.kernels.library import available, reason, target

__all__ = ["available", "disabled", "reason", "target"]
