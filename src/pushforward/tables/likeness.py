"""Whether drawn rows are like those of a table: margins, correlations, and no copies of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pushforward.errors import DataError

if TYPE_CHECKING:
    from pushforward.tables.schema.column import Column

__all__ = ["likeness", "refuse_few"]

_NEAR = 0.02  # share of the rows of the table that count as near to a row of its other half
_COMPARED = 2_000  # rows whose nearest neighbours are looked for
_AMONG = 10_000  # rows these are looked for in
_TRIALS = 400
_FEWEST = 10  # rows of the table: half of them stand for it, the others tell how near rows are
_FEWEST_DRAWN = 2  # one row has no correlations


def likeness(columns: Sequence[Column], drawn: Tensor, data: Tensor) -> dict[str, Any]:
    """Compare drawn rows with rows of a table.

    Args:
        columns: of both.
        drawn: numbers of the columns, ``(n, columns)``.
        data: the same of the table.

    Returns:
        ``columns``: of each the largest difference of distribution functions (Kolmogorov), or half
        the sum of the differences of shares (labels), and what chance alone would make of it;
        ``correlations``: mean and largest difference, and where that is; ``distances``: medians of
        the distance to the nearest of one half of the table's rows, of drawn rows and of the other
        half's; ``near``, the share of drawn rows nearer than all but 2 % of those, and what is not
        to be wondered at; the shares of ``copies`` and of rows that the table itself ``repeats``.
        ``left_out``: columns
        of numbers that are the same in all rows of the table, which have neither correlations nor
        a scale of distances; where no other is left there are none of these.

    Raises:
        DataError: there are too few rows.
    """
    refuse_few(len(drawn), len(data), "the table")
    used = [i for i, column in enumerate(columns) if column.type != "constant"]
    scaled = [i for i in used if columns[i].coded or _spread(data[:, i]) > 0.0]
    margins = {columns[i].name: _margin(columns[i], drawn[:, i], data[:, i]) for i in used}
    names, numbers = _as_numbers(columns, scaled, data, data)
    _, of_drawn = _as_numbers(columns, scaled, drawn, data)
    return {
        "rows": {"drawn": len(drawn), "data": len(data)},
        "columns": margins,
        "correlations": _correlations(names, of_drawn, numbers),
        "distances": _distances(of_drawn, numbers) if scaled else {},
        "left_out": [columns[i].name for i in used if i not in scaled],
    }


def refuse_few(drawn: int, data: int, what: str) -> None:
    """Refuse rows that are too few to be compared.

    Args:
        drawn: how many rows are drawn.
        data: how many the table has.
        what: what messages call the table.

    Raises:
        DataError: there are too few of either.
    """
    if data < _FEWEST:
        raise DataError(
            f"{what}: there {'is 1 row' if data == 1 else f'are {data} rows'}, expected at least "
            f"{_FEWEST} to compare drawn rows with; give more rows."
        )
    if drawn < _FEWEST_DRAWN:
        raise DataError(
            f"{what}: {drawn} drawn row is to be compared with it, expected at least "
            f"{_FEWEST_DRAWN}; draw more."
        )


def _spread(values: Tensor) -> float:
    """Standard deviation of the values that are known, 0 where they are the same or none."""
    known = values[values.isfinite()]
    return float(known.std()) if len(known) > 1 and bool((known != known[0]).any()) else 0.0


def _margin(column: Column, drawn: Tensor, data: Tensor) -> dict[str, Any]:
    chance = math.sqrt(1.0 / len(drawn) + 1.0 / len(data))
    if column.coded:
        codes = torch.arange(len(column.labels), dtype=data.dtype)
        shares = [(values[:, None] == codes).double().mean(0) for values in (drawn, data)]
        apart = float(0.5 * (shares[0] - shares[1]).abs().sum())
        return {"kind": "shares", "distance": apart, "chance": _by_chance(shares[1], drawn, data)}
    a, b = (values[~values.isnan()].sort().values for values in (drawn, data))
    if not len(a) or not len(b):
        return {"kind": "numbers", "distance": 1.0, "chance": 1.36 * chance}
    places = torch.cat((a, b))
    below = [torch.searchsorted(x, places, right=True) / len(x) for x in (a, b)]
    distance = float((below[0] - below[1]).abs().max())
    return {"kind": "numbers", "distance": distance, "chance": 1.36 * chance}


def _by_chance(share: Tensor, *rows: Tensor) -> float:
    """What 95 of 100 pairs of samples of such sizes stay below if both have the same shares."""
    if not bool(share.sum() > 0):
        return 1.0
    generator = torch.Generator().manual_seed(0)
    spread = [
        torch.randn(_TRIALS, len(share), generator=generator, dtype=share.dtype)
        * (share * (1.0 - share) / len(x)).sqrt()
        for x in rows
    ]
    return float((0.5 * (spread[0] - spread[1]).abs().sum(-1)).quantile(0.95))


def _as_numbers(
    columns: Sequence[Column], used: Sequence[int], rows: Tensor, scale: Tensor
) -> tuple[list[str], Tensor]:
    """Columns as numbers of the same size: standardized, labels as ones and zeros.

    Two labels that differ are as far apart as numbers two standard deviations apart.
    """
    names, parts = [], []
    for i in used:
        column = columns[i]
        if column.coded:
            codes = torch.arange(len(column.labels), dtype=rows.dtype)
            names += [f"{column.name}={label}" for label in column.labels]
            parts.append(math.sqrt(2.0) * (rows[:, i, None] == codes).to(rows))
            continue
        known = scale[:, i][scale[:, i].isfinite()]
        names.append(column.name)
        parts.append(((rows[:, i, None] - known.mean()) / known.std()).nan_to_num(0.0, 0.0, 0.0))
    return names, torch.cat(parts, -1) if parts else rows[:, :0]


def _correlations(names: Sequence[str], drawn: Tensor, data: Tensor) -> dict[str, Any]:
    # what is the same in all rows has no correlations; rounding would make some up
    vary = (drawn.amax(0) > drawn.amin(0)) & (data.amax(0) > data.amin(0))
    used = vary.nonzero()[:, 0].tolist()
    if len(used) < 2:
        return {}
    names = [names[i] for i in used]
    apart = (torch.corrcoef(drawn[:, used].T) - torch.corrcoef(data[:, used].T)).abs()
    pairs = torch.triu_indices(len(names), len(names), 1)
    each = apart[pairs[0], pairs[1]]
    most = int(each.argmax())
    return {
        "mean": float(each.mean()),
        "largest": float(each[most]),
        "between": [names[int(pairs[0][most])], names[int(pairs[1][most])]],
    }


def _distances(drawn: Tensor, data: Tensor) -> dict[str, float]:
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    half = len(data) // 2
    known, others = data[order[:half][:_AMONG]], data[order[half:][:_COMPARED]]
    from_drawn, from_data = _nearest(drawn[:_COMPARED], known), _nearest(others, known)
    near = from_data.quantile(_NEAR)
    spread = math.sqrt(_NEAR * (1.0 / len(from_drawn) + 1.0 / len(from_data)))
    return {
        "drawn": float(from_drawn.median()),
        "data": float(from_data.median()),
        "near": float((from_drawn < near).double().mean()),
        "near_by_chance": 3.0 * _NEAR + 4.0 * spread,
        "copies": float((_nearest(drawn[:_COMPARED], data[:_AMONG]) == 0.0).double().mean()),
        "repeats": float((from_data == 0.0).double().mean()),
    }


def _nearest(rows: Tensor, known: Tensor) -> Tensor:
    """Distance of each row to the nearest of those known."""
    # not by matrix products, whose rounding hides that two rows are equal
    apart = [
        torch.cdist(part, known, compute_mode="donot_use_mm_for_euclid_dist").amin(-1)
        for part in torch.split(rows, 256)
    ]
    return torch.cat(apart)
