"""What `fit`, `demo` and `info` say of a table, a model and a run."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.screen import count, duration, size_of, table

if TYPE_CHECKING:
    from rich.console import Console

    from pushforward.flows import Flow
    from pushforward.tables import Schema, TableFlow
    from pushforward.training import History

__all__ = [
    "arguments_text",
    "exactness_of",
    "facts_of",
    "parameters_of",
    "print_choice",
    "print_figures",
    "print_indented",
    "print_result",
    "print_run",
    "print_schema",
    "print_source",
]

_FIRST = ("map", "layers", "hidden", "bins")
_KINDS = {
    "exact": "mean log-density",
    "estimate": "estimated mean log-density",
    "bound": "lower bound of the mean log-density",
}
_COLUMNS = 24  # columns that are listed; more would push everything else off the screen


def print_source(screen: Console, data: str, schema: Schema) -> None:
    """What was read."""
    used = schema.rows_read - schema.rows_dropped
    parts = [f"{data}: {count(schema.rows_read, 'row')}"]
    if schema.rows_dropped:
        parts.append(
            f"{schema.rows_dropped:,} with missing or infinite values dropped, {used:,} left"
        )
    parts.append(count(len(schema.features), "column"))
    if schema.context:
        parts.append(f"given {', '.join(schema.context)}")
    if schema.weights is not None:
        parts.append(f"weighted by {schema.weights}")
    screen.print(", ".join(parts), markup=False)


def print_schema(screen: Console, schema: Schema, *, every: bool = False) -> None:
    """The columns of a model: type, range, what was done to each.

    Args:
        screen: where to.
        schema: the schema.
        every: whether to list all columns of a wide table.
    """
    rows = schema.rows()
    shown = rows if every else rows[:_COLUMNS]
    headings = {"column": "left", "type": "left"}
    headings |= dict.fromkeys(("low", "high", "mean", "std"), "right")
    screen.print("")
    screen.print(table(headings.items(), [row[:-1] for row in shown], whole=("type",)))
    if len(rows) > len(shown):
        screen.print(f"… and {count(len(rows) - len(shown), 'more column', 'more columns')}")
    screen.print("")
    notes = [f"{row[0]}: {row[-1]}" for row in shown if row[-1] not in _PLAIN]
    for note in notes:
        print_indented(screen, note)
    if notes:
        screen.print("")


_PLAIN = ("", "numbers", "whole numbers", "dates")  # reasons that say no more than the type


def print_indented(screen: Console, text: str) -> None:
    """A sentence that keeps its indent where lines are broken."""
    lines = textwrap.fill(text, screen.width, initial_indent="  ", subsequent_indent="    ")
    screen.print(lines, markup=False)


def print_choice(screen: Console, choice: Mapping[str, Any], flow: Flow) -> None:
    """The flow that was chosen, and why."""
    print_flow(screen, choice["recipe"], choice["arguments"], parameters_of(flow))
    for reason in filter(None, (*choice["reason"], exactness_of(flow))):
        print_indented(screen, reason)


def print_flow(screen: Console, recipe: str, arguments: Mapping[str, Any], parameters: int) -> None:
    """Recipe, arguments and size of a flow, in a line."""
    told = arguments_text(arguments)
    screen.print(
        f"Flow: {recipe or 'composed by hand'}{' ' * bool(told)}{told}, "
        f"{count(parameters, 'parameter')}",
        markup=False,
    )


def arguments_text(arguments: Mapping[str, Any]) -> str:
    """Arguments of a recipe as ``--set`` takes them.

    Example:
        >>> arguments_text({"features": 2, "context": 0, "layers": 6, "hidden": [64, 64]})
        'layers=6 hidden=64,64'
    """
    from pushforward.cli.settings import text_of

    hidden = ("features", "context", "seed")  # said elsewhere
    told = {key: one for key, one in arguments.items() if key not in hidden and one is not None}
    # A model file keeps them by alphabet; the telling ones come first.
    order = sorted(
        told, key=lambda key: (key not in _FIRST, _FIRST.index(key) if key in _FIRST else 0)
    )
    return " ".join(f"{key}={text_of(told[key])}" for key in order)


def parameters_of(flow: Flow) -> int:
    """How many numbers were trained."""
    return sum(one.numel() for one in flow.parameters())


def exactness_of(flow: Flow) -> str:
    """What is to be said of a flow whose density is not exact; nothing where it is."""
    words = {
        "estimate": "The density of this flow is an unbiased estimate: each row's carries noise.",
        "bound": "The density of this flow is a lower bound, and each row's carries noise.",
    }
    return words.get(flow.exactness, "")


def facts_of(table: TableFlow) -> dict[str, Any]:
    """The figures of a fitted table flow, for ``--json``."""
    history = table.history
    return {
        **table.report,
        "flow": table.choice["recipe"],
        "arguments": dict(table.choice["arguments"]),
        "reason": list(table.choice["reason"]),
        "parameters": parameters_of(table.flow),
        "exactness": table.flow.exactness,
        "columns": list(table.schema.features),
        "context": list(table.schema.context),
        "steps": history.evaluations[-1].step,
        "best_step": history.best_step,
        "stopped": history.stopped,
    }


def print_result(screen: Console, facts: Mapping[str, Any], history: History) -> None:
    """What a run reached, where the model is, and what to type next."""
    screen.print("")
    print_figures(screen, facts)
    if "drift" in facts:
        print_drift(screen, facts["drift"])
    print_run(screen, facts["seconds"], history)
    model = Path(facts["model"])
    replaced = ", in the place of the file that was there" if facts["replaced"] else ""
    screen.print(f"Saved as {model} ({size_of(model)}){replaced}.", markup=False)


def print_drift(screen: Console, facts: Mapping[str, float]) -> None:
    """How far new rows are from those that the model was fitted to."""
    lost = facts["nats_before"] - facts["nats"]
    errors = (facts["nats_before_error"], facts["nats_error"])
    error = None if None in errors else math.hypot(*errors)
    screen.print(
        f"\nDrift: the model as it was gives new rows {facts['nats']:.3f} nats, and gave "
        f"{facts['nats_before']:.3f} to rows of its own time: {_with_error(lost, error)} nats "
        f"lost. Their mean outlier score is {facts['outlier_score']:.2f} (0.5 without drift); "
        f"{facts['beyond']:.1%} are less likely than 99 % of the rows were that it was fitted to.",
        markup=False,
    )


def _with_error(lost: float, error: float | None) -> str:
    return f"{lost:+.3f}" if error is None else f"{lost:+.3f} ± {error:.3f}"


def _unless_none(error: float | None) -> str:
    """A standard error, which nobody knows of a single row."""
    return "unknown" if error is None else f"{error:.3f}"


def print_run(screen: Console, seconds: float, history: History) -> None:
    """How a run went, in a sentence."""
    last = history.evaluations[-1]
    passes = "1 epoch" if last.epoch == 1 else f"{last.epoch:.3g} epochs"
    told = f"{count(last.step, 'step')}, {passes}, {history.stopped}"
    if history.best_step != last.step:
        told += f"; the weights of step {history.best_step:,} were kept"
    if history.skipped:
        told += f"; {count(history.skipped_steps, 'step')} skipped (not finite)"
    if history.repeated_steps:
        told += f"; {count(history.repeated_steps, 'step')} taken again after resuming"
    screen.print(f"\nTrained in {duration(seconds)}: {told}.", markup=False)


def print_figures(screen: Console, facts: Mapping[str, Any]) -> None:
    """Held-out log-density beside that of a simple model of the same columns."""
    rows = [
        (label, f"{facts[name]:.3f} ± {_unless_none(facts[f'{name}_error'])}")
        for label, name in (
            (f"this flow ({facts['flow'] or 'composed by hand'})", "nats"),
            (facts["reference"], "reference_nats"),
        )
    ]
    heading = f"{_KINDS[facts['exactness']]} of {count(facts['held_out_rows'], 'held-out row')}"
    screen.print(table([(heading, "left"), ("nats a row", "right")], rows))
    screen.print("± standard error; higher is better, one nat is a factor of 2.7.")
