"""How long the command and the package take before anything is done.

Medians of fresh processes, one after the other. What the package costs above ``import torch`` is
measured inside each process, after ``import torch``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from results import Record, add_result_options, print_table

HELP_LIMIT, ABOVE_TORCH_LIMIT = 0.4, 0.3  # seconds

ABOVE_TORCH = """
import json, time
began = time.perf_counter(); import torch; torch_took = time.perf_counter() - began
began = time.perf_counter(); import pushforward as pf; imported = time.perf_counter() - began
took = {"import torch": torch_took, "import pushforward": imported}
for name in ("Flow", "fit", "flows"):
    start = time.perf_counter(); getattr(pf, name)
    took[f"then pf.{name}"] = time.perf_counter() - start
pf.flows.nsf
took["all above torch"] = time.perf_counter() - began
print(json.dumps(took))
"""
ALONE = """
import json, time
began = time.perf_counter(); import pushforward
print(json.dumps({"import pushforward, without torch": time.perf_counter() - began}))
"""


def main() -> int:
    options = _options()
    record = Record(options.name, options)
    took: dict[str, list[float]] = {}
    for _ in range(options.repeats):
        took.setdefault("pushforward --help", []).append(_help())
        for program in (ALONE, ABOVE_TORCH):
            for name, seconds in _inside(program).items():
                took.setdefault(name, []).append(seconds)
    limits = {"pushforward --help": HELP_LIMIT, "all above torch": ABOVE_TORCH_LIMIT}
    kept = True
    lines = []
    for name, seconds in took.items():
        median, limit = statistics.median(seconds), limits.get(name)
        good = record.add(
            name,
            median,
            unit="seconds, median",
            limit=limit,
            repeats=len(seconds),
            least=min(seconds),
            most=max(seconds),
        )
        kept &= good
        lines.append(
            (
                name,
                f"{median:.3f}",
                f"{min(seconds):.3f}",
                f"{max(seconds):.3f}",
                limit or "",
                "" if good else "TOO SLOW",
            )
        )
    print_table(("", "median, s", "least", "most", "limit", ""), lines)
    slowest = slowest_imports()
    record.note(slowest_imports_above_torch=slowest)
    print("\nslowest imports above torch, own milliseconds:")
    for name, milliseconds in slowest.items():
        print(f"  {milliseconds:7.1f}  {name}")
    print(f"\nwritten to {record.write().name}")
    return 0 if kept else 1


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


def _help() -> float:
    script = Path(sys.executable).with_name("pushforward")
    # in a source tree that is not installed there is no script, only the module
    command = [str(script)] if script.exists() else [sys.executable, "-m", "pushforward"]
    began = time.perf_counter()
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    if "fit" not in done.stdout:
        raise SystemExit("pushforward --help does not mention fit")
    return seconds


def _inside(program: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {str(name): float(seconds) for name, seconds in json.loads(done.stdout).items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    add_result_options(parser, "startup")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
