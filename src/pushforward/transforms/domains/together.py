"""Domains made of domains, and what of them a map is known to reach."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from pushforward.transforms.domains.base import Domain, Everywhere
from pushforward.transforms.domains.box import Box
from pushforward.transforms.domains.curved import Angles

__all__ = [
    "Either",
    "PartOf",
    "Product",
    "Shaped",
    "carried",
    "groups",
    "row_of",
    "shaped",
    "side_by_side",
]


class Product(Domain):
    """Neighbouring features, each group with a domain of its own.

    Args:
        parts: the domains, from left to right.
        widths: how many features each takes.
    """

    def __init__(self, parts: Sequence[Domain], widths: Sequence[int]) -> None:
        self.parts, self.widths = list(parts), list(widths)
        self.solid = all(part.solid for part in parts)
        self.thin = any(part.thin for part in parts)

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

    def difference(self, x: Tensor, y: Tensor) -> Tensor:
        """That of each group in its own."""
        pairs = (torch.split(numbers, self.widths, -1) for numbers in (x, y))
        groups = zip(self.parts, *pairs, strict=True)
        return torch.cat([part.difference(a, b) for part, a, b in groups], -1)

    def tangent(self, x: Tensor) -> Tensor:
        """Those of the groups, each within its own features."""
        pairs = zip(self.parts, torch.split(x, self.widths, -1), strict=True)
        return torch.block_diag(*(part.tangent(y) for part, y in pairs))  # type: ignore[no-untyped-call,no-any-return]

    def part(self, start: int, stop: int) -> Domain | None:
        """The domain of a group, of some features within one, or of several."""
        found: list[Domain] = []
        widths: list[int] = []
        begin = 0
        for part, width in zip(self.parts, self.widths, strict=True):
            first, last = max(start - begin, 0), min(stop - begin, width)
            begin += width
            if first >= last:
                continue
            piece = part if last - first == width else part.part(first, last)
            if piece is None:
                return None
            found.append(piece)
            widths.append(last - first)
        return side_by_side(found, widths) if sum(widths) == stop - start else None

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
        self.whole, self.dims = whole, whole.dims
        self.solid, self.thin = whole.solid, whole.thin

    def outside(self, x: Tensor) -> Tensor:
        """What is outside the whole, as far as is known."""
        return self.whole.outside(x)

    def pull_in(self, x: Tensor) -> Tensor:
        """Pulled into the whole."""
        return self.whole.pull_in(x)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The bounds of the whole."""
        return self.whole.bounds()

    def difference(self, x: Tensor, y: Tensor) -> Tensor:
        """That in the whole."""
        return self.whole.difference(x, y)

    def tangent(self, x: Tensor) -> Tensor:
        """The directions of the whole."""
        return self.whole.tangent(x)

    def holds(self, other: Domain) -> bool:
        """Of nothing this is known."""
        return False

    def within(self, other: Domain) -> bool:
        """Whether the whole does."""
        return self.whole.within(other)

    def part(self, start: int, stop: int) -> Domain | None:
        """Some part of what the whole has there."""
        part = self.whole.part(start, stop)
        return None if part is None else PartOf(part)

    def __str__(self) -> str:
        return f"only a part of {self.whole}"


class Either(Domain):
    """What lies in one of several domains.

    Args:
        parts: the domains, two or more.
    """

    def __init__(self, parts: Sequence[Domain]) -> None:
        self.parts = list(parts)
        self.dims, self.solid = parts[0].dims, all(part.solid for part in parts)
        self.thin = any(part.thin for part in parts)

    def outside(self, x: Tensor) -> Tensor:
        """What lies outside of all."""
        return torch.stack([part.outside(x) for part in self.parts], -1).all(-1)

    def pull_in(self, x: Tensor) -> Tensor:
        """What lies outside of all pulled into the first."""
        outside = self.outside(x)
        mask = outside.reshape(*outside.shape, *[1] * self.dims)
        return torch.where(mask, self.parts[0].pull_in(x), x)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Of the box around all."""
        lows, highs = zip(*(part.bounds() for part in self.parts), strict=True)
        return functools.reduce(torch.minimum, lows), functools.reduce(torch.maximum, highs)

    def holds(self, other: Domain) -> bool:
        """Whether one of them does."""
        return any(part.holds(other) for part in self.parts)

    def within(self, other: Domain) -> bool:
        """Whether all of them lie in another domain."""
        return all(part.within(other) for part in self.parts)

    def __str__(self) -> str:
        return ", or ".join(map(str, self.parts))


class Shaped(Domain):
    """The numbers of an event of several dimensions, in a row, in a domain of vectors.

    Args:
        row: where they lie.
        dims: how many dimensions an event has.
    """

    def __init__(self, row: Domain, dims: int) -> None:
        self.row, self.dims, self.solid, self.thin = row, dims, row.solid, row.thin

    def outside(self, x: Tensor) -> Tensor:
        """Which events lie outside, seen as vectors."""
        return self.row.outside(x.flatten(-self.dims))

    def pull_in(self, x: Tensor) -> Tensor:
        """Each event pulled in, seen as a vector."""
        return self.row.pull_in(x.flatten(-self.dims)).reshape(x.shape)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The bounds of the vectors."""
        return self.row.bounds()

    def holds(self, other: Domain) -> bool:
        """Whether the other's vectors lie in these."""
        return self.row.holds(other.row if isinstance(other, Shaped) else other)

    def part(self, start: int, stop: int) -> Domain | None:
        """Some numbers of the vectors."""
        return self.row.part(start, stop)

    def difference(self, x: Tensor, y: Tensor) -> Tensor:
        """That of the vectors."""
        rows = (numbers.flatten(-self.dims) for numbers in (x, y))
        return self.row.difference(*rows).reshape(x.shape)

    def tangent(self, x: Tensor) -> Tensor:
        """The directions of the vectors."""
        return self.row.tangent(x.flatten(-self.dims))

    def __str__(self) -> str:
        return str(self.row)


def shaped(row: Domain, dims: int) -> Domain:
    """A domain of vectors as one of events of so many dimensions."""
    if isinstance(row, PartOf):
        return PartOf(shaped(row.whole, dims))
    if dims == 1:
        return row
    return Everywhere(dims) if isinstance(row, Everywhere) else Shaped(row, dims)


def row_of(domain: Domain) -> Domain:
    """Where the numbers of an event lie, in a row."""
    if isinstance(domain, Everywhere):
        return Everywhere()
    return domain.row if isinstance(domain, Shaped) else domain


def carried(given: Domain, start: Domain, end: Domain) -> Domain:
    """Where a map from all of ``start`` onto all of ``end`` takes what lies in ``given``.

    A surface lies in the space around it, but is none of it: what has volume has none there.
    """
    whole = start.within(given) and start.thin is given.thin
    return end if whole or isinstance(end, PartOf) else PartOf(end)


def groups(domain: Domain, features: int) -> list[tuple[Domain, int]]:
    """Domains of the smallest groups of neighbours that do not depend on others, and their widths.

    Shares and directions depend on each other; most features are groups of their own.
    """
    if isinstance(domain, Product):
        pairs = zip(domain.parts, domain.widths, strict=True)
        return [group for part, width in pairs for group in groups(part, width)]
    parts = [domain.part(i, i + 1) for i in range(features)]
    return [(domain, features)] if None in parts else [(part, 1) for part in parts]  # type: ignore[misc]


def side_by_side(parts: Sequence[Domain], widths: Sequence[int]) -> Domain:
    """Domains of neighbouring features as one, those of one kind together.

    If of some only a part is reached, of the whole too.
    """
    if any(isinstance(part, PartOf) for part in parts):
        wholes = [part.whole if isinstance(part, PartOf) else part for part in parts]
        return PartOf(side_by_side(wholes, widths))
    runs: list[Domain] = []
    sizes: list[int] = []
    for kind, run in groupby(zip(parts, widths, strict=True), lambda pair: _kind(pair[0])):
        some, several = zip(*run, strict=True)
        if kind is None:  # of its own kind each
            runs += some
            sizes += several
        else:
            runs.append(_merged(some, several))
            sizes.append(sum(several))
    return runs[0] if len(runs) == 1 else Product(runs, sizes)


def _kind(part: Domain) -> tuple[object, ...] | None:
    """What two neighbours have in common that can be said in one."""
    if isinstance(part, Everywhere):
        return (Everywhere,)
    if isinstance(part, Angles):
        return (Angles, part.period, part.wrapped)
    if isinstance(part, Box):
        return (Box, part.closed)
    return None


def _merged(parts: Sequence[Domain], widths: Sequence[int]) -> Domain:
    """Neighbours of one kind as one."""
    first = parts[0]
    if not isinstance(first, Box) or len(parts) == 1:
        return first
    low, high = Product(parts, widths).bounds()
    return Box(low, high, first.closed)
