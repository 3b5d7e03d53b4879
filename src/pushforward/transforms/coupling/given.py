"""A transform of some features whose context is the others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError, ShapeError
from pushforward.transforms.base import Transform
from pushforward.transforms.domains import Everywhere
from pushforward.transforms.domains.base import Domain
from pushforward.transforms.domains.together import side_by_side

__all__ = ["Given"]


class Given(Transform):
    """The first features stay, and are a context of the transform that moves the others.

    A coupling whose other half moves by a whole transform, as a flow of numbers given categories.

    Args:
        keep: how many features stay.
        transform: moves the others; it reads what is made of those that stay, then the context.
        embed: a module that makes the context of the features that stay, ``(*batch, keep)`` to
            ``(*batch, width)``; by default they are it themselves.
        context: width of a further context.

    Shapes:
        x: ``(*batch, keep + features of the transform)``; z: the same, as far as the transform
        keeps its number of features; logdet: ``(*batch,)``

    Raises:
        ArgumentError: ``keep`` is below 1.
        ShapeError: the transform is not one of vectors, or reads a context of another width.

    Cost: that of the transform; exact if that is.

    Source: none

    Example:
        >>> from pushforward import maps, transforms as T
        >>> t = Given(1, T.Coupling(2, map=maps.Affine(), hidden=(8,), context=1))
        >>> z, logdet = t(torch.zeros(5, 3))
        >>> z.shape, logdet.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    ordered = True

    def __init__(
        self,
        keep: int,
        transform: Transform,
        embed: nn.Module | None = None,
        context: int = 0,
    ) -> None:
        super().__init__()
        if keep < 1:
            raise ArgumentError(f"Given: keep is {keep}, expected at least 1.")
        if len(transform.event_shape) != 1 or len(transform.latent_shape) != 1:
            raise ShapeError(
                f"Given: {type(transform).__name__} takes {transform.event_shape} and gives "
                f"{transform.latent_shape}, expected vectors."
            )
        width = getattr(embed, "outputs", keep)
        if transform.context and transform.context != width + context:
            raise ShapeError(
                f"Given: the transform reads a context of width {transform.context}, "
                f"expected {width} of what stays and {context} besides."
            )
        self.transform, self.embed = transform, embed
        self.context = context
        self.exactness = transform.exactness
        self._before = [keep, transform.event_shape[0]]
        self._after = [keep, transform.latent_shape[0]]
        self.event_shape = (sum(self._before),)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """What stays, then the latent of the transform."""
        return (sum(self._after),)

    @property
    def domain(self) -> Domain:
        """That of the transform; what stays may be anything."""
        return side_by_side([Everywhere(), self.transform.domain], self._before)

    @property
    def codomain(self) -> Domain:
        """That of the transform; what stays may be anything."""
        return side_by_side([Everywhere(), self.transform.codomain], self._after)

    @property
    def closed(self) -> tuple[bool, bool]:
        """As the transform."""
        return self.transform.closed

    @property
    def evaluations(self) -> int:
        """Those of the transform."""
        return self.transform.evaluations

    def _seen(self, kept: Tensor, context: Tensor | None) -> Tensor | None:
        if not self.transform.context:
            return None
        made: Tensor = kept if self.embed is None else self.embed(kept)
        return made if context is None else torch.cat((made, context.to(made)), -1)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        kept, moved = torch.split(x, self._before, -1)
        z, logdet = self.transform._forward(moved.contiguous(), self._seen(kept, context))
        return torch.cat((kept, z), -1), logdet

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        kept, moved = torch.split(z, self._after, -1)
        x, logdet = self.transform._inverse(moved.contiguous(), self._seen(kept, context))
        return torch.cat((kept, x), -1), logdet

    def fit(self, x: Tensor, context: Tensor | None = None) -> Given:
        """Let the embedding look at what stays, and the transform at the rest."""
        kept, moved = torch.split(x, self._before, -1)
        look = getattr(self.embed, "fit", None)
        if look is not None:
            look(kept)
        self.transform.fit(moved, self._seen(kept, context))
        return self

    def settle(self, x: Tensor, context: Tensor | None = None) -> Given:
        """Let the transform settle what it has to."""
        kept, moved = torch.split(x, self._before, -1)
        self.transform.settle(moved, self._seen(kept, context))
        return self

    def influence(self) -> Tensor | None:
        """What stays reaches itself and all that moves."""
        inner = self.transform.influence()
        keep = self._before[0]
        if inner is None:
            inner = torch.ones(self._after[1], self._before[1], dtype=torch.bool)
        found = torch.zeros(sum(self._after), sum(self._before), dtype=torch.bool)
        found[:keep, :keep] = torch.eye(keep, dtype=torch.bool)
        found[keep:, :keep] = self.transform.context > 0
        found[keep:, keep:] = inner
        return found
