"""Coupling transforms."""

from pushforward.transforms.coupling.coupling import Coupling

__all__ = ["Coupling"]
