"""Reordering of features; volume is kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.numerics.dependence import permutation
from pushforward.transforms.base import Transform
from pushforward.transforms.domains import Domain, Everywhere, PartOf
from pushforward.transforms.domains.together import groups, side_by_side
from pushforward.transforms.linear.matrix import whole

__all__ = ["Permutation", "Reverse"]


class Permutation(Transform):
    """Put the features in another order, ``z_i = x_order[i]``.

    Args:
        features: width of x.
        order: a permutation of ``range(features)``; by default a random one drawn with ``seed``.
        seed: seed of the random order.

    Shapes:
        x, z: ``(*batch, features)``; logdet: ``(*batch,)``, zero

    Raises:
        ArgumentError: ``features`` is below 1 or ``order`` is not a permutation.

    Cost: one copy in either direction; exact.

    Source: none

    Example:
        >>> Permutation(3, order=[2, 0, 1])(torch.tensor([10.0, 20.0, 30.0]))[0]
        tensor([30., 10., 20.])
    """

    order: Tensor
    back: Tensor

    def __init__(
        self, features: int, order: Sequence[int] | Tensor | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        features = whole("Permutation", "features", features)
        if order is None:
            generator = torch.Generator().manual_seed(seed)
            places = torch.randperm(features, generator=generator)
        else:
            places = permutation("Permutation", features, order)
        self.event_shape = (features,)
        self.register_buffer("order", places)
        self.register_buffer("back", places.argsort())

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return x.index_select(-1, self.order), x.new_zeros(x.shape[:-1])

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z.index_select(-1, self.back), z.new_zeros(z.shape[:-1])

    def image(self, given: Domain) -> Domain:
        """The domains of the features in their new places."""
        return reordered(given, self.order.tolist())

    def preimage(self, taken: Domain) -> Domain:
        """The domains of the features in their old places."""
        return reordered(taken, self.back.tolist())

    def influence(self) -> Tensor:
        """Feature ``order[i]`` and place i."""
        return torch.eye(self.event_shape[0], dtype=torch.bool)[self.order.cpu()]


class Reverse(Transform):
    """Put the features in the opposite order.

    Args:
        features: width of x.

    Shapes:
        x, z: ``(*batch, features)``; logdet: ``(*batch,)``, zero

    Raises:
        ArgumentError: ``features`` is below 1.

    Cost: one copy in either direction; exact.

    Source: none

    Example:
        >>> Reverse(2)(torch.tensor([1.0, 2.0]))[0]
        tensor([2., 1.])
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.event_shape = (whole("Reverse", "features", features),)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return x.flip(-1), x.new_zeros(x.shape[:-1])

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z.flip(-1), z.new_zeros(z.shape[:-1])

    def image(self, given: Domain) -> Domain:
        """The domains of the features in the opposite order."""
        return reordered(given, range(self.event_shape[0])[::-1])

    def preimage(self, taken: Domain) -> Domain:
        """The same."""
        return self.image(taken)

    def influence(self) -> Tensor:
        """The last feature and the first place, and so on."""
        return torch.eye(self.event_shape[0], dtype=torch.bool).flip(0)


def reordered(domain: Domain, order: Sequence[int]) -> Domain:
    """Where features lie that are put in another order, ``order[i]`` in place i."""
    if isinstance(domain, PartOf):
        return PartOf(reordered(domain.whole, order))
    if isinstance(domain, Everywhere):
        return domain
    found = groups(domain, len(order))
    member = [i for i, (_, width) in enumerate(found) for _ in range(width)]  # group of a feature
    parts: list[Domain] = []
    widths: list[int] = []
    place = 0
    while place < len(order):
        part, width = found[member[order[place]]]
        if len({member[i] for i in order[place : place + width]}) > 1:  # a group torn apart
            return PartOf(Everywhere())
        parts.append(part)  # shares and directions are the same in any order
        widths.append(width)
        place += width
    return side_by_side(parts, widths)
