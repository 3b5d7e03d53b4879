"""Distance between a known density and what was learned from 20 000 of its points.

KL(truth || flow) in nats, from fresh points of the truth: the mean of the truth's log-density
less the flow's, which is exact but for the sampling error that is printed beside it.
"""

from __future__ import annotations

import quiet_threads  # noqa: F401

# isort: split

import argparse
import math
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch

import pushforward as pf
from pushforward.data.toys import TOYS, Toy
from results import Record, add_result_options, parse_pairs, print_table

SECONDS = 60.0  # of training at most, on two threads
STANDARD_ERROR = 0.003  # of each figure at most
FRESH_SEED = 1_000_003  # far from the seeds of the training points


@dataclass(frozen=True)
class Task:
    """A toy, how many of its points are seen, and how near the flow must come (nats)."""

    toy: str
    rows: int
    limit: float


TASKS = (
    Task("eight_gaussians", 20_000, 0.015),
    Task("two_moons", 20_000, 0.015),
    Task("banana", 20_000, 0.015),
    Task("pinwheel", 20_000, 0.015),
    Task("rings", 20_000, 0.05),
    Task("checkerboard", 20_000, 0.05),
    Task("two_moons", 2_000, 0.04),
)

HEAD = (
    *("toy", "rows", "seed", "KL", "±", "of it worst 0.1%", "limit"),
    *("seconds", "of processor", "steps", "stopped", "parameters", ""),
)


@dataclass(frozen=True)
class Outcome:
    """What one training brought."""

    kl: float
    standard_error: float
    worst_thousandth: float
    seconds: float
    processor_seconds: float
    steps: int
    stopped: str
    parameters: int
    recipe: str


def main() -> int:
    options = _options()
    torch.set_num_threads(options.threads)
    wanted = [t for t in TASKS if t.toy in (options.toys or TOYS)]
    if options.rows:  # each toy once
        limits = {t.toy: t.limit for t in reversed(wanted)}
        wanted = [Task(name, options.rows, limits[name]) for name in TOYS if name in limits]
    record = Record(options.name, options)
    lines: list[list[Any]] = []
    kept = True
    for task in wanted:
        for seed in options.seeds:
            outcome = measure(task, seed, options)
            good, line = _judge(record, task, seed, outcome, options.seconds)
            kept &= good
            lines.append(line)
            print("  ".join(map(str, line)), flush=True)
            record.write()
    print()
    print_table(HEAD, lines)
    print(f"\nwritten to {record.write().name}; " + ("all kept" if kept else "a limit is missed"))
    return 0 if kept else 1


def measure(task: Task, seed: int, options: argparse.Namespace) -> Outcome:
    """Train with defaults on seeded points of a toy, and measure on fresh ones."""
    toy = TOYS[task.toy]
    points = toy.sample(task.rows, seed=seed)
    began, began_on_processor = time.perf_counter(), time.process_time()
    table = pf.TableFlow(options.flow, settings=parse_pairs(options.set), seed=seed)
    table.fit(points.numpy(), progress=False, **parse_pairs(options.fit))
    seconds = time.perf_counter() - began
    processor_seconds = time.process_time() - began_on_processor
    kl, error, worst = divergence(toy, table, options.fresh)
    history = table.history
    return Outcome(
        kl=kl,
        standard_error=error,
        worst_thousandth=worst,
        seconds=seconds,
        processor_seconds=processor_seconds,
        steps=history.evaluations[-1].step,
        stopped=history.stopped,
        parameters=sum(p.numel() for p in table.flow.parameters()),
        recipe=table.choice["recipe"],
    )


def divergence(toy: Toy, table: pf.TableFlow, rows: int) -> tuple[float, float, float]:
    """KL(truth || flow), its standard error, and the part of it that comes from few points, nats.

    The few are the thousandth of the points with the largest gaps: a large part is a flow that
    fails far out, a small one a flow that is a little off everywhere. More points are drawn if
    the standard error is too large.
    """
    gaps: list[torch.Tensor] = []
    while True:
        fresh = toy.sample(rows, seed=FRESH_SEED + len(gaps), dtype=torch.float64)
        gaps.append(toy.log_prob(fresh) - torch.from_numpy(table.log_prob(fresh.numpy())))
        if not gaps[-1].isfinite().all():
            raise SystemExit(f"{toy.name}: the flow's log-density is not finite somewhere")
        gap = torch.cat(gaps)
        error = float(gap.std() / math.sqrt(len(gap)))
        if error <= STANDARD_ERROR or len(gaps) == 10:
            worst = gap.topk(max(1, len(gap) // 1000)).values.sum() / len(gap)
            return float(gap.mean()), error, float(worst)


def _judge(
    record: Record, task: Task, seed: int, outcome: Outcome, seconds: float
) -> tuple[bool, list[Any]]:
    near = record.add(
        "KL(truth || flow)",
        outcome.kl,
        unit="nats",
        standard_error=outcome.standard_error,
        limit=task.limit,
        from_worst_thousandth=outcome.worst_thousandth,
        toy=task.toy,
        rows=task.rows,
        seed=seed,
        seconds=round(outcome.seconds, 1),
        seconds_limit=seconds,
        processor_seconds=round(outcome.processor_seconds, 1),
        steps=outcome.steps,
        stopped=outcome.stopped,
        parameters=outcome.parameters,
        recipe=outcome.recipe,
    )
    wrong = [
        word
        for word, bad in (
            ("TOO FAR", not near),
            ("TOO SLOW", outcome.seconds > seconds),
            ("UNSURE", outcome.standard_error > STANDARD_ERROR),
        )
        if bad
    ]
    line = [
        task.toy,
        task.rows,
        seed,
        f"{outcome.kl:.4f}",
        f"{outcome.standard_error:.4f}",
        f"{outcome.worst_thousandth:.4f}",
        task.limit,
        f"{outcome.seconds:.1f}",
        f"{outcome.processor_seconds:.1f}",
        outcome.steps,
        outcome.stopped,
        outcome.parameters,
        ", ".join(wrong),
    ]
    return not wrong, line


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toys", nargs="+", choices=sorted(TOYS), help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=0, help="in the place of each task's own")
    parser.add_argument("--fresh", type=int, default=200_000, help="points measured on")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="limit of each training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--flow", default="auto", help="recipe")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="arguments of the recipe"
    )
    parser.add_argument(
        "--fit", nargs="+", default=[], metavar="KEY=VALUE", help="arguments of pf.fit"
    )
    add_result_options(parser, "fidelity")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
