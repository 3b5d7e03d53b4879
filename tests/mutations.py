"""Break the library on purpose, in every family, and see that the tests notice.

    python tests/mutations.py                     all breaks
    python tests/mutations.py Coupling Flow       those of some families
    python tests/mutations.py --list              what would be done

A log-determinant that is wrong in both directions alike cancels in every round trip, and a density
that is wrong by it looks healthy. Each break runs in a process of its own, forked from one that has
imported everything; the first test that fails has caught it. Exit status 1 if any break survives,
or if the tests fail without one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # not where pytest looks for examples: its processes would inherit it
    # what is broken is the plain path: kernels would go on computing what it should
    os.environ.setdefault("PUSHFORWARD_KERNELS", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes share the cores among themselves
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import pytest  # noqa: E402
import scipy.stats  # noqa: E402, F401
import torch  # noqa: E402
from tests.breaking import Break  # noqa: E402
from tests.breaks import all_breaks  # noqa: E402

SURVIVED = "NOT CAUGHT"
NOTHING = "(nothing)"


class FirstFailure:
    """Remembers the first test that fails, and whether anything could not be collected."""

    def __init__(self) -> None:
        self.test, self.ran, self.broken = "", 0, ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what tells nothing new: compilers, files, whether the cases are complete."""
        dull = ("compiled", "save", "has_a_case")
        items[:] = [item for item in items if not any(word in item.name for word in dull)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.ran += report.when == "call"
        if report.failed and not self.test:
            self.test = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.broken:
            self.broken = report.nodeid


def run_tests(paths: Sequence[str], cases: str) -> dict[str, object]:
    """Run tests in this process up to the first failure."""
    # Only the cases concerned are collected at all: it is collecting that would take the time.
    room = importlib.import_module(".".join((*Path(paths[0]).parts[:2], "cases")))
    room.CASES[:] = [case for case in room.CASES if re.search(cases, case.name)]
    seen = FirstFailure()
    arguments = [
        *paths,
        "-x",
        "-p",
        "no:cacheprovider",
        "--tb=no",
        "-p",
        "no:warnings",
    ]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pytest.main(arguments, plugins=[seen])
    return {"test": seen.test, "ran": seen.ran, "broken": seen.broken}


def in_a_child(job: Break | None, paths: Sequence[str], cases: str, answer: Path) -> int:
    """Fork; the child breaks what it is told to, runs the tests and writes what it saw."""
    child = os.fork()
    if child:
        return child
    found: dict[str, object]
    try:
        if job is not None:
            job.apply()
        found = run_tests(paths, cases)
    except BaseException:  # whatever it was: the parent reports it, and this process ends here
        found = {"test": "", "ran": 0, "broken": traceback.format_exc().strip().splitlines()[-1]}
    answer.write_text(json.dumps(found))
    os._exit(0)


def judge(found: dict[str, object]) -> str:
    """What a child's answer means."""
    if found["broken"]:
        return f"{SURVIVED}: could not be judged ({found['broken']})"
    if not found["ran"] and not found["test"]:
        return f"{SURVIVED}: no test was selected"
    return str(found["test"]) or f"{SURVIVED} by {found['ran']} tests"


def in_parallel(jobs: Sequence[Break], workers: int) -> list[str]:
    """Run every break, a few at a time, and print a line as each is judged."""
    verdicts = [""] * len(jobs)
    running: dict[int, int] = {}
    waiting = list(range(len(jobs)))
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < workers:
                i = waiting.pop(0)
                job = jobs[i]
                child = in_a_child(job, job.paths, job.cases, Path(folder) / str(i))
                running[child] = i
            done, _ = os.wait()
            i = running.pop(done)
            answer = Path(folder) / str(i)
            found = json.loads(answer.read_text()) if answer.exists() else {"broken": "it crashed"}
            verdicts[i] = judge(found)
            print(
                f"{jobs[i].family:18} {jobs[i].name:38} {shown(jobs[i], verdicts[i])}", flush=True
            )
    return verdicts


def shown(job: Break, verdict: str) -> str:
    """The test that caught it, without its folder; where nothing was broken, that all is well."""
    if job.family == NOTHING:
        return verdict.replace(f"{SURVIVED} by", "pass:")
    return verdict.removeprefix("tests/")


def unbroken(jobs: Sequence[Break], workers: int) -> list[str]:
    """The same tests without any break: what fails now would seem to catch everything."""
    selections = sorted({(job.paths, job.cases) for job in jobs})
    nothing = [
        Break(NOTHING, f"{Path(paths[0]).parts[1]} {cases}", lambda: None, paths, cases)
        for paths, cases in selections
    ]
    print("without a break:")
    verdicts = in_parallel(nothing, workers)
    return [verdict for verdict in verdicts if not verdict.startswith(f"{SURVIVED} by")]


def main() -> int:
    """Run what was asked for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", help="classes to break; all by default")
    parser.add_argument("--list", action="store_true", help="only say what would be done")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    chosen = parser.parse_args()
    jobs = [job for job in all_breaks() if not chosen.families or job.family in chosen.families]
    if chosen.list:
        print(*(f"{job.family:18} {job.name}" for job in jobs), sep="\n")
        return 0
    os.chdir(ROOT)
    torch.set_num_threads(1)
    start = time.monotonic()
    wrong = unbroken(jobs, chosen.workers)
    if wrong:
        print("The tests fail without any break:", *wrong, sep="\n  ")
        return 1
    print("\nbroken:")
    verdicts = in_parallel(jobs, chosen.workers)
    survivors = [
        f"{job.family}: {job.name}: {verdict}"
        for job, verdict in zip(jobs, verdicts, strict=True)
        if verdict.startswith(SURVIVED)
    ]
    print(f"\n{len(jobs) - len(survivors)} of {len(jobs)} breaks caught, ", end="")
    print(f"{time.monotonic() - start:.0f} s")
    if survivors:
        print("Not caught:", *survivors, sep="\n  ")
    return 1 if survivors or not jobs else 0


if __name__ == "__main__":
    sys.exit(main())
