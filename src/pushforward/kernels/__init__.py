"""Compiled inner loops, each beside the plain-PyTorch function that defines it."""

from pushforward.kernels.dispatch import disabled
from pushforward.kernels.library import available, reason, remedy, target

__all__ = ["available", "disabled", "reason", "remedy", "target"]
