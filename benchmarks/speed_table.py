"""The table of the speed comparison, in Markdown, from its JSON.

python benchmarks/speed_table.py [FILE]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from results import FOLDER
from speed_targets import OURS, SHORTFALLS

_COLUMNS = (OURS, "zuko", "nflows", "normflows", "FrEIA", "FlowJAX")
_APART = ("first-step", "deep-memory-43")


def write_table(path: Path) -> Path:
    """Write the Markdown beside a result."""
    result = json.loads(path.read_text())
    out = path.with_suffix(".md")
    out.write_text(markdown(result))
    return out


def markdown(result: Mapping[str, Any]) -> str:
    """The whole page."""
    limits = [f for f in result["figures"] if f["limit"] is not None]
    times = [f for f in result["figures"] if "subject" in f]
    parts = [
        "# Speed",
        _how(result),
        "## Limits",
        _limits(limits),
        "## Milliseconds",
        "Medians; float32; 6 layers, two hidden layers of 128, 8 bins.",
        _grid([f for f in times if f["row"] not in _APART]),
    ]
    apart = {name: [f for f in times if f["row"] == name] for name in _APART}
    if apart["first-step"]:
        parts += ["## First call", _first(apart["first-step"])]
    if apart["deep-memory-43"]:
        parts += ["## Memory", _memory(apart["deep-memory-43"])]
    parts += ["## Every figure", _details([f for f in times if f["row"] not in _APART])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _how(result: Mapping[str, Any]) -> str:
    machine, versions = result["machine"], result["versions"]
    changed = ", with changes" if result["changed"] else ""
    absent = [f"{name} {why}" for name, why in result["peers"].items() if why != "measured"]
    lines = [
        f"`{result['command']}` on {result['date']}, {result['minutes']:.0f} minutes; commit "
        f"{result['commit'][:12]}{changed}; kernels: {result['kernels']}.",
        f"{machine['processor']}, {machine['cores']} cores, {result['threads']} threads "
        f"(OMP_WAIT_POLICY {result['omp_wait_policy']}), load before: {machine['load_before']}.",
        ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
    ]
    if absent:
        lines.append(f"Not part of it: {', '.join(absent)}.")
    if "cut_off" in result:
        lines.append(
            f"The run was cut off {result['cut_off']}: what follows was not measured in it."
        )
    return "\n".join(lines)


def _limits(figures: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for f in figures:
        sign = "≥" if f["at_least"] else "≤"
        target = f"{sign} {f['limit']:g} {f['unit']}"
        if f["value"] is None:
            rows.append((f["what"], target, "not measured", "", ""))
            continue
        against = f["against"] if f["against"] not in f["what"] else ""
        verdict = "kept" if f["kept"] else "**missed**"
        why = "" if f["kept"] else SHORTFALLS.get(f["metric"], "not explained yet")
        rows.append((f["what"], target, f"{f['value']:.2f}", against, f"{verdict} {why}".strip()))
    return _table(("what is compared", "target", "measured", "against", ""), rows)


def _grid(figures: Sequence[Mapping[str, Any]]) -> str:
    """Row by row, a column for each library and one for what else of ours was timed."""
    rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    for f in figures:
        rows.setdefault(f["title"], {})[f["subject"]] = f
    lines = []
    for title, subjects in rows.items():
        others = [
            f"{name}: {_milliseconds(f)}" for name, f in subjects.items() if name not in _COLUMNS
        ]
        cells = [_milliseconds(subjects[n]) if n in subjects else "" for n in _COLUMNS]
        lines.append((title, *cells, "; ".join(others)))
    return _table(("", *_COLUMNS, "besides"), lines)


def _first(figures: Sequence[Mapping[str, Any]]) -> str:
    parts = ("import", "build", "prepare", "step")
    head = (
        *("seconds, medians of fresh processes", "in all", "import", "build"),
        *("Adam, or compilation (JAX)", "first step", "least – most", "runs", ""),
    )
    rows = [
        (
            f["subject"],
            f"{f['value']:.2f}",
            *(f"{f[f'{part}_seconds']:.2f}" for part in parts),
            f"{f['least']:.2f} – {f['most']:.2f}",
            f["repeats"],
            f["note"],
        )
        for f in figures
    ]
    title = figures[0]["title"]
    return f"{title[:1].upper()}{title[1:]}.\n\n{_table(head, rows)}"


def _memory(figures: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for f in figures:
        known = f["value"] is not None
        sizes = (f"{f['value']:.0f}", f"{f['saved_by_autograd']:.0f}") if known else ("–", "–")
        rows.append((f["subject"], *sizes, f["note"]))
    head = (figures[0]["title"], "resident, MiB", "saved by autograd, MiB", "")
    return _table(head, rows)


def _details(figures: Sequence[Mapping[str, Any]]) -> str:
    head = ("row", "", "median, ms", "least – most", "times", "parameters", "compile, s", "differs")
    rows = []
    for f in figures:
        if f["value"] is None:
            rows.append((f["row"], f["subject"], "–", "", "", "", "", f["note"]))
            continue
        compiled = f"{f['compile_seconds']:.1f}" if "compile_seconds" in f else ""
        reach = f"{_number(f['least_ms'])} – {_number(f['most_ms'])}"
        counts = (f["repeats"], f"{f['parameters']:,}", compiled)
        rows.append((f["row"], f["subject"], _milliseconds(f), reach, *counts, f["note"]))
    return _table(head, rows)


def _milliseconds(figure: Mapping[str, Any]) -> str:
    return "–" if figure["value"] is None else _number(figure["value"])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    sides = ["---", *("--:" for _ in head[1:])]
    lines = [head, sides, *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


if __name__ == "__main__":
    print(write_table(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "speed.json"))
