"""Domains made of domains."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.transforms.domains.base import Domain

__all__ = ["PartOf", "Product"]


class Product(Domain):
    """Neighbouring features, each group with a domain of its own.

    Args:
        parts: the domains, from left to right.
        widths: how many features each takes.
    """

    def __init__(self, parts: Sequence[Domain], widths: Sequence[int]) -> None:
        self.parts, self.widths = list(parts), list(widths)
        self.solid = all(part.solid for part in parts)

    def outside(self, x: Tensor) -> Tensor:
        """Where any group lies outside its own."""
        pairs = zip(self.parts, torch.split(x, self.widths, -1), strict=True)
        return torch.stack([part.outside(y) for part, y in pairs], -1).any(-1)

    def pull_in(self, x: Tensor) -> Tensor:
        """Each group pulled into its own."""
        pairs = zip(self.parts, torch.split(x, self.widths, -1), strict=True)
        return torch.cat([part.pull_in(y) for part, y in pairs], -1)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The bounds of all groups."""
        each = [part.bounds() for part in self.parts]
        low, high = (
            torch.cat([end.expand(n) for end, n in zip(ends, self.widths, strict=True)])
            for ends in zip(*each, strict=True)
        )
        return low, high

    def holds(self, other: Domain) -> bool:
        """Whether the other comes in the same groups, each of which lies in its own."""
        start = 0
        for part, width in zip(self.parts, self.widths, strict=True):
            theirs = other.part(start, start + width)
            if theirs is None or not part.holds(theirs):
                return False
            start += width
        return True

    def tangent(self, x: Tensor) -> Tensor:
        """Those of the groups, each within its own features."""
        pairs = zip(self.parts, torch.split(x, self.widths, -1), strict=True)
        return torch.block_diag(*(part.tangent(y) for part, y in pairs))  # type: ignore[no-untyped-call,no-any-return]

    def part(self, start: int, stop: int) -> Domain | None:
        """The domain of a group, or of some features within one."""
        begin = 0
        for part, width in zip(self.parts, self.widths, strict=True):
            if (start, stop) == (begin, begin + width):
                return part
            if begin <= start and stop <= begin + width:
                return part.part(start - begin, stop - begin)
            begin += width
        return None

    def __str__(self) -> str:
        return ", then ".join(
            f"{part} ({width})" for part, width in zip(self.parts, self.widths, strict=True)
        )


class PartOf(Domain):
    """Some part of a domain, nobody knows which; not all of it.

    Args:
        whole: the domain.
    """

    def __init__(self, whole: Domain) -> None:
        self.whole, self.dims, self.solid = whole, whole.dims, whole.solid

    def outside(self, x: Tensor) -> Tensor:
        """What is outside the whole, as far as is known."""
        return self.whole.outside(x)

    def pull_in(self, x: Tensor) -> Tensor:
        """Pulled into the whole."""
        return self.whole.pull_in(x)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The bounds of the whole."""
        return self.whole.bounds()

    def tangent(self, x: Tensor) -> Tensor:
        """The directions of the whole."""
        return self.whole.tangent(x)

    def holds(self, other: Domain) -> bool:
        """Whether it may: a part of the whole may lie in it, the whole does not."""
        if isinstance(other, PartOf):
            return self.whole.holds(other.whole)
        return self.whole.holds(other) and not other.holds(self.whole)

    def __str__(self) -> str:
        return f"only a part of {self.whole}"
