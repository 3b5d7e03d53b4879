"""``pushforward sample``: new rows from a model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
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
    from pushforward.tables.likeness import refuse_few

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
    if like is not None:
        refuse_few(rows, *_size_of(like))
    frame = as_polars(table.sample(rows, given=values or None, seed=seed))
    facts: dict[str, Any] = {
        "out": None if out is None else str(out),
        "rows": rows,
        "columns": frame.columns,
    }
    facts |= {"seed": seed, "notes": table.notes}
    if like is not None:  # before rows are written, for the table may not fit
        facts["like"] = table.likeness(frame, like)
        facts["notes"] = [*table.notes, *_about_given(values, like)]
    if out is None:
        sys.stdout.write(frame.write_csv())
    else:
        write_table(frame, out, what="--out")
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


def _size_of(data: str) -> tuple[int, str]:
    """How many rows a table has, and what messages call it."""
    from pushforward.data.readers import open_table

    table = open_table(data)
    return table.rows, table.title


def _about_given(values: Mapping[str, str], data: str) -> list[str]:
    """That rows drawn under a condition stand beside rows that are under none."""
    if not values:
        return []
    told = " and ".join(f"{name} = {value}" for name, value in values.items())
    return [
        f"the drawn rows are those given {told}, and they are compared with all rows of {data}, "
        f"whatever these hold: differences may come from that alone."
    ]
