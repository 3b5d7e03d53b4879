"""The rows of the table: which flow, which job, which size."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from pushforward.errors import ArgumentError
from pushforward.flows import Flow, recipes
from pushforward.training.speed.jobs import (
    Absent,
    Subject,
    densities,
    networks_alone,
    samples,
    training_step,
    unlike_the_identity,
)
from pushforward.transforms import Compose

__all__ = ["BINS", "HIDDEN", "LAYERS", "OURS", "ROWS", "Job", "Row", "build", "find_row"]

OURS = "pushforward"
LAYERS, HIDDEN, BINS = 6, (128, 128), 8
# "plain" is what other libraries build under the name; `nsf` with its defaults has more.
_PLAIN: dict[str, Any] = {"hidden": HIDDEN, "bins": BINS, "affine": 0, "mix": "none"}
_KINDS: dict[str, tuple[str, Callable[..., Flow]]] = {
    "coupling": ("spline couplings", partial(recipes.nsf, **_PLAIN)),
    "autoregressive": (
        "autoregressive splines",
        partial(recipes.nsf, autoregressive=True, **_PLAIN),
    ),
    "maf": ("affine autoregressions (MAF)", partial(recipes.maf, hidden=HIDDEN)),
    "realnvp": ("affine couplings (RealNVP)", partial(recipes.realnvp, hidden=HIDDEN)),
}
_TASKS = {"train": "training step", "log_prob": "log_prob", "sample": "sample"}


@dataclass(frozen=True)
class Job:
    """Something that every library can be asked to do.

    Attributes:
        kind: ``coupling``, ``autoregressive``, ``maf`` or ``realnvp``.
        task: ``train``, ``log_prob`` or ``sample``.
        features: width of x.
        batch: rows.
        device: where.
    """

    kind: str
    task: str
    features: int
    batch: int
    device: str = "cpu"


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: what it is called on the command line.
        title: what it is, in words.
        subjects: makes ours: what is timed, by name, or why it cannot be.
        job: what other libraries are asked to do, if it is something that they can.
        quick: whether it is measured where time is short.
    """

    name: str
    title: str
    subjects: Callable[[], Mapping[str, Subject | Absent]]
    job: Job | None = None
    quick: bool = False


def build(kind: str, features: int, layers: int = LAYERS) -> Flow:
    """A flow of the sizes that are compared, with weights as at random."""
    return unlike_the_identity(_KINDS[kind][1](features, layers=layers, seed=0))


def find_row(name: str) -> Row:
    """The row of a name.

    Raises:
        ArgumentError: there is none.

    Example:
        >>> find_row("coupling-train-43").title
        'spline couplings, D = 43: training step, 512 rows'
    """
    rows = {row.name: row for row in ROWS}
    if name not in rows:
        near = difflib.get_close_matches(name, rows, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(rows)}."
        raise ArgumentError(f"find_row: there is no row {name!r}. {hint}")
    return rows[name]


def _subject(flow: Flow, task: str, batch: int, note: str = "", device: str = "cpu") -> Subject:
    """A job of one of our flows."""
    (features,) = flow.transform.event_shape
    flow.to(device).train(task == "train")
    x = torch.randn(batch, features, device=device)
    call = {
        "train": lambda: training_step(flow.parameters(), flow.log_prob, x),
        "log_prob": lambda: densities(flow.log_prob, x),
        "sample": lambda: samples(flow.sample, batch),
    }[task]()
    return Subject(call, sum(one.numel() for one in flow.parameters()), note)


# ------------------------------------------------------------------ rows that others have, too


def _common(job: Job) -> dict[str, Subject | Absent]:
    flow = build(job.kind, job.features)
    subjects: dict[str, Subject | Absent] = {OURS: _subject(flow, job.task, job.batch)}
    if job.kind == "coupling" and job.task == "train":
        subjects["networks alone"] = networks_alone(flow, HIDDEN, job.batch)
    if job.kind == "coupling" and job.features > 2:
        subjects["nsf by default"] = _subject(
            unlike_the_identity(recipes.nsf(job.features, seed=0)),
            job.task,
            job.batch,
            "for information: two affine layers and linear mixing besides",
        )
    if job.kind == "autoregressive" and job.task == "sample" and job.batch > 1:
        subjects["own log_prob"] = _subject(flow, "log_prob", job.batch)
    return subjects


def _on_gpu(job: Job) -> dict[str, Subject | Absent]:
    if not torch.cuda.is_available():
        return {OURS: Absent("not measured: there is no GPU")}
    flow = build(job.kind, job.features)
    return {OURS: _subject(flow, job.task, job.batch, device=job.device)}


def _row(kind: str, task: str, features: int, batch: int = 512, quick: bool = False) -> Row:
    job = Job(kind, task, features, batch)
    count = "1 row" if batch == 1 else f"{batch:,} rows"
    title = f"{_KINDS[kind][0]}, D = {features}: {_TASKS[task]}, {count}"
    name = f"{kind}-{task}-{features}" + ("-single" if batch == 1 else "")
    return Row(name, title, partial(_common, job), job, quick)


# ------------------------------------------------------------------ rows of ours alone


def recomputing(flow: Flow) -> Flow | Absent:
    """The same flow, whose activations are rebuilt in the backward pass."""
    steps: Any = flow.transform.transforms
    options: dict[str, Any] = {"memory": "recompute"}
    try:
        return Flow(Compose(*steps, **options), flow.base)
    except TypeError:
        return Absent('Compose(memory="recompute") is not available')


def _deep(features: int, layers: int, batch: int) -> dict[str, Subject | Absent]:
    ordinary = build("coupling", features, layers)
    other = recomputing(build("coupling", features, layers))
    return {
        "ordinary": _subject(ordinary, "train", batch),
        "recompute": other if isinstance(other, Absent) else _subject(other, "train", batch),
    }


def _by_layers(features: int, batch: int) -> dict[str, Subject]:
    each = (4, 8, 16, 32)
    return {f"{n} layers": _subject(build("coupling", features, n), "train", batch) for n in each}


def _by_rows(features: int, sizes: tuple[int, ...]) -> dict[str, Subject]:
    flow = build("coupling", features)
    return {f"{n} rows": _subject(flow, "log_prob", n) for n in sizes}


_GPU = Job("coupling", "train", 43, 65_536, "cuda")
ROWS: tuple[Row, ...] = (
    _row("coupling", "train", 2, 256, quick=True),
    _row("coupling", "train", 6, quick=True),
    _row("coupling", "train", 43, quick=True),
    _row("coupling", "log_prob", 6, quick=True),
    _row("coupling", "log_prob", 43, quick=True),
    _row("coupling", "sample", 43, quick=True),
    _row("autoregressive", "train", 6, quick=True),
    _row("autoregressive", "train", 43),
    _row("autoregressive", "log_prob", 6, quick=True),
    _row("autoregressive", "log_prob", 43),
    _row("autoregressive", "sample", 43, 2000),
    _row("autoregressive", "sample", 200, 2000),
    _row("autoregressive", "sample", 43, 1),
    _row("maf", "train", 6, quick=True),
    _row("maf", "train", 43),
    _row("realnvp", "train", 6, quick=True),
    _row("realnvp", "train", 43),
    Row(
        "gpu-train-43",
        "spline couplings, D = 43, on a GPU: training step, 65,536 rows",
        partial(_on_gpu, _GPU),
        _GPU,
    ),
    Row(
        "deep-train-43",
        "64 spline couplings, D = 43: training step, 512 rows",
        partial(_deep, 43, 64, 512),
    ),
    Row(
        "layers-train-43",
        "spline couplings, D = 43: training step, 512 rows, by layers",
        partial(_by_layers, 43, 512),
    ),
    Row(
        "rows-log_prob-6",
        "spline couplings, D = 6: log_prob by number of rows",
        partial(_by_rows, 6, (10_000, 100_000, 1_000_000)),
    ),
)
