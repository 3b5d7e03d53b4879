"""A result is one JSON object that holds everything needed to repeat it."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from machine import describe_commit, describe_machine, describe_versions

FOLDER = Path(__file__).resolve().parent / "results"


class Record:
    """Collects the figures of one run of a benchmark and writes them.

    Args:
        name: of the result; the file is ``NAME.json``.
        options: every option of the command, also those left at their defaults.
    """

    def __init__(self, name: str, options: argparse.Namespace):
        self.name = name
        self._folder = Path(options.results) if options.results else FOLDER
        self._began = time.perf_counter()
        self._figures: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {
            "name": name,
            "date": datetime.date.today().isoformat(),
            **describe_commit(),
            "command": _command(),
            "options": _without_paths(vars(options)),
            "machine": describe_machine(),
            "versions": describe_versions(),
            "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        }

    def note(self, **facts: Any) -> None:
        """Add facts that belong to the whole run."""
        self._facts.update(facts)

    def add(
        self,
        metric: str,
        value: float | None,
        *,
        unit: str,
        standard_error: float | None = None,
        limit: float | None = None,
        at_least: bool = False,
        **facts: Any,
    ) -> bool:
        """Add a figure; returns whether it keeps its limit.

        Smaller is better, or with ``at_least`` larger; None is what could not be measured.
        """
        kept = limit is None or value is None or (value >= limit if at_least else value <= limit)
        self._figures.append(
            {
                "metric": metric,
                "value": value,
                "unit": unit,
                "standard_error": standard_error,
                "limit": limit,
                "at_least": at_least,
                "kept": None if value is None else kept,
                **facts,
            }
        )
        return kept

    @property
    def kept(self) -> bool:
        """Whether every figure so far keeps its limit."""
        return all(figure["kept"] is not False for figure in self._figures)

    def write(self) -> Path:
        """Write what there is so far; a long run writes often, so that nothing is lost."""
        self._folder.mkdir(parents=True, exist_ok=True)
        minutes = round((time.perf_counter() - self._began) / 60, 2)
        path = self._folder / f"{self.name}.json"
        whole = {**self._facts, "minutes": minutes, "figures": self._figures}
        path.write_text(json.dumps(whole, indent=1, allow_nan=False, default=str) + "\n")
        return path


def add_result_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Options that every benchmark has."""
    parser.add_argument("--name", default=name, help="name of the result (default: %(default)s)")
    parser.add_argument(
        "--results", default="", help="folder of the result (default: benchmarks/results)"
    )


def add_data_option(parser: argparse.ArgumentParser, holds: str) -> None:
    """Where the tables are that somebody has to have; `parse_with_data` reads it."""
    parser.add_argument(
        "--data",
        default=os.environ.get("PUSHFORWARD_DATA"),
        help=f"folder with {holds} (default: $PUSHFORWARD_DATA)",
    )


def add_flow_options(parser: argparse.ArgumentParser) -> None:
    """Another flow than the default, for experiments."""
    parser.add_argument("--small", action="store_true", help="cut searches short, to try it out")
    parser.add_argument("--flow", default="auto", help="recipe")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="arguments of the recipe"
    )
    parser.add_argument(
        "--fit", nargs="+", default=[], metavar="KEY=VALUE", help="arguments of pf.fit"
    )


def parse_with_data(
    parser: argparse.ArgumentParser, folders: Sequence[str] = ()
) -> argparse.Namespace:
    """What was typed, if the folder of the data is there and holds these."""
    options = parser.parse_args()
    if not options.data:
        parser.error("name the folder of the data with --data or the variable PUSHFORWARD_DATA")
    for folder in (Path(options.data), *(Path(options.data) / name for name in folders)):
        if not folder.is_dir():
            parser.error(f"there is no folder {folder}")
    return options


def print_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns under their names; the first is aligned to the left."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        first, *others = (
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip(), flush=True)


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """``["layers=4", "hidden=[64,64]"]`` as a dictionary; values are JSON, or else text."""
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise SystemExit(f"{pair!r} is not of the form KEY=VALUE")
        try:
            parsed[key] = json.loads(value)
        except json.JSONDecodeError:
            parsed[key] = value
    return parsed


def _command() -> str:
    words = ["python", f"benchmarks/{Path(sys.argv[0]).name}"]
    return shlex.join([*words, *(_without_path(word) for word in sys.argv[1:])])


def _without_paths(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        k: _without_path(v) if isinstance(v, str | Path) else v
        for k, v in options.items()
        if k not in ("results", "name")
    }


def _without_path(word: str | Path) -> str:
    """A folder of this machine helps nobody else: only its last part is kept."""
    text = str(word)
    option, equals, value = text.partition("=") if text.startswith("--") else ("", "", text)
    return f"{option}{equals}{Path(value).name}" if "/" in value else text
