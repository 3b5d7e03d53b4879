"""The command and its sub-commands."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from pushforward import __version__
from pushforward.cli.bench import bench
from pushforward.cli.demo import demo
from pushforward.cli.fit import fit
from pushforward.cli.flows import flows
from pushforward.cli.guard import guarded
from pushforward.cli.info import info
from pushforward.cli.sample import sample
from pushforward.cli.score import score

__all__ = ["app", "main"]

# \b keeps the lines of the block below it as they are.
_ABOUT = """Learn the exact probability density of a table; score rows, draw new ones.

Begin with `pushforward demo`, or with a table of your own:

\b
  pushforward fit events.csv --out model.safetensors
  pushforward score model.safetensors events.csv --out scored.csv
  pushforward sample model.safetensors -n 1000 --out new.csv

A table is a .csv, .tsv, .parquet, .feather, .arrow, .npy or .npz file, a folder
or a quoted glob of them.
"""

app = typer.Typer(
    name="pushforward",
    add_completion=False,
    no_args_is_help=True,
    # Plain help: Rich would double the time that --help takes.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit status: 0 done; 1 a problem with the data, the model file or the machine; "
        "2 wrong usage; 130 interrupted."
    ),
)
for command in (fit, score, sample, info, flows, demo, bench):
    app.command(name=command.__name__)(guarded(command))


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pushforward {__version__}")
        raise typer.Exit


@app.callback(help=_ABOUT)
def about(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """Carry the options of the command itself."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit; the entry point of the package.

    Args:
        arguments: what would follow ``pushforward`` in a shell; by default what does.
    """
    # Before PyTorch is loaded: threads that wait shall sleep. Spinning, as by default, makes two
    # threads ten times slower than one wherever something else runs on the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app(None if arguments is None else list(arguments), prog_name="pushforward")
