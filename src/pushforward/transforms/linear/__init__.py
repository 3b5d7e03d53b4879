"""Linear transforms."""

from pushforward.transforms.linear.batch_norm import BatchNorm
from pushforward.transforms.linear.convolution import Convolution1x1
from pushforward.transforms.linear.diagonal import Diagonal
from pushforward.transforms.linear.low_rank import LowRank
from pushforward.transforms.linear.lu import LU
from pushforward.transforms.linear.orthogonal import Orthogonal
from pushforward.transforms.linear.permutation import Permutation, Reverse
from pushforward.transforms.linear.qr import QR
from pushforward.transforms.linear.standardize import ActNorm, Standardize
from pushforward.transforms.linear.svd import SVD

__all__ = [
    "LU",
    "QR",
    "SVD",
    "ActNorm",
    "BatchNorm",
    "Convolution1x1",
    "Diagonal",
    "LowRank",
    "Orthogonal",
    "Permutation",
    "Reverse",
    "Standardize",
]
