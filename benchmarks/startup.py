"""How long the command and the package take before anything is done.

Medians of fresh processes, one after the other. What the package costs above ``import torch`` is
measured inside each process, after ``import torch``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from results import Record, add_result_options, print_table

LIMITS = {"pushforward --help": 0.4, "all above torch": 0.3}  # seconds

# Each prints seconds by the clock and seconds of the processor, which other work on the machine
# does not lengthen.
CLOCK = """
import json, time
took = {}
def now(): return time.perf_counter(), time.process_time()
def note(name, began): took[name] = [b - a for a, b in zip(began, now())]
"""
ABOVE_TORCH = """
began = now(); import torch; note("import torch", began)
began = now(); import pushforward as pf; note("import pushforward", began)
for name in ("Flow", "fit", "flows"):
    start = now(); getattr(pf, name); note(f"then pf.{name}", start)
pf.flows.nsf
note("all above torch", began)
print(json.dumps(took))
"""
ALONE = """
began = now(); import pushforward; note("import pushforward, without torch", began)
print(json.dumps(took))
"""


def main() -> int:
    options = _options()
    record = Record(options.name, options)
    took: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.repeats):
        took.setdefault("pushforward --help", []).append(_help())
        for program in (ALONE, ABOVE_TORCH):
            for name, pair in _inside(program).items():
                took.setdefault(name, []).append(pair)
    lines, kept = [], True
    for name, pairs in took.items():
        good, line = _judge(record, name, pairs)
        kept &= good
        lines.append(line)
    print_table(("", "median, s", "least", "most", "of processor", "limit", ""), lines)
    slowest = slowest_imports()
    record.note(slowest_imports_above_torch=slowest)
    print("\nslowest imports above torch, own milliseconds:")
    for name, milliseconds in slowest.items():
        print(f"  {milliseconds:7.1f}  {name}")
    print(f"\nwritten to {record.write().name}")
    return 0 if kept else 1


def _judge(
    record: Record, name: str, pairs: Sequence[tuple[float, float]]
) -> tuple[bool, tuple[object, ...]]:
    seconds = [pair[0] for pair in pairs]
    median, processor = (statistics.median(values) for values in zip(*pairs, strict=True))
    limit = LIMITS.get(name)
    good = record.add(
        name,
        median,
        unit="seconds, median",
        limit=limit,
        repeats=len(pairs),
        least=min(seconds),
        most=max(seconds),
        processor_seconds=processor,
    )
    times = (f"{value:.3f}" for value in (median, min(seconds), max(seconds), processor))
    return good, (name, *times, limit or "", "" if good else "TOO SLOW")


def slowest_imports(count: int = 12) -> dict[str, float]:
    """Modules that the first use of Flow, fit and flows imports, by their own time (ms)."""
    program = "import torch, sys; print('BEGIN', file=sys.stderr, flush=True); "
    program += "import pushforward as pf; pf.Flow; pf.fit; pf.flows.nsf"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    own: dict[str, float] = {}
    for line in done.stderr.split("BEGIN\n", 1)[1].splitlines():
        if line.startswith("import time:"):
            microseconds, _, name = line.removeprefix("import time:").split("|")
            own[name.strip()] = int(microseconds) / 1000
    return dict(sorted(own.items(), key=lambda item: -item[1])[:count])


def _help() -> tuple[float, float]:
    script = Path(sys.executable).with_name("pushforward")
    # in a source tree that is not installed there is no script, only the module
    command = [str(script)] if script.exists() else [sys.executable, "-m", "pushforward"]
    began, before = time.perf_counter(), os.times()
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    seconds, after = time.perf_counter() - began, os.times()
    if "fit" not in done.stdout:
        raise SystemExit("pushforward --help does not mention fit")
    user = after.children_user - before.children_user
    return seconds, user + after.children_system - before.children_system


def _inside(program: str) -> dict[str, tuple[float, float]]:
    done = subprocess.run(
        [sys.executable, "-c", CLOCK + program], capture_output=True, text=True, check=True
    )
    return {name: (wall, own) for name, (wall, own) in json.loads(done.stdout).items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    add_result_options(parser, "startup")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
