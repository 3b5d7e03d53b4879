"""Residual transforms: x plus something that leaves it invertible."""

from pushforward.transforms.residual.contractive import Contractive
from pushforward.transforms.residual.planar import Planar
from pushforward.transforms.residual.radial import Radial
from pushforward.transforms.residual.sylvester import Sylvester

__all__ = ["Contractive", "Planar", "Radial", "Sylvester"]
