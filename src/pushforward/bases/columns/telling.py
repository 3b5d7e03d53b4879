"""What a code tells of the columns behind it: shares of codes and places of numbers for each.

How much a small group of rows is worth is found by leaving each row out in turn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pushforward.bases.columns.glance import promising
from pushforward.networks.mixed_encoding import MixedEncoding
from pushforward.numerics.quantile_table import scores
from pushforward.numerics.subset import some_of

__all__ = ["code_shares", "normal_scores", "places_and_scales", "telling"]

_PRIORS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # rows that all rows together count as in each group
_NARROWEST = 0.02  # standard deviation of a group, in normal scores
_ENOUGH = 8.0  # nats by which all rows together have to be likelier
_TIE = 1e-6  # nats: of two columns that say the same the first is taken
_LOOKED_AT = 10_000  # rows


def telling(columns: Sequence[Mapping[str, Any]], z: Tensor) -> list[int | None]:
    """For each column the earlier one whose code tells most of it; None where none tells enough.

    Args:
        columns: as ``MixedColumns`` takes them.
        z: rows, ``(n, features)``.

    Example:
        >>> code = torch.arange(60.0).remainder(3)
        >>> z = torch.stack((code, 5.0 - code, torch.arange(60.0) // 3), 1)
        >>> telling([{"codes": 3}, {"codes": 6}, {"value": "number"}], z)
        [None, 0, None]
    """
    z = z[some_of(len(z), _LOOKED_AT)].double()
    encoding = MixedEncoding(columns).double().fit(z)
    codes = encoding.taken_codes(z)
    there = encoding.present(codes, encoding.line_flags)
    numbers = torch.where(there, normal_scores(encoding, z), torch.nan)
    of_codes, of_numbers = promising(encoding, codes, numbers)
    sizes = encoding.code_sizes.tolist()
    found: list[int | None] = [None] * len(encoding.columns)
    most = [_ENOUGH + math.log(i + 1.0) for i in range(len(encoding.columns))]  # of so many tries

    def weigh(column: int, earlier: int, gain: float) -> None:
        if gain > most[column] + _TIE:
            found[column], most[column] = encoding.coded[earlier], gain

    for place, column in enumerate(encoding.coded):
        for k in of_codes[place]:
            counts = _counts(codes[:, k], codes[:, place], (sizes[k], sizes[place]))
            weigh(column, k, _best(counts)[1])
    for place, column in enumerate(encoding.lines):  # of both, what is told of the larger part
        some = there[:, place]
        for k in of_numbers[place]:
            weigh(column, k, _best_places(codes[some, k], numbers[some, place], sizes[k])[1])
    return found


def code_shares(given: Tensor, codes: Tensor, sizes: tuple[int, int]) -> Tensor:
    """Logarithms of the shares of codes for each earlier one, less those of all rows.

    Args:
        given: the earlier code of each row, ``(n,)``.
        codes: the code of each row, ``(n,)``.
        sizes: how many earlier codes there are, and how many codes.

    Returns:
        ``(earlier codes, codes)``.

    Example:
        >>> given = torch.arange(100).remainder(2)
        >>> code_shares(given, given, (2, 2)).exp().round(decimals=2)
        tensor([[2., 0.],
                [0., 2.]], dtype=torch.float64)
    """
    counts = _counts(given, codes, sizes)
    share = _overall(counts)
    prior = _best(counts)[0]
    log_share = (counts + prior * share).log() - (counts.sum(1, keepdim=True) + prior).log()
    return log_share - share.log()


def places_and_scales(given: Tensor, numbers: Tensor, size: int) -> Tensor:
    """Mean and logarithm of the standard deviation of normal scores for each earlier code.

    Args:
        given: the earlier code of each row, ``(n,)``.
        numbers: the score of each row, ``(n,)``.
        size: how many earlier codes there are.

    Returns:
        ``(earlier codes, 2)``.
    """
    prior = _best_places(given, numbers, size)[0]
    mean, variance = _moments(*_sums(given, numbers, size), prior)
    return torch.stack((mean, 0.5 * variance.log()), -1)


def _counts(given: Tensor, codes: Tensor, sizes: tuple[int, int]) -> Tensor:
    flat = torch.bincount(given * sizes[1] + codes, minlength=sizes[0] * sizes[1])
    return flat.reshape(sizes).double()


def _overall(counts: Tensor) -> Tensor:
    share = counts.sum(0) + 0.5
    return share / share.sum()


def _best(counts: Tensor) -> tuple[float, float]:
    """The prior under which rows that are left out are likeliest, and what is gained, in nats."""
    there = counts > 0
    share, total = _overall(counts).expand_as(counts)[there], counts.sum(1, keepdim=True)
    total, counts = total.expand_as(counts)[there], counts[there]
    found = (_PRIORS[-1], -math.inf)
    for prior in _PRIORS:
        left_out = (counts - 1.0 + prior * share).log() - (total - 1.0 + prior).log()
        gain = float((counts * (left_out - share.log())).sum())
        if gain > found[1]:
            found = (prior, gain)
    return found


def normal_scores(encoding: MixedEncoding, z: Tensor) -> Tensor:
    """Normal scores of numbers; of whole ones somewhere in their cells."""
    x = z.index_select(-1, encoding.line_slots).clone()
    draws = torch.Generator().manual_seed(0)
    for k, column in enumerate(encoding.lines):
        if encoding.columns[column].value == "whole":
            x[:, k] += torch.rand(len(x), generator=draws, dtype=x.dtype).to(x.device) - 0.5
    return scores(encoding.table, encoding.to_scale(x))[0]


def _sums(given: Tensor, numbers: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """How many rows each group has, their sum, and that of their squares."""
    zero = numbers.new_zeros(size)
    count, total, squares = (
        zero.index_add(0, given, part)
        for part in (torch.ones_like(numbers), numbers, numbers.square())
    )
    return count, total, squares


def _moments(count: Tensor, total: Tensor, squares: Tensor, prior: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of groups to which so many standard normal rows are added."""
    worth = count + prior
    mean = total / worth
    variance = (squares + prior) / worth - mean.square()
    return mean, variance.clamp_min(_NARROWEST**2)


def _best_places(given: Tensor, numbers: Tensor, size: int) -> tuple[float, float]:
    """As ``_best``, of normal densities in place of the standard one."""
    count, total, squares = (part[given] for part in _sums(given, numbers, size))
    base = -0.5 * numbers.square()
    found = (_PRIORS[-1], -math.inf)
    for prior in _PRIORS:
        others = (count - 1.0, total - numbers, squares - numbers.square())
        mean, variance = _moments(*others, prior)
        left_out = -0.5 * ((numbers - mean).square() / variance + variance.log())
        gain = float((left_out - base).sum())
        if gain > found[1]:
            found = (prior, gain)
    return found
