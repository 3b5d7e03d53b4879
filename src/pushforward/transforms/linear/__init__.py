"""Linear transforms."""

from pushforward.transforms.linear.diagonal import Diagonal
from pushforward.transforms.linear.lu import LU
from pushforward.transforms.linear.orthogonal import Orthogonal
from pushforward.transforms.linear.permutation import Permutation, Reverse
from pushforward.transforms.linear.standardize import ActNorm, Standardize

__all__ = ["LU", "ActNorm", "Diagonal", "Orthogonal", "Permutation", "Reverse", "Standardize"]
