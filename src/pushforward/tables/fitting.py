"""Training a flow on the rows of a table, and what is measured of it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pushforward.errors import ArgumentError, DataError
from pushforward.flows import Flow
from pushforward.numerics.subset import some_of
from pushforward.tables.choice import Choice, likelihood
from pushforward.tables.gaussian import reference
from pushforward.tables.rows import (
    Rows,
    counting,
    mean_and_error,
    refuse_constant,
    scoring_noise,
    share_above,
    split,
    varied,
)
from pushforward.tables.schema.matrix import layouts, load_matrix
from pushforward.training import History
from pushforward.training import fit as fit_flow

if TYPE_CHECKING:
    from pushforward.data.table_source import TableSource
    from pushforward.tables.schema.column import Column
    from pushforward.tables.schema.schema import Schema
    from pushforward.tables.scoring import Scorer

__all__ = ["QUANTILES", "drift", "measure", "read", "train", "with_range_of"]

QUANTILES = 4001  # of the training rows' log-densities
_LEAST = 2  # rows: one is held out, and one learned from
_SCORED = 100_000  # training rows that are scored for them, at most


def read(
    table: TableSource, schema: Schema, validation: float, seed: int, options: Mapping[str, Any]
) -> tuple[Rows, Rows, int]:
    """Rows of the flow to learn from, rows held out, and how many rows could be read.

    Raises:
        ArgumentError: ``validation`` is no share.
        DataError: a column cannot be learned from these rows.
    """
    if not 0.0 < validation < 1.0:
        raise ArgumentError(
            f"TableFlow.fit: validation is {validation}, expected a share between 0 and 1."
        )
    dtype = torch.float64 if options.get("precision") == "float64" else torch.float32
    complete = Rows(*load_matrix(table, schema, dtype=dtype))
    rows = counting(complete)
    if len(rows.x) < _LEAST:
        counted = "there is 1 row" if len(rows.x) == 1 else f"there are {len(rows.x)} rows"
        raise DataError(
            f"{table.title}: {counted} that can be learned from, expected at least {_LEAST}; give "
            f"more rows."
        )
    learned, held = split(len(rows.x), validation, seed)
    features = layouts(schema)[0]
    learned, held = varied(rows.x, learned, held)
    refuse_constant(
        rows.x[learned][:, features.head :], features.names[features.head :], table.title
    )
    if len(learned) == len(rows.x):
        warnings.warn(
            f"{table.title}: none of its {len(rows.x)} rows can be spared to be held out: the "
            f"held-out figures are of one that is learned from; give more rows.",
            UserWarning,
            stacklevel=3,
        )
    return rows.take(learned), rows.take(held), len(complete.x)


def with_range_of(schema: Schema, rows: Rows, held: Rows) -> Schema:
    """The schema with what rows say of its columns that a model goes on to learn from.

    Ends of what was seen move apart, and never together: the model still knows the rows of before.
    """
    parts = []
    for layout, old, new in zip(layouts(schema), rows[:2], held[:2], strict=True):
        if layout is not None and old is not None and new is not None:
            parts.append(layout.numbers(torch.cat((old, new)).double()))
    seen = torch.cat(parts, 1).unbind(1)
    columns = [_with_range(c, values) for c, values in zip(schema.columns, seen, strict=True)]
    return replace(schema, columns=tuple(columns))


def _with_range(column: Column, values: Tensor) -> Column:
    there = values[values.isfinite()]
    if column.type == "constant" or not len(there):
        return column
    if column.labels:
        counts = torch.bincount(there.long(), minlength=len(column.labels))
        return replace(column, shares=tuple((counts / counts.sum()).tolist()))
    if column.low is None or column.high is None:
        return column
    spread = float(there.std()) if len(there) > 1 else column.std
    return replace(
        column,
        low=min(column.low, float(there.min())),
        high=max(column.high, float(there.max())),
        mean=float(there.mean()),
        std=spread,
    )


def train(
    flow: Flow,
    choice: Choice,
    schema: Schema,
    rows: Rows,
    held: Rows,
    **options: Any,
) -> History:
    """Train the flow on rows.

    Args:
        flow: what is trained, in place.
        choice: how.
        schema: the columns.
        rows: to learn from.
        held: held out.
        **options: arguments of ``pf.fit``; they come before what was chosen.
    """
    if not flow.context:  # of context columns that are the same in all rows nothing is seen
        rows, held = rows._replace(context=None), held._replace(context=None)
    return fit_flow(
        flow,
        rows.x,
        context=rows.context,
        weights=rows.weights,
        validation=tuple(held),
        **{"objective": likelihood(choice, layouts(schema)[0]), **choice.training, **options},
    )


def measure(scorer: Scorer, rows: Rows, held: Rows, began: float) -> tuple[Tensor, dict[str, Any]]:
    """Quantiles of the training rows' log-densities, and the figures of a report.

    The held-out figure stands beside that of a simple model of the same columns.
    """
    noise = scoring_noise()
    log_p = scorer.log_prob(held.x, held.context, noise)
    simple, simple_log_p = reference(scorer.features, rows, held)
    nats, error = mean_and_error(log_p, held.weights)
    simple_nats, simple_error = mean_and_error(simple_log_p, held.weights)
    some = rows.take(some_of(len(rows.x), _SCORED))
    ordered = scorer.log_prob(some.x, some.context, noise).sort().values
    place = torch.linspace(0, len(ordered) - 1, QUANTILES, dtype=torch.float64).round()
    return ordered[place.long()], {
        "rows_read": scorer.schema.rows_read,
        "rows_dropped": scorer.schema.rows_dropped,
        "training_rows": len(rows.x),
        "held_out_rows": len(held.x),
        "nats": nats,
        "nats_error": error,
        "reference": simple,
        "reference_nats": simple_nats,
        "reference_nats_error": simple_error,
        "seconds": time.perf_counter() - began,
    }


def drift(scorer: Scorer, known: Tensor, before: Mapping[str, Any], held: Rows) -> dict[str, float]:
    """How far new rows are from those that a model was fitted to.

    Args:
        scorer: of the model as it was.
        known: quantiles of the log-densities of the rows that it was fitted to.
        before: the report of that time.
        held: new rows.

    Returns:
        ``nats_before`` of the rows held out then, and ``nats`` of the new ones under the same
        model, with ``nats_error``: what they differ by is lost to drift; ``outlier_score``, on
        average: 0.5 where nothing has changed; ``beyond``: the share of the new rows that are less
        likely than 99 of 100 were.
    """
    log_p = scorer.log_prob(held.x, held.context)
    nats, error = mean_and_error(log_p, held.weights)
    score = torch.from_numpy(share_above(known.numpy(), log_p.numpy()))
    return {
        "nats_before": before["nats"],
        "nats_before_error": before["nats_error"],
        "nats": nats,
        "nats_error": error,
        "outlier_score": float(score.mean()),
        "beyond": float((score > 0.99).double().mean()),
    }
