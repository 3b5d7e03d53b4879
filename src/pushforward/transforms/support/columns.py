"""Features side by side, each group with a transform of its own."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError, InputTypeError
from pushforward.transforms.base import Transform, weakest
from pushforward.transforms.compose import common_context
from pushforward.transforms.domains.base import Domain
from pushforward.transforms.domains.together import PartOf, side_by_side

__all__ = ["Columns"]


class Columns(Transform):
    """Transforms side by side: each takes its own columns of x, from left to right.

    For data of mixed supports: ``start=T.Columns(T.Log(2), T.Logit(1), T.Standardize(3))`` takes
    two positive columns, one in (0, 1) and three that may be anything.

    Args:
        *transforms: from left to right, each of vectors.

    Shapes:
        x: ``(*batch, sum of their features)``; z: their latents side by side; logdet: ``(*batch,)``

    Raises:
        ArgumentError: no transform at all, or one whose x or z is no vector.
        InputTypeError: what is given is no transform.
        ShapeError: contexts differ in width.

    Cost: the sum of the transforms'.

    Source: none

    Example:
        >>> from pushforward.transforms import Log, Standardize
        >>> both = Columns(Log(1), Standardize(1))
        >>> both(torch.tensor([[1.0, -2.0], [-1.0, 2.0]]))
        (tensor([[  0.0000,  -2.0000],
                [-87.3365,   2.0000]]), tensor([0., -inf]))
    """

    def __init__(self, *transforms: Transform) -> None:
        super().__init__()
        if not transforms:
            raise ArgumentError("Columns: got no transform, expected at least one.")
        for part in transforms:
            if not isinstance(part, Transform):
                raise InputTypeError(
                    f"Columns: got a {type(part).__name__}, expected transforms; "
                    f"write Columns(a, b) rather than Columns([a, b])."
                )
            if len(part.event_shape) != 1 or len(part.latent_shape) != 1:
                raise ArgumentError(
                    f"Columns: {type(part).__name__} takes {part.event_shape} and gives "
                    f"{part.latent_shape}, expected vectors."
                )
        self.context = common_context("Columns", transforms)
        self.exactness = weakest(*(part.exactness for part in transforms))
        self.transforms = nn.ModuleList(transforms)
        self._before = [part.event_shape[0] for part in transforms]
        self._after = [part.latent_shape[0] for part in transforms]
        self.event_shape = (sum(self._before),)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The latents side by side."""
        return (sum(self._after),)

    @property
    def domain(self) -> Domain:
        """Each column's own."""
        return side_by_side([part.domain for part in self._all()], self._before)

    @property
    def codomain(self) -> Domain:
        """Each column's own."""
        return side_by_side([part.codomain for part in self._all()], self._after)

    def image(self, given: Domain) -> Domain:
        """Where each group ends that begins in its part of a domain."""
        parts = _split(given, self._before)
        if parts is None:
            return PartOf(self.codomain)
        ends = [step.image(part) for step, part in zip(self._all(), parts, strict=True)]
        return side_by_side(ends, self._after)

    def preimage(self, taken: Domain) -> Domain:
        """Where each group must begin to end in its part of a domain."""
        parts = _split(taken, self._after)
        if parts is None:
            return PartOf(self.domain)
        starts = [step.preimage(part) for step, part in zip(self._all(), parts, strict=True)]
        return side_by_side(starts, self._before)

    def _all(self) -> list[Transform]:
        return list(self.transforms)  # type: ignore[arg-type]

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._move("_forward", torch.split(x, self._before, -1), context)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._move("_inverse", torch.split(z, self._after, -1), context)

    def _move(
        self, method: str, columns: tuple[Tensor, ...], context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        pairs = [
            getattr(part, method)(column, context if part.context else None)
            for part, column in zip(self.transforms, columns, strict=True)
        ]
        results, logdets = zip(*pairs, strict=True)
        return torch.cat(results, -1), torch.stack(logdets).sum(0)

    def fit(self, x: Tensor, context: Tensor | None = None) -> Columns:
        """Fit each transform on its own columns."""
        for part, column in zip(self._all(), torch.split(x, self._before, -1), strict=True):
            part.fit(column, context)
        return self

    def settle(self, x: Tensor, context: Tensor | None = None) -> Columns:
        """Settle each transform on its own columns."""
        for part, column in zip(self._all(), torch.split(x, self._before, -1), strict=True):
            part.settle(column, context)
        return self

    @property
    def closed(self) -> tuple[bool, bool]:
        """Whether every part is, forward and inverse."""
        forward, inverse = zip(*(part.closed for part in self._all()), strict=True)
        return all(forward), all(inverse)

    @property
    def evaluations(self) -> int:
        """The sum of the transforms'."""
        return sum(part.evaluations for part in self._all())

    def influence(self) -> Tensor | None:
        """Each group its own latents; everything, as far as is said, if a group changes width."""
        patterns = []
        for part, width, after in zip(self._all(), self._before, self._after, strict=True):
            if width != after:
                return None
            pattern = part.influence()
            full = torch.ones(after, width, dtype=torch.bool)
            patterns.append(full if pattern is None else pattern)
        return torch.block_diag(*patterns)  # type: ignore[no-untyped-call,no-any-return]


def _split(domain: Domain, widths: list[int]) -> list[Domain] | None:
    """What each group of neighbours may be, if that does not depend on the others."""
    if isinstance(domain, PartOf):
        parts = _split(domain.whole, widths)
        return None if parts is None else [PartOf(part) for part in parts]
    ends = list(itertools.accumulate(widths))
    found = [domain.part(end - width, end) for end, width in zip(ends, widths, strict=True)]
    return None if None in found else found  # type: ignore[return-value]
