"""``kill -9`` at random moments of a training run: the resumed run must end as if nothing was.

An undisturbed run gives the model that is expected. Then, again and again: a run is killed at a
seeded random moment between its first step and its end, and resumed. Its model file must hold the
same tensors, bit for bit, and no more than one interval between checkpoints may have been worked
again: counted in steps where the interval is a number of steps, else in seconds from the last
checkpoint to the kill.
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

SLACK = 0.5  # seconds that writing a checkpoint and the step before it may take
COLUMNS = "pt1,eta1,phi1,pt2,eta2,phi2"
# The same as the command, for versions whose command cannot set the interval.
DRIVER = """
import json, sys
import pushforward as pf
from pushforward.training import Checkpoints
o = json.loads(sys.argv[1])
table = pf.TableFlow("nsf", settings=o["settings"], seed=0)
table.fit(o["data"], columns=o["columns"].split(","), epochs=o["epochs"], progress=False,
    checkpoint=Checkpoints(o["folder"], seconds=o["every"], steps=o["every_steps"]),
    resume=o["resume"])
pf.save(table, o["out"])
"""


@dataclass(frozen=True)
class Trial:
    """One run that was killed and resumed.

    Attributes:
        killed_after: seconds from the first step.
        lost: seconds between the last checkpoint, or else the first step, and the kill.
        repeated_steps: as the model file tells.
        same: whether it has the tensors of the undisturbed run.
    """

    killed_after: float
    lost: float
    repeated_steps: int
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
        self.by_command = "--checkpoint-every" in shown.stdout and not options.every_steps

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
        """A run to its end; returns the seconds from its first step on."""
        process = self.start(name, resume)
        self.await_first_step(name, process)
        began = time.perf_counter()
        _, complaint = process.communicate()
        if process.returncode:
            raise SystemExit(f"a run ended with status {process.returncode}: {complaint[-500:]}")
        return time.perf_counter() - began

    def await_first_step(self, name: str, process: subprocess.Popen[str]) -> None:
        """Wait until the run counts its steps."""
        while not (self.checkpoints(name) / "steps").exists() and process.poll() is None:
            time.sleep(0.01)

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
            "every_steps": self.options.every_steps or None,
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
        how = "pushforward fit" if runner.by_command else "pf.TableFlow with Checkpoints"
        record.note(runs_by=how, undisturbed_seconds=took, **facts)
        print(f"{how}: {facts['steps']} steps in {facts['seconds']:.1f} s, {_interval(options)}")
        trials: list[Trial] = []
        while len(trials) < options.times:
            began = time.perf_counter()
            trial = _kill_and_resume(runner, f"run{len(trials)}", chance.uniform(0, took))
            if trial is None:  # this one was faster: the machine had less else to do
                took = min(took, time.perf_counter() - began)
                print("a run was over before its kill: another moment is drawn", flush=True)
                continue
            trials.append(trial)
            _keep(record, trial, options)
            record.write()
    _print(trials, options)
    good = all(_good(trial, options) for trial in trials)
    print(f"\nwritten to {record.write().name}; " + ("all as undisturbed" if good else "MISSED"))
    return 0 if good else 1


def _interval(options: argparse.Namespace) -> str:
    if options.every_steps:
        return f"a checkpoint every {options.every_steps} steps"
    return f"a checkpoint every {options.every:g} s"


def _kill_and_resume(runner: Runner, name: str, after: float) -> Trial | None:
    """Kill a run some seconds after its first step and resume it; None if it was over before."""
    process = runner.start(name)
    runner.await_first_step(name, process)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    killed = time.time()
    _, complaint = process.communicate()
    folder = runner.checkpoints(name)
    if process.returncode == 0:
        runner.model(name).unlink()
        for file in folder.iterdir():
            file.unlink()
        return None
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"a run ended with status {process.returncode}: {complaint[-500:]}")
    checkpoint = folder / "checkpoint.safetensors"
    lost = killed - checkpoint.stat().st_mtime if checkpoint.exists() else after
    runner.finish(name, resume=True)
    return Trial(
        killed_after=after,
        lost=lost,
        repeated_steps=_history(runner.model(name))["repeated_steps"],
        same=_same(runner.model("undisturbed"), runner.model(name)),
    )


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


def _repeated(trial: Trial, options: argparse.Namespace) -> tuple[float, float, str]:
    """How much was worked again, how much may be, and in what unit."""
    if options.every_steps:
        return trial.repeated_steps, options.every_steps, "steps"
    # A kill behind the last step, while the result is measured and written, costs no step.
    return (trial.lost if trial.repeated_steps else 0.0), options.every + SLACK, "seconds"


def _good(trial: Trial, options: argparse.Namespace) -> bool:
    value, limit, _ = _repeated(trial, options)
    return trial.same and value <= limit


def _keep(record: Record, trial: Trial, options: argparse.Namespace) -> None:
    value, limit, unit = _repeated(trial, options)
    record.add(
        "work repeated after kill -9",
        value,
        unit=unit,
        limit=limit,
        killed_after_seconds=round(trial.killed_after, 2),
        seconds_since_checkpoint=round(trial.lost, 2),
        repeated_steps=trial.repeated_steps,
        same_tensors=trial.same,
        seed=0,
    )


def _print(trials: list[Trial], options: argparse.Namespace) -> None:
    head = ("kill", "after, s", "since checkpoint, s", "steps again", "tensors", "")
    rows = [
        (
            i,
            f"{trial.killed_after:.2f}",
            f"{trial.lost:.2f}",
            trial.repeated_steps,
            "the same" if trial.same else "DIFFERENT",
            "" if _good(trial, options) else "MISSED",
        )
        for i, trial in enumerate(trials, 1)
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
    parser.add_argument(
        "--every-steps", type=int, default=0, help="steps between checkpoints: an exact count"
    )
    add_result_options(parser, "resume")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
