"""How fast flows train, score and sample: ours and each installed library, in one run.

Within a row all libraries are timed in turn, round after round, on the same sizes: six layers,
two hidden layers of 128, eight bins, float32, and the same optimizer. Writes ``results/speed.json``
and, from it, the table ``results/speed.md``. Exits with status 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from results import Record, add_result_options
from speed_peers import PEERS, load
from speed_table import write_table
from speed_targets import JAX, OURS, TARGETS, TORCH_PEERS, Figures

FRESH_ROWS = {
    "first-step": "from the end of `import torch` (or jax) to the end of the first training step, "
    "spline couplings, D = 43",
    "deep-memory-43": "spline couplings, D = 43: largest memory of activations",
}
FEW = 3  # processes of each peer: there is no limit on what theirs take
FRESH = (OURS, "pushforward, pf.fit", "an empty loop")
COMPILED = "torch.compile"
HERE = Path(__file__).resolve().parent


def main() -> int:
    options = _options()
    _pin(options.threads)
    import torch

    from pushforward.training.speed import ROWS

    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", module=r"(nflows|normflows|zuko|torch)\.")
    record = Record(options.name, options)
    record.note(threads=options.threads, kernels=_kernels(), peers=_peers(options))
    every = [row.name for row in ROWS if row.quick or not options.small]
    names = options.rows or [*every, *FRESH_ROWS]
    figures: list[dict[str, Any]] = []

    def add(row: str, title: str, subject: str, value: float | None, **facts: Any) -> None:
        facts = {"unit": "milliseconds, median", **facts}
        record.add(f"{row}: {subject}", value, row=row, title=title, subject=subject, **facts)
        figures.append({"row": row, "subject": subject, "value": value})
        shown = "–" if value is None else f"{value:12,.3f}"
        print(f"  {subject:<24}{shown}  {facts.get('note', '')}", flush=True)
        record.write()

    for row in ROWS:
        if row.name in names:
            print(f"\n{row.title}  [{row.name}]", flush=True)
            _time_row(row, options, Figures(figures), add)
    for name, title in FRESH_ROWS.items():
        if name in names:
            print(f"\n{title}  [{name}]", flush=True)
            {"first-step": _first_step, "deep-memory-43": _deep_memory}[name](options, title, add)
    kept = _judge(record, Figures(figures))
    path = record.write()
    print(f"\nwritten to {path.name} and {write_table(path).name}")
    return 0 if kept else 1


# ------------------------------------------------------------------ rows in this process


def _time_row(
    row: Any, options: argparse.Namespace, known: Figures, add: Callable[..., None]
) -> None:
    """Everything in a row, in turn."""
    from pushforward.training.speed import Subject, interleave

    facts: dict[str, dict[str, Any]] = {}
    subjects = dict(row.subjects())
    if row.job is not None and isinstance(subjects[OURS], Subject):
        if row.name in ("coupling-train-6", "coupling-train-43") and options.compile:
            subjects[COMPILED], facts[COMPILED] = _compiled(row.job)
        for peer in _peers_of(row, options, known):
            made = _of_peer(peer, row.job)
            if made is not None:
                subjects[peer], facts[peer] = made
    calls = {name: one.call for name, one in subjects.items() if isinstance(one, Subject)}
    took = interleave(calls, options.repeats)
    for name, one in subjects.items():
        if not isinstance(one, Subject):
            add(row.name, row.title, name, None, note=one.reason)
            continue
        timing = dataclasses.asdict(took[name])
        timing["least_ms"], timing["most_ms"] = timing.pop("least"), timing.pop("most")
        value = timing.pop("median")
        notes = [one.note] if one.note else []
        if timing["repeats"] < options.repeats:
            notes.append(f"{timing['repeats']}× only: a call takes {value / 1000:.0f} s")
        more = {"parameters": one.parameters, **timing, **facts.get(name, {})}
        add(row.name, row.title, name, value, note="; ".join(notes), **more)


def _peers_of(row: Any, options: argparse.Namespace, known: Figures) -> Sequence[str]:
    """The libraries that take part in a row."""
    chosen = [name for name in options.peers if not isinstance(load(name), str)]
    if row.job.device != "cpu":
        return [name for name in chosen if name in TORCH_PEERS]
    if row.name == "autoregressive-sample-200":
        # D network passes in each of six layers take minutes: the fastest one will do
        best = known.fastest("autoregressive-sample-43", [n for n in chosen if n in TORCH_PEERS])
        if best is not None:
            return [name for name in chosen if name in (best[1], JAX)]
    return chosen


def _of_peer(name: str, job: Any) -> tuple[Any, dict[str, Any]] | None:
    """What a library is to do, and what one has to know of it."""
    import torch

    from pushforward.training.speed import Subject, training_step
    from pushforward.training.speed.jobs import densities, samples

    library: Any = load(name)
    model = library.build(job.kind, job.features)
    if model is None:
        return None
    if name == JAX:
        call = model.job(job.task, job.batch)
        facts = {"compile_seconds": model.compile_seconds}
        return Subject(call, model.parameters, model.differs), facts
    model.module.to(job.device).train(job.task == "train")
    parameters = [one for one in model.module.parameters() if one.requires_grad]
    x = torch.randn(job.batch, job.features, device=job.device)
    call = {
        "train": lambda: training_step(parameters, model.log_prob, x),
        "log_prob": lambda: densities(model.log_prob, x),
        "sample": lambda: samples(model.sample, job.batch),
    }[job.task]()
    return Subject(call, sum(one.numel() for one in parameters), model.differs), {}


def _compiled(job: Any) -> tuple[Any, dict[str, Any]]:
    """Our training step through torch.compile; the first step compiles and does not count."""
    import torch

    from pushforward.training.speed import Absent, Subject, training_step
    from pushforward.training.speed.rows import build

    flow = build(job.kind, job.features).train()
    x = torch.randn(job.batch, job.features)
    step = training_step(flow.parameters(), torch.compile(flow), x)
    began = time.perf_counter()
    try:
        with _nothing_compiled_before():
            step()
    except Exception as error:  # whatever a compiler may say, where there is none
        return Absent(f"torch.compile: {type(error).__name__}"), {}
    count = sum(one.numel() for one in flow.parameters())
    seconds = time.perf_counter() - began
    return Subject(step, count, "ours, compiled"), {"compile_seconds": seconds}


@contextmanager
def _nothing_compiled_before() -> Iterator[None]:
    """Compile as if for the first time: what other runs left on disk takes no seconds."""
    import torch

    kept = torch.compiler.config.force_disable_caches
    torch.compiler.config.force_disable_caches = True
    try:
        yield
    finally:
        torch.compiler.config.force_disable_caches = kept


# ------------------------------------------------------------------ rows in fresh processes


def _first_step(options: argparse.Namespace, title: str, add: Callable[..., None]) -> None:
    names = [*FRESH, *(name for name in options.peers if not isinstance(load(name), str))]
    each: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for turn in range(options.fresh):
        for name in names:
            if name in FRESH or turn < FEW:
                each[name].append(_fresh("first", name, options.threads))
    notes = {
        OURS: "import, nsf(43), torch.optim.Adam, one step",
        "pushforward, pf.fit": "pf.fit(flow, x, steps=1)",
        "an empty loop": "PyTorch's own share: one torch.nn.Linear, Adam, one step",
        "FrEIA": "its affine couplings",
    }
    for name, runs in each.items():
        middle = {key: _median([run[key] for run in runs]) for key in runs[0]}
        seconds = [run["seconds"] for run in runs]
        parts = {f"{key}_seconds": middle[key] for key in ("import", "build", "prepare", "step")}
        add(
            "first-step",
            title,
            name,
            middle["seconds"],
            unit="seconds, median",
            repeats=len(runs),
            least=min(seconds),
            most=max(seconds),
            note=notes.get(name, ""),
            **parts,
        )


def _deep_memory(options: argparse.Namespace, title: str, add: Callable[..., None]) -> None:
    for layers, mode in ((4, "ordinary"), (64, "ordinary"), (4, "recompute"), (64, "recompute")):
        found = _fresh("memory", layers, mode, options.memory_rows)
        resident = found.get("resident")
        add(
            "deep-memory-43",
            f"{title}, {options.memory_rows:,} rows",
            f"{layers} layers, {mode}",
            None if resident is None else resident / 2**20,
            unit="MiB of resident memory, peak above what was there",
            saved_by_autograd=None if resident is None else found["saved"] / 2**20,
            note=found.get("absent", ""),
        )


def _fresh(*words: object) -> dict[str, Any]:
    """What a program prints in a process of its own."""
    # Large tensors go back to the system when they are freed, so that resident memory tells.
    environment = (
        {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"} if words[0] == "memory" else None
    )
    done = subprocess.run(
        [sys.executable, str(HERE / "speed_fresh.py"), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        raise SystemExit(f"speed_fresh.py {' '.join(map(str, words))} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def _median(values: Sequence[float]) -> float:
    import statistics

    return statistics.median(values)


# ------------------------------------------------------------------ limits, options


def _judge(record: Record, figures: Figures) -> bool:
    """Add every limit with what was measured; whether all that were measured are kept."""
    kept = True
    print()
    for target in TARGETS:
        found = target.read(figures)
        value, against = (None, "not measured") if found is None else found
        good = record.add(
            target.name,
            value,
            unit=target.unit,
            limit=target.limit,
            at_least=target.at_least,
            what=target.what,
            against=against,
        )
        kept &= good
        sign = "at least" if target.at_least else "at most"
        beside = f" ({against})" if against else ""
        shown = "not measured" if value is None else f"{value:.2f} {target.unit}{beside}"
        verdict = "" if value is None else "kept" if good else "MISSED"
        print(f"{verdict:<7} {target.what}: {shown}, {sign} {target.limit:g}")
    return kept


def _pin(threads: int) -> None:
    """Give the process that many cores: XLA has no other switch for its threads."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:threads])


def _kernels() -> str:
    from pushforward.cli.bench import kernels

    return kernels()


def _peers(options: argparse.Namespace) -> Mapping[str, str]:
    """The libraries asked for, and which of them are not here."""
    found = {name: load(name) for name in options.peers}
    return {name: one if isinstance(one, str) else "measured" for name, one in found.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", metavar="NAME", default=[], help="these rows alone")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--repeats", type=int, default=20, help="rounds (default: %(default)s)")
    parser.add_argument("--fresh", type=int, default=10, help="processes of the first step each")
    parser.add_argument("--threads", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--memory-rows", type=int, default=2048, help="of the row about memory")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--small", action="store_true", help="a try of the program: few of all")
    add_result_options(parser, "speed")
    options = parser.parse_args()
    if options.small:
        options.repeats, options.fresh, options.memory_rows = 2, 1, 64
        options.compile = False
    from pushforward.training.speed import ROWS

    known = {*(row.name for row in ROWS), *FRESH_ROWS}
    for name in options.rows:
        if name not in known:
            parser.error(f"there is no row {name!r}; there are: {', '.join(sorted(known))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
