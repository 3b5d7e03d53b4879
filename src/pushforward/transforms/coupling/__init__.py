"""Coupling transforms, and functions that say what they keep."""

from pushforward.transforms.coupling import keeps
from pushforward.transforms.coupling.coupling import Coupling
from pushforward.transforms.coupling.image import ImageCoupling

__all__ = ["Coupling", "ImageCoupling", "keeps"]
