"""A first look at which codes may tell of which columns: at few rows, at all pairs at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pushforward.networks.mixed_encoding import MixedEncoding
from pushforward.numerics.subset import some_of

__all__ = ["promising"]

_ROWS = 2_000
_CODES = 3_000  # of columns that are looked at together: pairs of codes must fit into memory
_FEW = 3  # columns that are promising by either of two figures


def promising(
    encoding: MixedEncoding, codes: Tensor, numbers: Tensor
) -> tuple[list[list[int]], list[list[int]]]:
    """For each column of codes, and each number, those earlier codes that may tell most of it.

    To look closely at every pair takes minutes where there are a thousand columns. This goes by
    mutual information, and by shares of variance, with and without what chance gives to columns of
    many codes.

    Args:
        encoding: of the columns.
        codes: ``(n, coded columns)``.
        numbers: ``(n, numbers)``, NaN for those that are not there.

    Returns:
        Places among the coded columns, a list for each coded column, and one for each number.
    """
    rows = some_of(len(codes), _ROWS)
    codes, numbers = codes[rows], numbers[rows]
    blocks = _blocks(encoding, codes)
    free = encoding.code_sizes.double() - 1.0
    information = _information(blocks, len(free))
    variance = _variance(blocks, len(free), numbers)
    places = torch.arange(len(free), device=codes.device)
    coded, lines = (
        torch.tensor(part, dtype=torch.long, device=codes.device)
        for part in (encoding.coded, encoding.lines)
    )
    return (
        _best((information, information - 0.5 * free[:, None] * free), places[:, None] < places),
        _best((variance, variance - free[:, None]), coded[:, None] < lines),
    )


class _Block(NamedTuple):
    """Some of the columns: ones and zeros for their codes, and the column of each code."""

    ones: Tensor
    group: Tensor


def _blocks(encoding: MixedEncoding, codes: Tensor) -> list[_Block]:
    """All columns in order, as many at a time as there is room for."""
    sizes = encoding.code_sizes.tolist()
    found: list[_Block] = []
    first = 0
    while first < len(sizes):
        last, room = first + 1, _CODES - sizes[first]
        while last < len(sizes) and sizes[last] <= room:
            room -= sizes[last]
            last += 1
        size = encoding.code_sizes[first:last]
        starts = size.cumsum(0) - size
        ones = codes.new_zeros(len(codes), int(size.sum()), dtype=torch.float32)
        ones.scatter_(1, codes[:, first:last] + starts, 1.0)
        places = torch.arange(first, last, device=codes.device)
        found.append(_Block(ones, places.repeat_interleave(size)))
        first = last
    return found


def _information(blocks: Sequence[_Block], columns: int) -> Tensor:
    """Mutual information of each two columns, nats of all rows, ``(columns, columns)``."""
    both = torch.zeros(columns, columns, dtype=torch.float64)
    for i, one in enumerate(blocks):
        for other in blocks[: i + 1]:
            joint = (other.ones.T @ one.ones).double()
            within = _summed(torch.special.xlogy(joint, joint), other.group, columns)
            part = _summed(within.T, one.group, columns).T
            both = both + (part if other is one else part + part.T)
    alone = both.diagonal()  # a column tells all of itself
    rows = len(blocks[0].ones) if blocks else 0
    return both - alone[:, None] - alone + rows * math.log(max(rows, 1))


def _variance(blocks: Sequence[_Block], columns: int, numbers: Tensor) -> Tensor:
    """Share of the variance of numbers that codes tell, times the rows, ``(columns, numbers)``."""
    there = ~numbers.isnan()
    score = torch.where(there, numbers - numbers.nanmean(0), 0.0)
    told = torch.zeros(columns, numbers.shape[1], dtype=torch.float64)
    for block in blocks:
        ones = block.ones.double()
        between = (ones.T @ score).square() / (ones.T @ there.double()).clamp_min(1.0)
        told = told + _summed(between, block.group, columns)
    return told / score.square().sum(0).clamp_min(1e-300) * there.sum(0)


def _summed(of_codes: Tensor, group: Tensor, columns: int) -> Tensor:
    return of_codes.new_zeros(columns, *of_codes.shape[1:]).index_add(0, group, of_codes)


def _best(figures: tuple[Tensor, ...], allowed: Tensor) -> list[list[int]]:
    """Places of the largest of each figure, for each column."""
    found: list[set[int]] = [set() for _ in range(allowed.shape[1])]
    for figure in figures:
        masked = figure.masked_fill(~allowed, -torch.inf)
        top = masked.topk(min(_FEW, len(masked)), dim=0)
        for values, places in zip(top.values.tolist(), top.indices.tolist(), strict=True):
            for one, value, place in zip(found, values, places, strict=True):
                if value > -math.inf:
                    one.add(place)
    return [sorted(one) for one in found]
