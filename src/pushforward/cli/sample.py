"""``pushforward sample``: new rows from a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.guard import usage_error
from pushforward.cli.options import (
    DebugOption,
    JsonOption,
    ModelArgument,
    SeedOption,
    pairs_of,
    refuse_overwriting,
)

__all__ = ["sample"]


def sample(
    model: ModelArgument,
    rows: Annotated[
        int, typer.Option("-n", "--rows", min=1, metavar="N", help="How many rows to draw.")
    ] = 1000,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the rows go: .csv, .parquet … by its ending; replaces a file that is "
            "there. Without it: CSV on standard output.",
            show_default=False,
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COL=VALUE",
            help="Value of a column: of each --context column of the model, and of others.",
            show_default=False,
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="A table to compare the drawn rows with: margins, correlations, and whether they "
            "are copies of its rows.",
            show_default=False,
        ),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Draw new rows: a table with the columns that the model learned."""
    from pushforward.cli.likeness import print_likeness
    from pushforward.cli.models import load_table
    from pushforward.cli.screen import console, count, print_json
    from pushforward.data.writers import as_polars, check_output, write_table

    values = pairs_of("--given", given or [])
    if as_json and out is None:
        raise usage_error("--json reports on standard output, so the rows need --out FILE.")
    refuse_overwriting(out, model)
    if out is not None:
        check_output(out, what="--out")
    table = load_table(model, "sample")
    lacking = [name for name in table.schema.context if name not in values]
    if lacking:
        needed = " ".join(f"--given {name}=VALUE" for name in lacking)
        raise usage_error(f"the density of this model is conditional: add {needed}.")
    frame = as_polars(table.sample(rows, given=values or None, seed=seed))
    facts: dict[str, Any] = {
        "out": None if out is None else str(out),
        "rows": rows,
        "columns": frame.columns,
    }
    facts |= {"seed": seed, "notes": table.notes}
    if out is None:
        sys.stdout.write(frame.write_csv())
    else:
        write_table(frame, out, what="--out")
    if like is not None:
        facts["like"] = table.likeness(frame, like)
    if as_json:
        print_json(facts)
        return
    screen = console(words_aside=out is None)
    for note in facts["notes"]:
        screen.print(f"Note: {note}", markup=False)
    if out is not None:
        screen.print(
            f"{count(rows, 'row')} of {count(len(frame.columns), 'column')} drawn (seed {seed}) "
            f"and written to {out}.",
            markup=False,
        )
    if like is not None:
        print_likeness(screen, facts["like"], like)
