"""``kill -9`` at random moments of a training run: the resumed run must end as if nothing was.

An undisturbed run gives the model that is expected. Then, again and again: a run is killed at a
seeded random moment between its start and the time the undisturbed run took, and resumed to its
end. Its model file must hold the same tensors, bit for bit, and no more than one interval between
checkpoints may have been worked again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import Record, add_result_options, print_table

SLACK = 0.5  # seconds that writing a checkpoint, a step and a look at the validation rows may take
COLUMNS = "pt1,eta1,phi1,pt2,eta2,phi2"
# The same as the command, for versions whose command cannot set the interval.
DRIVER = """
import json, sys
import pushforward as pf
from pushforward.training import Checkpoints
o = json.loads(sys.argv[1])
table = pf.TableFlow("nsf", settings=o["settings"], seed=0)
table.fit(o["data"], columns=o["columns"].split(","), epochs=o["epochs"], progress=False,
    checkpoint=Checkpoints(o["folder"], seconds=o["every"]), resume=o["resume"])
pf.save(table, o["out"])
"""


@dataclass(frozen=True)
class Trial:
    """One run that was killed and resumed."""

    killed_after: float  # seconds from its start
    working_since: float | None  # seconds of work that the kill cost; None: before the first step
    repeated_steps: int
    interval_steps: float  # steps that an undisturbed run takes in one interval
    same: bool


class Runner:
    """Starts runs of one kind, by the command where it can set the interval.

    Args:
        options: of this program.
        folder: a temporary folder.
    """

    def __init__(self, options: argparse.Namespace, folder: Path):
        from pushforward.data import packaged_path

        self.options, self.folder = options, folder
        self.data = Path(options.data) if options.data else packaged_path("cms_dimuon.parquet")
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        shown = subprocess.run(
            [sys.executable, "-m", "pushforward", "fit", "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        self.by_command = "--checkpoint-every" in shown.stdout and not options.driver

    def start(self, name: str, resume: bool = False) -> subprocess.Popen[str]:
        """Begin a run, or go on with one; its model will be ``NAME.safetensors``."""
        command = self._command(name, resume) if self.by_command else self._driver(name, resume)
        return subprocess.Popen(
            command,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, name: str, resume: bool = False) -> float:
        """A run to its end; returns its wall time."""
        began = time.perf_counter()
        process = self.start(name, resume)
        _, complaint = process.communicate()
        if process.returncode:
            raise SystemExit(f"a run ended with status {process.returncode}: {complaint[-500:]}")
        return time.perf_counter() - began

    def model(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def checkpoints(self, name: str) -> Path:
        return self.folder / name

    def _command(self, name: str, resume: bool) -> list[str]:
        o = self.options
        words = f"fit {shlex.quote(str(self.data))} --columns {COLUMNS} --seed 0 --flow nsf --quiet"
        command = [sys.executable, "-m", "pushforward", *shlex.split(words)]
        command += ["--out", str(self.model(name)), "--epochs", str(o.epochs)]
        command += ["--checkpoint", str(self.checkpoints(name)), "--checkpoint-every", str(o.every)]
        for key, value in _settings(o).items():
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            command += ["--set", f"{key}={text}"]
        return [*command, "--resume"] if resume else command

    def _driver(self, name: str, resume: bool) -> list[str]:
        facts = {
            "data": str(self.data),
            "columns": COLUMNS,
            "settings": _settings(self.options),
            "epochs": self.options.epochs,
            "every": self.options.every,
            "folder": str(self.checkpoints(name)),
            "out": str(self.model(name)),
            "resume": resume,
        }
        return [sys.executable, "-c", DRIVER, json.dumps(facts)]


def main() -> int:
    options = _options()
    record = Record(options.name, options)
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(options, Path(folder))
        took = runner.finish("undisturbed")
        facts = _history(runner.model("undisturbed"))
        pace = facts["steps"] / facts["seconds"]
        how = "pushforward fit" if runner.by_command else "pf.TableFlow with Checkpoints(seconds=)"
        record.note(runs_by=how, undisturbed_seconds=took, **facts)
        print(
            f"{how}: {facts['steps']} steps in {facts['seconds']:.1f} s, {took:.1f} s with start; "
            f"a checkpoint every {options.every:g} s, about {pace * options.every:.0f} steps"
        )
        trials = []
        while len(trials) < options.times:
            trial = _kill_and_resume(runner, f"run{len(trials)}", chance.uniform(0, took), pace)
            if trial is None:
                print("a run was over before its kill: another moment is drawn")
                continue
            trials.append(trial)
            _keep(record, trial, options.every)
            record.write()
    _print(trials, options.every)
    good = all(_good(trial, options.every) for trial in trials)
    print(f"\nwritten to {record.write().name}; " + ("all as undisturbed" if good else "MISSED"))
    return 0 if good else 1


def _kill_and_resume(runner: Runner, name: str, after: float, pace: float) -> Trial | None:
    """Kill a run after some seconds and resume it; None if it was over before."""
    process = runner.start(name)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    if process.returncode == 0:
        runner.model(name).unlink()
        for file in runner.checkpoints(name).iterdir():
            file.unlink()
        return None
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"a run ended with status {process.returncode} before it was killed")
    lost = _lost(runner.checkpoints(name), time.time())
    runner.finish(name, resume=True)
    return Trial(
        killed_after=after,
        working_since=lost,
        repeated_steps=_history(runner.model(name))["repeated_steps"],
        interval_steps=pace * runner.options.every,
        same=_same(runner.model("undisturbed"), runner.model(name)),
    )


def _lost(folder: Path, killed: float) -> float | None:
    """Seconds between the last checkpoint, or else the first step, and the kill."""
    if (checkpoint := folder / "checkpoint.safetensors").exists():
        return killed - checkpoint.stat().st_mtime
    if (folder / "steps").exists():  # written just before the first step, the last new file
        return killed - folder.stat().st_mtime
    return None


def _history(model: Path) -> dict[str, Any]:
    import pushforward as pf

    history = pf.load(model).history
    return {
        "steps": history.evaluations[-1].step,
        "seconds": history.evaluations[-1].seconds,
        "repeated_steps": history.repeated_steps,
    }


def _same(one: Path, other: Path) -> bool:
    """Whether two files hold the same tensors: names, shapes, types and every bit."""
    import torch
    from safetensors.torch import load_file

    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(
        a[n].dtype == b[n].dtype
        and a[n].shape == b[n].shape
        and torch.equal(a[n].reshape(-1).view(torch.uint8), b[n].reshape(-1).view(torch.uint8))
        for n in a
    )


def _good(trial: Trial, every: float) -> bool:
    return trial.same and (trial.working_since or 0.0) <= every + SLACK


def _keep(record: Record, trial: Trial, every: float) -> None:
    record.add(
        "work repeated after kill -9",
        trial.working_since or 0.0,
        unit="seconds",
        limit=every + SLACK,
        killed_after_seconds=round(trial.killed_after, 2),
        repeated_steps=trial.repeated_steps,
        steps_in_an_interval=round(trial.interval_steps, 1),
        same_tensors=trial.same,
        seed=0,
    )


def _print(trials: list[Trial], every: float) -> None:
    head = ("kill", "after, s", "lost, s", "steps again", "in an interval", "tensors", "")
    rows = [
        (
            i,
            f"{t.killed_after:.2f}",
            "-" if t.working_since is None else f"{t.working_since:.2f}",
            t.repeated_steps,
            f"{t.interval_steps:.0f}",
            "the same" if t.same else "DIFFERENT",
            "" if _good(t, every) else "MISSED",
        )
        for i, t in enumerate(trials, 1)
    ]
    print_table(head, rows)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {"layers": options.layers, "hidden": [options.hidden] * 2}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=10, help="runs that are killed")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between checkpoints")
    parser.add_argument("--epochs", type=float, default=15)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", default="", help="a table with the packaged one's columns")
    parser.add_argument("--driver", action="store_true", help="by pf.TableFlow in any case")
    add_result_options(parser, "resume")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
