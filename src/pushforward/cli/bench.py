"""``pushforward bench``: how fast the flows are on this machine."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pushforward.cli.guard import usage_error
from pushforward.cli.options import DebugOption, JsonOption

if TYPE_CHECKING:
    from rich.console import Console

    from pushforward.training.speed import Row

__all__ = ["bench"]

REPEATS, QUICK_REPEATS = 20, 5
_LINE = "{:<24}{:>12}{:>26}{:>14}"


def bench(
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--row", metavar="NAME", help="Measure this one; may be repeated.", show_default=False
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Threads. Default: PyTorch's choice.", show_default=False
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Repetitions. Default: 20, or 5.", show_default=False
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Short rows and 5 repetitions: seconds.", show_default=False),
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure how fast flows train, score and sample here.

    Medians in milliseconds, on random rows and float32: flows of 6 layers, each with
    a network of two hidden layers of 128; splines of 8 bins. Without --quick it takes
    some minutes.
    """
    import torch

    from pushforward.cli.screen import console, print_json
    from pushforward.errors import ArgumentError
    from pushforward.training.speed import ROWS, find_row

    try:
        chosen = [find_row(name) for name in rows or []]
    except ArgumentError as error:
        raise usage_error(f"--row: {str(error).partition(': ')[2]}") from None
    if not chosen:
        chosen = [row for row in ROWS if row.quick or not quick]
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    screen = console(words_aside=as_json)
    facts = _facts()
    try:
        if not as_json:
            _print_head(screen, facts)
        facts["rows"] = _measure(
            screen, chosen, repeats or (QUICK_REPEATS if quick else REPEATS), as_json
        )
    finally:
        torch.set_num_threads(before)
    if as_json:
        print_json(facts)


def kernels() -> str:
    """Whether the compiled inner loops take part, in words.

    Example:
        >>> isinstance(kernels(), str)
        True
    """
    from pushforward import kernels as room

    return f"compiled, {room.target()}" if room.available() else f"absent: {room.reason()}"


def _facts() -> dict[str, Any]:
    import torch

    from pushforward import __version__

    return {
        "version": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "kernels": kernels(),
    }


def _measure(
    screen: Console, chosen: Sequence[Row], repeats: int, silent: bool
) -> list[dict[str, Any]]:
    """Measure row after row, and show each when it is done."""
    from pushforward.training.speed import Subject, interleave

    measured: list[dict[str, Any]] = []
    for row in chosen:
        subjects = row.subjects()
        calls = {name: one.call for name, one in subjects.items() if isinstance(one, Subject)}
        took = interleave(calls, repeats)
        lines = []
        for name, one in subjects.items():
            line: dict[str, Any] = {"row": row.name, "title": row.title, "subject": name}
            if isinstance(one, Subject):
                line |= vars(took[name]) | {"parameters": one.parameters, "note": one.note}
            else:
                line |= {"median": None, "note": one.reason}
            lines.append(line)
        measured += lines
        if not silent:
            _print_row(screen, lines)
    return measured


def _print_head(screen: Console, facts: dict[str, Any]) -> None:
    screen.print(
        f"pushforward {facts['version']}, torch {facts['torch']}, {facts['threads']} threads\n"
        f"kernels: {facts['kernels']}\n",
        markup=False,
    )
    screen.print(_LINE.format("milliseconds", "median", "least – most", "parameters"))


def _print_row(screen: Console, lines: Sequence[dict[str, Any]]) -> None:
    screen.print(f"\n{lines[0]['title']}  [{lines[0]['row']}]", markup=False)
    for line in lines:
        name = f"  {line['subject']}"
        if line["median"] is None:
            screen.print(f"{name:<24}{line['note']}", markup=False)
            continue
        reach = f"{line['least']:,.2f} – {line['most']:,.2f}"
        if line["repeats"] == 1:
            reach = "once"
        cells = (name, f"{line['median']:,.2f}", reach, f"{line['parameters']:,}")
        screen.print(_LINE.format(*cells), markup=False)
