"""A map applied to every feature, with parameters of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pushforward.maps.base import Map, as_map
from pushforward.networks.mlp import MLP
from pushforward.numerics.conditioning import reach
from pushforward.transforms.moving import Moving, entered, left

__all__ = ["Elementwise"]


class Elementwise(Moving):
    """Each feature goes through its own copy of a map; the features do not see each other.

    With a context, a network of the context gives the parameters; without, they are trained
    directly. Either way the transform is the identity before training.

    Args:
        features: width of x.
        map: the map, for instance ``maps.RationalQuadratic()``.
        context: width of the context.
        hidden: widths of the hidden layers of the network, where there is a context.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``

    Raises:
        InputTypeError: ``map`` is no map.

    Cost: one call of the map in either direction.

    Source: none

    Example:
        >>> from pushforward import maps
        >>> z, logdet = Elementwise(2, map=maps.Affine())(torch.ones(5, 2))
        >>> logdet.shape
        torch.Size([5])
    """

    def __init__(
        self, features: int, *, map: Map, context: int = 0, hidden: tuple[int, ...] = (128, 128)
    ) -> None:
        super().__init__()
        self.event_shape = (features,)
        self.context = context
        self.map = as_map("Elementwise", "map", map).bind(features)
        count = self.map.raw_width
        self.raw = None if context else nn.Parameter(torch.zeros(features, count))
        self.network = MLP(context, features * count, hidden) if context else None

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._move(self.map.forward, x, context)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._move(self.map.inverse, z, context)

    def _move(
        self,
        apply: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        x: Tensor,
        context: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        x, outside = entered(self.map, x)
        z, log_derivative = apply(x, self._raw(x, context))
        return z, left(log_derivative.sum(-1), outside)

    def _raw(self, x: Tensor, context: Tensor | None) -> Tensor:
        if self.network is None:
            assert self.raw is not None
            return self.raw.expand(*x.shape, self.map.raw_width)
        assert context is not None
        raw = self.network(reach(context)).unflatten(-1, (x.shape[-1], self.map.raw_width))
        return raw.to(x.dtype)  # type: ignore[no-any-return]

    @property
    def closed(self) -> tuple[bool, bool]:
        """As the map is."""
        return True, self.map.closed

    def influence(self) -> Tensor:
        """Each feature its own z."""
        return torch.eye(self.event_shape[0], dtype=torch.bool)
