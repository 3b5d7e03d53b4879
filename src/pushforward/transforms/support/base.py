"""What transforms between supports share: outside there is no density, and never a nan."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable

import torch
from torch import Tensor

from pushforward.transforms.base import Transform
from pushforward.transforms.compose import Inverse
from pushforward.transforms.domains.base import Domain

__all__ = ["Pointwise", "Supported", "Turned"]


class Supported(Transform):
    """Transform of one support onto another; either may be bounded.

    A family writes ``domain`` and ``codomain``, and ``_there`` and ``_back``, which are only ever
    asked about what lies inside: events outside are pulled in before the arithmetic, so that
    neither they nor their gradients can be nan, and get a logdet of -inf behind it.
    """

    @abc.abstractmethod
    def _there(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give z and logdet for x inside the domain."""

    @abc.abstractmethod
    def _back(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Give x and logdet for z inside the codomain."""

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._move(self._there, x, self.domain, self.codomain)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._move(self._back, z, self.codomain, self.domain)

    def _move(
        self,
        function: Callable[[Tensor], tuple[Tensor, Tensor]],
        x: Tensor,
        source: Domain,
        target: Domain,
    ) -> tuple[Tensor, Tensor]:
        z, logdet = function(source.pull_in(x))
        return z, torch.where(source.outside(x), -math.inf, logdet)


class Pointwise(Supported):
    """Each feature through an increasing function of one interval onto another.

    Here ``_there`` and ``_back`` give the log-derivative of each feature. What they round to an end
    of an open interval becomes the nearest number inside, so that every sample has a density.

    Args:
        features: width of x.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.event_shape = (features,)

    def _move(
        self,
        function: Callable[[Tensor], tuple[Tensor, Tensor]],
        x: Tensor,
        source: Domain,
        target: Domain,
    ) -> tuple[Tensor, Tensor]:
        z, log_derivative = function(source.pull_in(x))
        logdet = log_derivative.sum(-1)
        return target.pull_in(z), torch.where(source.outside(x), -math.inf, logdet)

    def influence(self) -> Tensor:
        """Each feature its own z."""
        return torch.eye(self.event_shape[0], dtype=torch.bool)


class Turned(Inverse):
    """A pointwise transform turned round, under a name of its own: ``Logit``, ``Log``."""
