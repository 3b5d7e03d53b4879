"""A first look at which codes may tell of which columns: at few rows, at all pairs at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.networks.mixed_encoding import MixedEncoding
from pushforward.numerics.subset import some_of

__all__ = ["promising"]

_ROWS = 2_000
_CODES = 6_000  # that the columns looked at have together: pairs of them must fit into memory
_FEW = 3  # columns that are promising by either of two figures


def promising(
    encoding: MixedEncoding, codes: Tensor, numbers: Tensor
) -> tuple[list[list[int]], list[list[int]]]:
    """For each column of codes, and each number, those earlier codes that may tell most of it.

    To look closely at every pair takes minutes where there are a thousand columns. This goes by
    mutual information, and by shares of variance, with and without what chance gives to columns of
    many codes. Columns with the most codes are left out where all together have too many.

    Args:
        encoding: of the columns.
        codes: ``(n, coded columns)``.
        numbers: ``(n, numbers)``, NaN for those that are not there.

    Returns:
        Places among the coded columns, a list for each coded column, and one for each number.
    """
    rows = some_of(len(codes), _ROWS)
    codes, numbers = codes[rows], numbers[rows]
    sizes = encoding.code_sizes
    few = _fewest(sizes)
    group = torch.arange(len(sizes), device=codes.device).repeat_interleave(sizes)
    kept = few[group]
    ones = encoding.ones(codes, numbers)[:, kept]
    free = sizes.double() - 1.0
    information = _information(ones, group[kept], len(sizes))
    variance = _variance(ones, group[kept], len(sizes), numbers)
    places = torch.arange(len(sizes), device=codes.device)
    coded, lines = (
        torch.tensor(part, dtype=torch.long, device=codes.device)
        for part in (encoding.coded, encoding.lines)
    )
    earlier = few[:, None] & few & (places[:, None] < places)
    before = few[:, None] & (coded[:, None] < lines)
    return (
        _best((information, information - 0.5 * free[:, None] * free), earlier),
        _best((variance, variance - free[:, None]), before),
    )


def _fewest(sizes: Tensor) -> Tensor:
    """Which columns are looked at: those of fewest codes, as far as there is room."""
    order = sizes.argsort(stable=True)
    room = sizes[order].cumsum(0) <= _CODES
    return torch.zeros_like(room).index_copy(0, order, room)


def _information(ones: Tensor, group: Tensor, columns: int) -> Tensor:
    """Mutual information of each two columns, nats of all rows, ``(columns, columns)``."""
    joint = ones.T @ ones
    alone = _summed(torch.special.xlogy(joint.diagonal(), joint.diagonal()), group, columns)
    both = _summed(torch.special.xlogy(joint, joint), group, columns)
    both = _summed(both.T, group, columns)
    return both - alone[:, None] - alone + len(ones) * math.log(max(len(ones), 1))


def _variance(ones: Tensor, group: Tensor, columns: int, numbers: Tensor) -> Tensor:
    """Share of the variance of numbers that codes tell, times the rows, ``(columns, numbers)``."""
    there = ~numbers.isnan()
    rows = there.sum(0).clamp_min(1)
    score = torch.where(there, numbers - numbers.nanmean(0), 0.0)
    between = (ones.T @ score).square() / (ones.T @ there.to(ones)).clamp_min(1.0)
    total = score.square().sum(0).clamp_min(1e-300)
    return _summed(between, group, columns) / total * rows


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
