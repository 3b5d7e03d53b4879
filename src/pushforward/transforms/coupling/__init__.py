"""Coupling transforms, and functions that say what they keep."""

from pushforward.transforms.coupling import keeps
from pushforward.transforms.coupling.coupling import Coupling
from pushforward.transforms.coupling.given import Given
from pushforward.transforms.coupling.image import ImageCoupling

__all__ = ["Coupling", "Given", "ImageCoupling", "keeps"]
