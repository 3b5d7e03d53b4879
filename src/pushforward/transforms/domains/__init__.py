"""Where the numbers of a transform or a base may lie, and whether one such set lies in another."""

from pushforward.transforms.domains.base import Domain, Everywhere
from pushforward.transforms.domains.box import Box
from pushforward.transforms.domains.curved import Angles, Directions, Shares
from pushforward.transforms.domains.together import Either, PartOf, Product, Shaped

__all__ = [
    "Angles",
    "Box",
    "Directions",
    "Domain",
    "Either",
    "Everywhere",
    "PartOf",
    "Product",
    "Shaped",
    "Shares",
]
