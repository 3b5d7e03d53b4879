"""Continuous transforms: the flow of a differential equation."""

from pushforward.transforms.continuous.continuous import Continuous
from pushforward.transforms.continuous.energies import Energies, measuring

__all__ = ["Continuous", "Energies", "measuring"]
