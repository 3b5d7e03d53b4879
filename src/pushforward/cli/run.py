"""Fitting a table and telling of it: what `fit` and `demo` share."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pushforward.cli.guard import INTERRUPTED

if TYPE_CHECKING:
    from rich.console import Console

    from pushforward.flows import Flow
    from pushforward.tables import Schema, TableFlow

__all__ = ["Job", "fit_and_report"]


@dataclass(frozen=True)
class Job:
    """What is to be fitted.

    Attributes:
        data: the table.
        out: the model file.
        flow: a recipe's name or ``auto``.
        pairs: ``--set``, as texts.
        seed: of weights, split and order.
        older: the model file to go on from, or None.
        label: what the table is called; by default its path.
        quiet: whether to show neither progress nor report.
        table_options: which columns, as ``TableFlow.fit`` takes them.
        fit_options: how to train, as ``pf.fit`` takes them; None where it shall choose.
    """

    data: str
    out: Path
    flow: str = "auto"
    pairs: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    older: Path | None = None
    label: str = ""
    quiet: bool = False
    table_options: Mapping[str, Any] = field(default_factory=dict)
    fit_options: Mapping[str, Any] = field(default_factory=dict)


def fit_and_report(job: Job, screen: Console) -> tuple[TableFlow, dict[str, Any]]:
    """Fit a table flow, save it, and say what was read, chosen and reached.

    Args:
        job: what is to be fitted.
        screen: where words go.

    Returns:
        The table flow and the figures, for ``--json``.

    Raises:
        typer.Exit: the run was interrupted; its checkpoint is kept and no model was saved.
    """
    import pushforward as pf
    from pushforward.cli.report import (
        facts_of,
        print_choice,
        print_result,
        print_schema,
        print_source,
    )
    from pushforward.training import Checkpoints

    table = _table(job)
    training = {key: value for key, value in job.fit_options.items() if value is not None}
    every = training.pop("checkpoint_every", None)
    if "checkpoint" in training and every is not None:
        training["checkpoint"] = Checkpoints(training["checkpoint"], seconds=every)

    def announce(schema: Schema, choice: Mapping[str, Any], flow: Flow) -> None:
        print_source(screen, job.label or job.data, schema)
        print_schema(screen, schema)
        print_choice(screen, choice, flow)

    options = {**training, "progress": not job.quiet, "ready": None if job.quiet else announce}
    if job.older is None:
        table.fit(job.data, **job.table_options, **options)
    else:
        table.update(job.data, **options)
    if table.history.stopped == "interrupted":
        _say_how_to_go_on()
        raise typer.Exit(INTERRUPTED)
    replaced = job.out.exists()
    pf.save(table, job.out)
    facts = {"data": job.data, "model": str(job.out), "replaced": replaced, **facts_of(table)}
    if not job.quiet:
        print_result(screen, facts, table.history)
    return table, facts


def _table(job: Job) -> TableFlow:
    """The table to be fitted, or the one to go on from."""
    import pushforward as pf
    from pushforward.cli.models import load_table
    from pushforward.cli.settings import settings_of

    if job.older is not None:
        return load_table(job.older, "go on from")
    settings = {}
    if job.pairs or job.flow != "auto":
        recipe = pf.flows.find("nsf" if job.flow == "auto" else job.flow)
        settings = settings_of(recipe.name, recipe.build, job.pairs)
    return pf.TableFlow(job.flow, settings=settings, seed=job.seed)


def _say_how_to_go_on() -> None:
    words = ["pushforward", *sys.argv[1:]]
    again = shlex.join(words if "--resume" in words else [*words, "--resume"])
    typer.echo(
        f"Interrupted: the checkpoint is kept, no model was saved. To go on:\n  {again}", err=True
    )
