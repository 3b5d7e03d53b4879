"""Options that several commands share, and how ``KEY=VALUE`` and ``a,b`` are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.guard import usage_error

__all__ = [
    "DebugOption",
    "JsonOption",
    "ModelArgument",
    "SeedOption",
    "names_of",
    "pairs_of",
    "refuse_overwriting",
]

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model file that `fit` saved.", show_default=False)
]
DebugOption = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", show_default=False)
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", help="Report as one JSON object on standard output.", show_default=False
    ),
]
SeedOption = Annotated[
    int, typer.Option(min=0, help="Seed: the same one gives the same result.", metavar="N")
]


def names_of(text: str | None) -> list[str] | None:
    """The names in ``a,b,c``; None stays None.

    Raises:
        ArgumentError: a name is empty.

    Example:
        >>> names_of("pt1, eta1")
        ['pt1', 'eta1']
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise usage_error(f"{text!r} has an empty name; write names with commas between: a,b,c.")
    return names


def pairs_of(option: str, texts: Sequence[str]) -> dict[str, str]:
    """The pairs of a repeated ``KEY=VALUE`` option.

    Raises:
        ArgumentError: no ``=``, no key, or one key twice.

    Example:
        >>> pairs_of("--set", ["layers=4", "hidden=64,64"])
        {'layers': '4', 'hidden': '64,64'}
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key or not value.strip():
            raise usage_error(
                f"{option} {text!r} is not of the form KEY=VALUE; write {option} a=1."
            )
        if key in pairs:
            raise usage_error(f"{option} gives {key!r} twice; give it once.")
        pairs[key] = value.strip()
    return pairs


def refuse_overwriting(out: Path | None, *inputs: str | Path) -> None:
    """Refuse an output that is one of the inputs: a slip of the hand that would cost them.

    Raises:
        ArgumentError: ``out`` is one of ``inputs``.
    """
    if out is None or not out.exists():
        return
    for path in map(Path, inputs):
        if path.exists() and out.samefile(path):
            raise usage_error(f"--out {out} is also what is read; give it another name.")
