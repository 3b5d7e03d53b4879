"""Which columns make the least likely rows unlikely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars
    from rich.console import Console

    from pushforward.tables import TableFlow

__all__ = ["explained", "print_explained"]

_FLAGGED = 0.99  # outlier score from which rows are explained
_MOST = 50  # rows; each takes some thousand densities
_SHOWN = 5
_LEAST = 1.0  # nats below which a column is nothing to speak of
_COLUMN = "unlikely_because"


def explained(
    table: TableFlow, frame: polars.DataFrame, unseen: str
) -> tuple[polars.DataFrame, list[dict[str, Any]]]:
    """The scored table with a column of reasons, and these reasons row by row.

    Of the least likely rows, up to fifty: those less likely than 99 of 100 training rows, and in
    any case five.

    Args:
        table: the model.
        frame: the scored table.
        unseen: what becomes of labels that no training row had.
    """
    import polars

    order = frame["log_density"].arg_sort(nulls_last=True).to_list()
    flagged = int((frame["outlier_score"] >= _FLAGGED).sum())
    scored = int(frame["log_density"].is_not_null().sum())
    rows = order[: min(max(flagged, _SHOWN), _MOST, scored)]
    reasons: list[str | None] = [None] * frame.height
    facts = []
    found = table.explain(frame[rows], unseen=unseen) if rows else []
    for row, each in zip(rows, found, strict=True):
        strange = [one for one in each if one.nats >= _LEAST or one.why]
        reasons[row] = "; ".join(map(str, strange)) or "no single column"
        facts.append({"row": row + 1, "columns": [one._asdict() for one in each]})
    kept = frame.drop(_COLUMN, strict=False)
    return kept.with_columns(polars.Series(_COLUMN, reasons, dtype=polars.String)), facts


def print_explained(screen: Console, facts: list[dict[str, Any]]) -> None:
    """Reasons of the first few rows."""
    from pushforward.cli.report import print_indented
    from pushforward.tables.partial.explain import Surprise

    if not facts:
        return
    screen.print("\nWhy they are unlikely, each column given the others:")
    for one in facts[:_SHOWN]:
        strange = [c for c in one["columns"] if c["nats"] >= _LEAST or c["why"]][:3]
        words = "; ".join(
            f"{column['column']} is {column['value']}, {column['expected']} was to be expected "
            f"({Surprise(**column).size})"
            for column in strange
        )
        told = words or "no single column, but all of them together"
        print_indented(screen, f"row {one['row']:,}: {told}")
