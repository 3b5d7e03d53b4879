"""``pushforward flows``: the recipes, and which to choose."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pushforward.cli.options import DebugOption, JsonOption
from pushforward.cli.settings import arguments_of, text_of

if TYPE_CHECKING:
    from pushforward.flows.recipes.registry import Recipe

__all__ = ["flows"]


def flows(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="One recipe: say its arguments.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the flows: paper, cost, when to choose which.

    With a NAME, what --set takes for it.
    """
    from pushforward.cli.screen import print_json
    from pushforward.flows import RECIPES, find

    chosen = sorted(RECIPES.values(), key=lambda one: (one.year, one.name))
    if name is not None:
        chosen = [find(name)]
    if as_json:
        print_json(
            [
                {
                    "name": one.name,
                    "paper": one.paper,
                    "year": one.year,
                    "density": one.density,
                    "sampling": one.sampling,
                    "choose": one.choose,
                    "arguments": _arguments(one.build),
                }
                for one in chosen
            ]
        )
    elif name is None:
        _print_all(chosen)
    else:
        _print_one(chosen[0])


def _arguments(build: Callable[..., Any]) -> dict[str, str]:
    return {name: text_of(default) for name, default in arguments_of(build).items()}


def _print_all(recipes: Sequence[Recipe]) -> None:
    from pushforward.cli.screen import console, table

    screen = console()
    # Two tables, since one with all the columns would not fit a terminal of 80.
    screen.print(
        table([("flow", "left"), ("choose it for", "left")], ((r.name, r.choose) for r in recipes))
    )
    screen.print("")
    screen.print(
        table(
            [
                ("flow", "left"),
                ("arXiv", "left"),
                ("year", "right"),
                ("density", "left"),
                ("sampling", "left"),
            ],
            ((r.name, r.paper, str(r.year), r.density, r.sampling) for r in recipes),
        )
    )
    screen.print(
        "\nDensity, sampling: network calls a layer; in steps: one call, feature by feature.\n"
        "A root takes about ten evaluations of a map. Where a flow takes it,\n"
        "--set direction=sampling exchanges the two.\n"
        "fit --flow auto, the default, chooses from rows and columns.\n"
        "What --set takes: pushforward flows NAME"
    )


def _print_one(recipe: Recipe) -> None:
    from pushforward.cli.screen import console, table

    screen, meanings = console(), _meanings(recipe.build)
    screen.print(
        f"[bold]{recipe.name}[/bold] – {recipe.choose}\n"
        f"arXiv:{recipe.paper} ({recipe.year})\n"
        f"density: {recipe.density}; sampling: {recipe.sampling} (network calls a layer)\n"
    )
    screen.print(
        table(
            [("--set", "left"), ("default", "left"), ("what it is", "left")],
            ((key, text, meanings.get(key, "")) for key, text in _arguments(recipe.build).items()),
        )
    )
    screen.print(f"\nFor example: pushforward fit DATA --flow {recipe.name}{_example(recipe)}")


def _meanings(build: Callable[..., Any]) -> dict[str, str]:
    """What the docstring says of each argument, in a line."""
    listed = (inspect.getdoc(build) or "").partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE)
    return {name: " ".join(text.replace("``", "").split()) for name, text in entries}


def _example(recipe: Recipe) -> str:
    """The first two arguments with their defaults, as they are typed."""
    given = [
        (name, text)
        for name, text in _arguments(recipe.build).items()
        if text != "-" and name not in recipe.of_context
    ]
    return "".join(f" --set {key}={value}" for key, value in given[:2])
