"""``pushforward fit``: learn the density of a table and save it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pushforward.cli.guard import usage_error
from pushforward.cli.options import (
    DebugOption,
    JsonOption,
    SeedOption,
    names_of,
    pairs_of,
    refuse_overwriting,
)

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["fit"]


def fit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A .csv, .tsv, .parquet, .feather, .arrow, .npy or .npz file, a folder or a "
            "quoted glob of them.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Where the model goes; replaces a file that is there. Default: DATA's name with "
            ".safetensors, in the current folder.",
            show_default=False,
        ),
    ] = None,
    flow: Annotated[
        str, typer.Option(metavar="NAME", help="The flow: `auto`, or one that `flows` lists.")
    ] = "auto",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="An argument of the flow, such as layers=4 or hidden=64,64; may be repeated.",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="COL,…", help="Columns to learn. Default: all others.", show_default=False
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            metavar="COL,…",
            help="Columns that the density is conditioned on.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Column of row weights.", show_default=False),
    ] = None,
    signed_weights: Annotated[
        bool,
        typer.Option("--signed-weights", help="Weights may be negative.", show_default=False),
    ] = False,
    missing: Annotated[
        str,
        typer.Option(
            metavar="refuse|drop|model",
            help="Missing values: refuse them, drop their rows, or model that they are missing.",
        ),
    ] = "refuse",
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="COL=TYPE",
            help="What a column is, where it does not look like it: real, positive, "
            "interval:0,100, circular:360, integer, ordinal, categorical, boolean, date; may be "
            "repeated.",
            show_default=False,
        ),
    ] = None,
    older: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Go on from a model, with its columns and flow, and say how far the data have "
            "drifted from those it was fitted to.",
            show_default=False,
        ),
    ] = None,
    seed: SeedOption = 0,
    epochs: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Passes over the rows. Default: by size of the table.",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Rows a step. Default: by size of the table.",
            show_default=False,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Peak learning rate. Default: by size of the table.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="`auto`, `cpu`, `cuda`, `cuda:1` …")
    ] = "auto",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Save the run there every so often and on Ctrl-C.",
            show_default=False,
        ),
    ] = None,
    checkpoint_every: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time between two saves of the run.")
    ] = 30.0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on where the run in --checkpoint DIR stopped.", show_default=False
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, no report.", show_default=False)
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Learn the density of a table and save it as a model file.

    The flow is chosen from the numbers of rows and columns, a tenth of the rows is
    held out, and the best weights on those are kept.
    """
    from pushforward.cli.models import check_model_path, default_model_path
    from pushforward.cli.run import Job, fit_and_report
    from pushforward.cli.screen import console, print_json

    out = default_model_path(data) if out is None else out
    if resume and checkpoint is None:
        raise usage_error("--resume needs --checkpoint DIR, the folder of the run to go on with.")
    if missing not in ("refuse", "drop", "model"):
        raise usage_error(f"--missing {missing}: expected refuse, drop or model.")
    numbers = {"--epochs": epochs, "--lr": lr, "--checkpoint-every": checkpoint_every}
    for option, number in numbers.items():
        if number is not None and not 0 < number < float("inf"):
            raise usage_error(f"{option} {number:g}: expected a number above 0.")
    if older is not None:
        kept = {
            "--flow": flow != "auto",
            "--set": settings,
            "--columns": columns,
            "--context": context,
            "--weights": weights,
            "--type": types,
            "--missing": missing != "refuse",
            "--signed-weights": signed_weights,
        }
        for option, given in kept.items():
            if given:
                raise usage_error(f"{option} is what the model of --from says; leave it out.")
    refuse_overwriting(out, data)
    job = Job(
        data=data,
        out=out,
        flow=flow,
        pairs=pairs_of("--set", settings or []),
        seed=seed,
        older=older,
        quiet=quiet or as_json,
        table_options={
            "columns": names_of(columns),
            "context": names_of(context) or (),
            "weights": weights,
            "signed_weights": signed_weights,
            "missing": missing,
            "types": pairs_of("--type", types or []),
        },
        fit_options={
            "epochs": epochs,
            "batch_size": batch_size,
            "lr": lr,
            "device": device,
            "checkpoint": checkpoint,
            "checkpoint_every": checkpoint_every,
            "resume": resume,
        },
    )
    check_model_path(out)
    screen = console(words_aside=as_json)
    _, facts = fit_and_report(job, screen)
    if as_json:
        print_json(facts)
    elif not quiet:
        _print_next(screen, data, out, names_of(context) or [])


def _print_next(screen: Console, data: str, out: Path, context: list[str]) -> None:
    given = "".join(f" --given {name}=VALUE" for name in context)
    quoted, model = shlex.quote(data), shlex.quote(str(out))
    screen.print(
        "\nNext:\n"
        f"  pushforward score {model} {quoted} --out scored.csv\n"
        f"  pushforward sample {model} -n 1000{given} --out new.csv",
        markup=False,
        soft_wrap=True,
    )
