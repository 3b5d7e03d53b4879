"""``pushforward score``: the log-density of every row, and how unusual it is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pushforward.cli.calibration import print_calibration
from pushforward.cli.explain import explained, print_explained
from pushforward.cli.guard import usage_error
from pushforward.cli.options import DebugOption, JsonOption, ModelArgument, refuse_overwriting
from pushforward.cli.outside import print_mean, rows_outside

if TYPE_CHECKING:
    import polars
    from rich.console import Console

    from pushforward.tables import TableFlow

__all__ = ["score"]

_ROWS = 5  # least likely rows that are printed
_SCORES = 39  # characters that their number and scores take
_CELL = 14  # characters of each of their columns


def score(
    model: ModelArgument,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="The table to score.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the scored table goes: .csv, .parquet … by its ending; replaces a file "
            "that is there. Without it: CSV on standard output.",
            show_default=False,
        ),
    ] = None,
    unseen: Annotated[
        str,
        typer.Option(
            metavar="error|lowest",
            help="Labels that no training row had: refuse them, or score such a row as the least "
            "likely label.",
        ),
    ] = "error",
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Say which columns make the least likely rows unlikely, given the others.",
            show_default=False,
        ),
    ] = False,
    calibration: Annotated[
        bool,
        typer.Option(
            "--calibration",
            help="Say whether the model's probabilities are right on this table.",
            show_default=False,
        ),
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Score rows: keep the table, add log_density and outlier_score.

    log_density is in nats, in the units of the data. outlier_score is the share of
    training rows that were likelier: 0.99 and more is rarer than 99 % of them.
    Columns are matched by name. Use --calibration with rows that the model was not
    fitted to.
    """
    from pushforward.cli.models import load_table

    if as_json and out is None:
        raise usage_error("--json reports on standard output, so the table needs --out FILE.")
    if unseen not in ("error", "lowest"):
        raise usage_error(f"--unseen {unseen}: expected error or lowest.")
    refuse_overwriting(out, model, data)
    if out is not None:
        from pushforward.data.writers import check_output

        check_output(out, what="--out")
    table = load_table(model, "score")
    frame = table.score(data, unseen=unseen)
    facts = _facts(frame, out, table)
    facts["outside"] = rows_outside(frame, table.schema)
    if explain:
        frame, facts["explained"] = explained(table, frame, unseen)
    if calibration:
        facts["calibration"] = table.calibration(data, unseen=unseen)
    if out is None:
        sys.stdout.write(frame.write_csv())
    else:
        from pushforward.data.writers import write_table

        write_table(frame, out, what="--out")
    if as_json:
        from pushforward.cli.screen import print_json

        print_json(facts)
    else:
        _print(facts, frame, list(table.schema.names))


def _facts(frame: polars.DataFrame, out: Path | None, table: TableFlow) -> dict[str, Any]:
    from pushforward.cli.report import exactness_of

    scored = frame["log_density"].is_not_null()
    dense = frame["log_density"].filter(frame["log_density"].is_finite())  # not -inf, nor null
    spread = dense.std()
    told = exactness_of(table.flow)
    seeded = f"{told} The noise has a fixed seed: the same table gives the same scores."
    lowest = frame["log_density"].arg_sort(nulls_last=True)[: min(_ROWS, int(scored.sum()))]
    return {
        "out": None if out is None else str(out),
        "rows": frame.height,
        "rows_not_scored": frame.height - int(scored.sum()),
        "exactness": table.flow.exactness,
        "rows_of_density_zero": int(scored.sum()) - len(dense),
        "mean_log_density": dense.mean(),
        # of the rows' spread, and of their noise where there is some
        "mean_log_density_error": None if spread is None else spread / len(dense) ** 0.5,
        "less_likely_than_every_training_row": int((frame["outlier_score"] >= 1).sum()),
        "least_likely": [
            {
                "row": index + 1,
                "log_density": frame["log_density"][index],
                "outlier_score": frame["outlier_score"][index],
            }
            for index in lowest.to_list()
        ],
        "notes": [*table.notes, *([seeded] if told else [])],
    }


def _print(facts: dict[str, Any], frame: polars.DataFrame, columns: list[str]) -> None:
    from pushforward.cli.screen import console, count

    screen = console(words_aside=facts["out"] is None)
    for note in facts["notes"]:
        screen.print(f"Note: {note}", markup=False)
    left = facts["rows_not_scored"]
    if left:
        screen.print(f"{count(left, 'row')} not scored, with missing or infinite values.")
    print_mean(screen, facts)
    if facts["least_likely"]:
        _print_least_likely(screen, facts, frame, columns)
    if "explained" in facts:
        print_explained(screen, facts["explained"])
    if "calibration" in facts:
        print_calibration(screen, facts["calibration"])
    if facts["out"] is not None:
        screen.print(f"Written to {facts['out']}.", markup=False)


def _print_least_likely(
    screen: Console, facts: dict[str, Any], frame: polars.DataFrame, columns: list[str]
) -> None:
    """A few rows with their scores, and as many of their columns as there is room for."""
    from pushforward.cli.screen import figures, table

    shown = columns[: max(1, (screen.width - _SCORES) // _CELL)]
    headings = ["row", "log_density", "outlier_score", *(name[: _CELL - 3] for name in shown)]
    screen.print("\nThe least likely:")
    screen.print(
        table(
            [(heading, "right") for heading in headings],
            (
                (
                    f"{one['row']:,}",
                    f"{one['log_density']:.3f}",
                    f"{one['outlier_score']:.4f}",
                    *(figures(frame[name][one["row"] - 1]) for name in shown),
                )
                for one in facts["least_likely"]
            ),
        )
    )
