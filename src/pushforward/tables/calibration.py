"""Whether a model's probabilities are right: ranks of held-out rows among draws of the model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pushforward.tables.schema.cells import UNSEEN
from pushforward.tables.scoring import Scorer

if TYPE_CHECKING:
    from pushforward.tables.schema.column import Column

__all__ = ["LEVELS", "calibration"]

LEVELS = (0.5, 0.8, 0.9, 0.95)
_BINS = 10
_DRAWS = 10_000
_DRAWS_EACH = 200  # for each row, where rows have contexts of their own
_ROWS = 2_000  # with a context; more would take long and say little more
_PAIRS = 1_000  # draws that the energy score compares with each other


def calibration(scorer: Scorer, numbers: Tensor) -> dict[str, Any]:
    """Compare rows with draws of the model, given their contexts where it reads some.

    Args:
        scorer: flow and layout.
        numbers: of the schema's columns, ``(n, columns)``, of rows that it was not fitted to; a
            label that was never seen counts as the least likely of those that were.

    Returns:
        ``rows``; ``regions``: of each level, the share of the rows that lie in the region of
        highest density with that probability; ``columns``: of each column of numbers its PIT
        (how its values rank among the model's) in ten bins, the distance of that from even ones
        (Kolmogorov), and the shares of the rows within central intervals; ``energy_score``, in
        standard deviations: lower is better.
    """
    generator = torch.Generator().manual_seed(0)
    if scorer.given is not None and len(numbers) > _ROWS:
        numbers = numbers[torch.randperm(len(numbers), generator=generator)[:_ROWS]]
    numbers = _with_known_labels(scorer, numbers)
    x, context = scorer.rows(numbers)
    log_p = scorer.log_prob(x, context)
    width = len(scorer.schema.features)
    if context is None or not scorer.flow.context:
        rows = scorer.flow.sample(_DRAWS, generator=generator)
        drawn = scorer.features.numbers(rows)[:, None]
        of_draws = scorer.log_prob(rows, None)[:, None]
    else:
        rows = scorer.flow.sample(_DRAWS_EACH, context, generator=generator)
        flat = rows.flatten(0, 1)
        drawn = scorer.features.numbers(flat).reshape(*rows.shape[:2], width)
        of_draws = scorer.log_prob(flat, context.repeat(_DRAWS_EACH, 1)).reshape(rows.shape[:2])
    likelier = _rank(of_draws, log_p, generator)
    columns = {}
    for place, column in enumerate(scorer.schema.columns[:width]):
        if column.coded or column.type in ("constant", "circular"):
            continue
        known = ~numbers[:, place].isnan()
        if not bool(known.any()):  # gaps only: nothing ranks
            continue
        each = drawn[..., place]
        each = each if each.shape[1] == 1 else each[:, known]
        columns[column.name] = _of_column(_rank(each, numbers[known, place], generator))
    return {
        "rows": len(numbers),
        # the region of highest density holds the draws that are likelier than its edge
        "regions": {
            f"{level:g}": float((1.0 - likelier <= level).double().mean()) for level in LEVELS
        },
        "columns": columns,
        "energy_score": _energy(drawn, numbers[:, :width], scorer.schema.columns[:width]),
    }


def _with_known_labels(scorer: Scorer, numbers: Tensor) -> Tensor:
    """The rows with the least likely label in the place of each that was never seen."""
    found = numbers.clone()
    for place, column in enumerate(scorer.schema.columns):
        strange = (found[:, place] == UNSEEN) & bool(column.labels)
        if not bool(strange.any()):
            continue
        each = []
        for code in range(len(column.labels)):
            tried = found[strange]
            tried[:, place] = float(code)
            each.append(scorer.of_numbers(tried))
        found[strange, place] = torch.stack(each).argmin(0).double()
    return found


def _rank(draws: Tensor, values: Tensor, generator: torch.Generator) -> Tensor:
    """Share of the draws below each value, a tie counting by chance, ``(rows,)``."""
    if draws.shape[1] == 1:
        ordered = draws[:, 0][~draws[:, 0].isnan()].sort().values
        below, upto = (
            torch.searchsorted(ordered, values.contiguous(), right=right) for right in (False, True)
        )
        count = torch.full_like(values, float(len(ordered)))
    else:
        known = ~draws.isnan()
        count = known.sum(0).clamp_min(1).to(values)
        below = ((draws < values) & known).sum(0)
        upto = ((draws <= values) & known).sum(0)
    chance = torch.rand(values.shape, generator=generator, dtype=torch.float64)
    return (below + chance * (upto - below + 1)) / (count + 1.0)


def _of_column(pit: Tensor) -> dict[str, Any]:
    counts = torch.histc(pit, _BINS, 0.0, 1.0)
    ordered = pit.sort().values
    even = (torch.arange(len(pit), dtype=torch.float64) + 0.5) / len(pit)
    return {
        "pit": (counts / counts.sum()).tolist(),
        "distance": float((ordered - even).abs().max() + 0.5 / len(pit)),
        # 95 % of such distances of a model that is right are below it
        "distance_by_chance": 1.36 / math.sqrt(len(pit)),
        "intervals": {
            f"{a:g}": float(((pit - 0.5).abs() <= a / 2).double().mean()) for a in LEVELS
        },
    }


def _energy(drawn: Tensor, values: Tensor, columns: tuple[Column, ...]) -> float | None:
    """Mean distance of rows and draws, less half that of draws and draws."""
    used = [
        i for i, one in enumerate(columns) if not one.labels and one.std and one.type != "circular"
    ]
    if not used:
        return None
    scale = torch.tensor([columns[i].std for i in used], dtype=torch.float64)
    x, y = drawn[..., used] / scale, values[:, used] / scale
    good = ~y.isnan().any(-1)
    if not bool(good.any()):
        return None
    if x.shape[1] == 1:
        some = x[:_PAIRS, 0]
        some = some[~some.isnan().any(-1)]
        apart = torch.cdist(y[good][: 10 * _PAIRS], some).mean()
        within = torch.cdist(some, some).sum() / (len(some) * (len(some) - 1))
        return float(apart - 0.5 * within)
    x = x[:, good].nan_to_num()
    apart = (x - y[good]).norm(dim=-1).mean()
    half = len(x) // 2
    return float(apart - 0.5 * (x[:half] - x[half : 2 * half]).norm(dim=-1).mean())
