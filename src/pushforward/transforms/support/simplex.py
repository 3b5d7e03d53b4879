"""The simplex by breaking a stick."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.transforms.domains.curved import Shares
from pushforward.transforms.support.base import Supported

__all__ = ["Simplex"]


class Simplex(Supported):
    """Shares that sum to one to the line, one number fewer: stick-breaking.

    With ``rest_k`` the sum of what comes behind x_k,

        z_k = log x_k - log rest_k + log(K - k),    k = 1 … K - 1,

    so that equal shares are z = 0. The logdet is with respect to the first K - 1 shares, the last
    being what is left: the density a Dirichlet has. It is minus the sum of the log of all K shares.

    Args:
        features: width K of x.

    Shapes:
        x: ``(*batch, features)``, positive, with sum one up to rounding to four digits;
        z: ``(*batch, features - 1)``, anywhere; logdet: ``(*batch,)``

    Raises:
        ArgumentError: fewer than two features.

    Cost: one cumulative sum in either direction; exact. It works in logarithms: shares down to the
        smallest normal number keep their digits.

    Source: none

    Example:
        >>> z, logdet = Simplex(3)(torch.full((3,), 1 / 3))
        >>> bool(z.abs().max() < 1e-6)
        True
    """

    offset: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        if features < 2:
            raise ArgumentError(f"Simplex: features is {features}, expected at least 2.")
        self.event_shape = (features,)
        self.register_buffer("offset", torch.arange(features - 1, 0, -1.0).log())

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """One number fewer than x has."""
        return (self.event_shape[0] - 1,)

    @property
    def domain(self) -> Shares:
        """The simplex."""
        return Shares()

    def _there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_x = x.log()
        rest = x.flip(-1).cumsum(-1).flip(-1)[..., 1:]  # of positive terms: no digit is lost
        return log_x[..., :-1] - rest.log() + self.offset, -log_x.sum(-1)

    def _back(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z = z - self.offset
        log_left = functional.logsigmoid(-z).cumsum(-1)  # what is left of the stick
        log_left = functional.pad(log_left, (1, 0))
        log_x = functional.pad(functional.logsigmoid(z), (0, 1)) + log_left
        return log_x.exp().clamp_min(torch.finfo(z.dtype).tiny), log_x.sum(-1)
