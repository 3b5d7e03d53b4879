"""``pushforward info``: what a model file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.options import DebugOption, JsonOption, ModelArgument

if TYPE_CHECKING:
    from rich.console import Console

    from pushforward.tables import TableFlow

__all__ = ["info"]


def info(model: ModelArgument, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Say what a model file holds: flow, columns, how it was trained."""
    import pushforward as pf
    from pushforward.cli.bench import kernels
    from pushforward.cli.screen import console, print_json

    loaded = pf.load(model)
    facts = {"model": str(model), "kind": type(loaded).__name__, **_header(model)}
    facts["bytes"] = model.stat().st_size
    facts["kernels"] = kernels()
    if isinstance(loaded, pf.TableFlow):
        from pushforward.cli.report import facts_of

        facts |= facts_of(loaded) | {"schema": loaded.schema.to_dict()}
    else:
        facts |= _facts_of_part(loaded)
    if as_json:
        print_json(facts)
        return
    screen = console()
    _print_file(screen, facts, model)
    if isinstance(loaded, pf.TableFlow):
        _print_table(screen, facts, loaded)
    else:
        _print_part(screen, facts, loaded)
    _print_kernels(screen, facts["kernels"])


def _header(path: Path) -> dict[str, Any]:
    """Format and version, from the header of a file that was loaded."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        content = json.loads(file.metadata()["pushforward"])
    return {"format": content["format"], "version": content["version"]}


def _facts_of_part(part: Any) -> dict[str, Any]:
    from pushforward.cli.report import parameters_of

    facts: dict[str, Any] = {"parameters": parameters_of(part)}
    if hasattr(part, "event_shape"):
        facts["event_shape"] = list(part.event_shape)
    if hasattr(part, "exactness"):
        facts["exactness"] = part.exactness
    recipe = getattr(part, "facts", {}).get("recipe")
    if recipe is not None:
        facts |= {"flow": recipe["name"], "arguments": recipe["arguments"]}
    return facts


def _print_file(screen: Console, facts: dict[str, Any], path: Path) -> None:
    from pushforward.cli.report import print_flow
    from pushforward.cli.screen import size_of

    screen.print(
        f"{path}: {facts['kind']}, {size_of(path)}, written by pushforward {facts['version']} "
        f"(format {facts['format']})",
        markup=False,
    )
    print_flow(screen, facts.get("flow", ""), facts.get("arguments", {}), facts["parameters"])


def _print_table(screen: Console, facts: dict[str, Any], table: TableFlow) -> None:
    from pushforward.bases import GaussianMixture
    from pushforward.cli.report import (
        exactness_of,
        print_figures,
        print_run,
        print_schema,
        print_source,
    )

    if isinstance(table.flow.base, GaussianMixture):  # every recipe's own is plain
        screen.print(f"Base: {table.flow.base}", markup=False)
    print_source(screen, "Learned from a table", table.schema)
    print_schema(screen, table.schema, every=True)
    print_figures(screen, facts)
    if exactness_of(table.flow):
        screen.print(exactness_of(table.flow))
    print_run(screen, facts["seconds"], table.history)


def _print_part(screen: Console, facts: dict[str, Any], part: Any) -> None:
    from pushforward.cli.report import exactness_of

    if "event_shape" in facts:
        shape = "×".join(map(str, facts["event_shape"])) or "1"
        context = f", context of {part.context}" if getattr(part, "context", 0) else ""
        screen.print(f"Events of {shape} numbers{context}\n", markup=False)
    told = exactness_of(part) if "exactness" in facts else ""
    if told:
        screen.print(f"{told}\n")
    screen.print(str(part), markup=False)


def _print_kernels(screen: Console, kernels: str) -> None:
    """What makes flows fast on this machine, or why it is not there and how to get it."""
    from pushforward import kernels as room

    screen.print()
    if room.available():
        screen.print(f"kernels: {kernels}", markup=False)
        return
    screen.print(
        f"The compiled kernels are absent: {room.reason()}. Flows give the same results without "
        f"them, several times more slowly; {room.remedy()}.",
        markup=False,
    )
