"""Rows of a table as tensors: which of them count, which are held out, and means over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from pushforward.errors import DataError

if TYPE_CHECKING:
    import numpy

__all__ = [
    "Rows",
    "counting",
    "mean_and_error",
    "refuse_constant",
    "scoring_noise",
    "share_above",
    "split",
    "varied",
]

_FEWEST = 2  # rows with a weight


class Rows(NamedTuple):
    """Features, context and weights of the same rows.

    Attributes:
        x: ``(n, features)``.
        context: ``(n, context)``, or None.
        weights: ``(n,)``, or None.
    """

    x: Tensor
    context: Tensor | None
    weights: Tensor | None

    def take(self, index: Tensor) -> Rows:
        """Some of the rows."""
        return Rows(*(None if part is None else part[index] for part in self))  # type: ignore[arg-type]


def counting(rows: Rows) -> Rows:
    """The rows that have a weight; others would still have a part in scales, split and ranks.

    Raises:
        DataError: fewer than two of them.
    """
    if rows.weights is None or bool((rows.weights != 0.0).all()):
        return rows
    counts = rows.weights != 0.0
    if int(counts.sum()) < _FEWEST:
        raise DataError(
            f"TableFlow.fit: only {int(counts.sum())} rows have a weight above zero, expected at "
            f"least {_FEWEST}."
        )
    return rows.take(counts)


def refuse_constant(x: Tensor, names: Sequence[str], what: str = "DATA") -> None:
    """Refuse a column that is the same in all rows: nothing of it can be learned.

    Raises:
        DataError: there is such a column; the message names it.
    """
    if not x.numel():
        return
    still = _still(x)
    if bool(still.any()):
        name = names[int(still.nonzero()[0])]
        raise DataError(
            f"{what}: column {name!r} is the same in all {len(x)} rows that are learned from; "
            f"leave it out, or give more rows."
        )


def split(rows: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Training and held-out rows: a random split that the seed decides."""
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    held = max(1, round(rows * share))
    return order[held:], order[:held]


def varied(x: Tensor, learned: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """A split such that among the rows learned from no column is the same that varies in x.

    Rows that a column needs change sides. Where none can be spared to be held out, as of two rows,
    one is on both sides.

    Args:
        x: all rows, ``(n, columns)``.
        learned: which of them are learned from.
        held: which are held out.

    Example:
        >>> x = torch.tensor([[1.0], [1.0], [2.0]])
        >>> learned, held = varied(x, torch.tensor([0, 1]), torch.tensor([2]))
        >>> learned.tolist(), held.tolist()
        ([1, 2], [0])
    """
    needed = torch.zeros(len(held), dtype=torch.bool)
    for place in _still(x[learned]).nonzero()[:, 0].tolist():
        other = x[held, place] != x[learned[0], place]
        if bool(other.any()) and not bool((other & needed).any()):
            needed[int(other.nonzero()[0])] = True
    learned, held = torch.cat((learned, held[needed])), held[~needed]
    if len(held):
        return learned, held
    for i in range(len(learned)):
        rest = torch.cat((learned[:i], learned[i + 1 :]))
        if not bool((_still(x[rest]) & ~_still(x[learned])).any()):
            return rest, learned[i : i + 1]
    return learned, learned[:1]


def _still(x: Tensor) -> Tensor:
    """Which columns are the same in all rows."""
    return x.amin(0) == x.amax(0)


def mean_and_error(values: Tensor, weights: Tensor | None) -> tuple[float, float | None]:
    """Weighted mean and its standard error, which is not known of a single row."""
    share = torch.ones_like(values) if weights is None else weights.to(values)
    share = share / share.sum()
    mean = (share * values).sum()
    if int((share != 0.0).sum()) < 2:
        return float(mean), None
    error = (share.square() * (values - mean).square()).sum().sqrt()
    return float(mean), float(error)


def scoring_noise() -> torch.Generator:
    """Where draws come from if a density is an estimate: the same whenever a table is scored."""
    return torch.Generator().manual_seed(0)


def share_above(
    known: numpy.ndarray[Any, Any], values: numpy.ndarray[Any, Any]
) -> numpy.ndarray[Any, Any]:
    """Share of the known figures, ascending, that are above each value; nan for nan."""
    import numpy

    # the middle of the places a tie could take, so that equal rows get equal, fair scores
    right = numpy.searchsorted(known, values, side="right")
    left = numpy.searchsorted(known, values, side="left")
    share = 1.0 - 0.5 * (left + right) / len(known)
    return numpy.where(numpy.isnan(values), numpy.nan, share)
