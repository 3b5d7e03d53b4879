"""Peak memory of a whole process that fits a Parquet file of a million rows.

Another process writes the file to a temporary folder first; the one that is measured does nothing
but fit. What counts is the peak of its resident memory as the operating system saw it, libraries
included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy

from results import Record, add_result_options, print_table

LIMIT = 1.5e9  # bytes
PART = 50_000  # rows written at a time
STAGES = ("torch", "pushforward", "read", "fit")

# What the measured process runs. It notes the peak so far after each stage.
PROGRAM = """
import json, os, resource, sys, time
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command pushforward does
marks = {}
def mark(name):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    marks[name] = peak * (1 if sys.platform == "darwin" else 1024)
path, options, threads = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
import torch
torch.set_num_threads(threads)
mark("torch")
import pushforward as pf
table = pf.TableFlow(seed=0)
mark("pushforward")
began = time.perf_counter()
read = None
def ready(schema, choice, flow):
    global read
    read = time.perf_counter() - began
    mark("read")
table.fit(path, progress=False, ready=ready, **options)
mark("fit")
print(json.dumps({"marks": marks, "read_seconds": read, "seconds": time.perf_counter() - began,
    "settings": table.history.settings, "steps": table.history.evaluations[-1].step,
    "parameters": sum(p.numel() for p in table.flow.parameters()), "report": table.report}))
"""


def main() -> int:
    options = _options()
    record = Record(options.name, options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write_rows(path, options.rows, options.columns)
        fit = {"epochs": options.epochs} if options.epochs else {}
        facts, peak, samples = _measure(path, fit, options.threads)
    passes = facts["steps"] * facts["settings"]["batch_size"] / facts["settings"]["rows"]
    kept = record.add(
        "peak resident memory of the process",
        peak,
        unit="bytes",
        limit=options.limit,
        rows=options.rows,
        columns=options.columns,
        passes=round(passes, 3),
        seed=0,
        **facts,
        resident_each_second=samples,
    )
    _report(facts, peak, options.limit, passes)
    # the last, short batch of a pass is left out
    whole = facts["steps"] >= facts["settings"]["rows"] // facts["settings"]["batch_size"]
    if not whole:
        print(f"MISSED: only {passes:.2f} of a pass over the rows")
    if not kept:
        print("MISSED: the limit of memory")
    print(f"written to {record.write().name}")
    return 0 if kept and whole else 1


def write_rows(path: Path, rows: int, columns: int) -> None:
    """Correlated, skewed float32 columns, written a part at a time."""
    import pyarrow
    import pyarrow.parquet

    generator = numpy.random.default_rng(0)
    mixing = generator.normal(size=(columns, columns)) / columns**0.5
    names = [f"x{i}" for i in range(columns)]
    schema = pyarrow.schema([(name, pyarrow.float32()) for name in names])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, PART):
            z = generator.normal(size=(min(PART, rows - start), columns)) @ mixing
            x = (z + 0.3 * z**2).astype(numpy.float32)
            writer.write_table(pyarrow.table(list(x.T), schema=schema))


def _measure(path: Path, fit: dict[str, Any], threads: int) -> tuple[dict[str, Any], int, Any]:
    """What the process said, the peak the system counted, and its memory second by second."""
    command = [sys.executable, "-c", PROGRAM, str(path), json.dumps(fit), str(threads)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    samples: list[int] = []
    watcher = threading.Thread(target=_watch, args=(process, samples), daemon=True)
    watcher.start()
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the measured process ended with status {process.returncode}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    bytes_each = 1 if sys.platform == "darwin" else 1024
    return json.loads(out.splitlines()[-1]), peak * bytes_each, samples


def _watch(process: subprocess.Popen[str], samples: list[int]) -> None:
    status = Path(f"/proc/{process.pid}/statm")
    while process.poll() is None and status.exists():
        try:
            pages = int(status.read_text().split()[1])
        except (OSError, IndexError):  # it ended between the question and the answer
            return
        samples.append(pages * resource.getpagesize())
        time.sleep(1.0)


def _report(facts: dict[str, Any], peak: int, limit: float, passes: float) -> None:
    print_table(
        ("after", "peak so far, MB"),
        [(stage, f"{facts['marks'][stage] / 1e6:.0f}") for stage in STAGES],
    )
    print(
        f"\npeak {peak / 1e6:.0f} MB of {limit / 1e6:.0f} MB; {facts['seconds']:.0f} s, of which "
        f"{facts['read_seconds']:.0f} s until the first step; {facts['steps']} steps of "
        f"{facts['settings']['batch_size']} rows, {passes:.2f} passes"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument(
        "--epochs", type=float, default=1.0, help="passes; 0 for the default of pf.fit (default: 1)"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=LIMIT, help="bytes")
    add_result_options(parser, "memory")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
