"""Every recipe with its defaults on three densities: what it reaches, and what it costs.

For each recipe and density: held-out nats a row with their standard error, seconds for 1 000 rows
forward (data to latent), inverse and in a training step, number of parameters. Every recipe gets
the same rows, the same rows a step and the same time; recipes whose steps are cheap take more of
them, up to a limit.
"""

from __future__ import annotations

import quiet_threads  # noqa: F401

# isort: split

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pushforward as pf
from pushforward.data.toys import TOYS
from pushforward.flows import RECIPES
from results import Record, add_result_options, parse_pairs, print_table
from table_sets import load_set

SETS = ("two_moons", "mixture_10d", "power")
HEAD = (
    *("recipe", "nats a row", "±", "start", "below truth", "steps", "stopped"),
    *("forward", "inverse", "step", "parameters"),
)
TRIAL = 12  # steps whose time says how many fit into the budget


@dataclass(frozen=True)
class Rows:
    """Rows to learn from and rows held out; the truth's log-density of those, where it is known."""

    train: Tensor
    test: Tensor
    truth: Tensor | None


def main() -> int:
    options = _options()
    torch.set_num_threads(options.threads)
    record = Record(options.name, options)
    complete = True
    for name in options.sets:
        rows = load(name, options)
        dimension = rows.train.shape[1]
        print(
            f"\n{name}: {len(rows.train)} rows to learn, {len(rows.test)} held out, {dimension}-D"
        )
        lines: list[list[Any]] = []
        for recipe in options.recipes or sorted(RECIPES):
            line = measure(record, name, recipe, rows, options)
            complete &= line is not None
            if line is not None:
                lines.append(line)
                print("  ".join(map(str, line)), flush=True)
            record.write()
        print()
        print_table(HEAD, sorted(lines, key=lambda line: -float(line[1])))
    print(f"\nwritten to {record.write().name}")
    return 0 if complete else 1


def load(name: str, options: argparse.Namespace) -> Rows:
    """Rows of a set by its name, shuffled by the seed."""
    if name == "power":
        table = load_set("power", Path(options.data))
        x = torch.from_numpy(table.jittered(1.0, options.seed))
        x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(options.seed))]
        return Rows(x[options.test :][: options.rows], x[: options.test], None)
    if name == "two_moons":
        toy = TOYS[name]
        test = toy.sample(options.test, seed=1_000_003, dtype=torch.float64)
        train = toy.sample(options.rows, seed=options.seed, dtype=torch.float64)
        return Rows(train, test, toy.log_prob(test))
    density = mixture_10d()
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        train, test = density.sample((options.rows,)), density.sample((options.test,))
    return Rows(train, test, density.log_prob(test))


def mixture_10d() -> torch.distributions.Distribution:
    """Five normal densities with full covariances in ten dimensions; always the same."""
    generator = torch.Generator().manual_seed(10)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    lower = draw(5, 10, 10).tril(-1) * 0.3
    factors = lower + torch.diag_embed((0.3 * draw(5, 10)).exp())
    parts = torch.distributions.MultivariateNormal(2.0 * draw(5, 10), scale_tril=factors)
    shares = torch.distributions.Categorical(torch.tensor([0.3, 0.25, 0.2, 0.15, 0.1]).double())
    return torch.distributions.MixtureSameFamily(shares, parts)


def measure(
    record: Record, name: str, recipe: str, rows: Rows, options: argparse.Namespace
) -> list[Any] | None:
    """Train one recipe on one set, and note what came of it."""
    wrap, offset = _angles(rows.train) if recipe == "ncsf" else (lambda x: x, 0.0)
    train, test = wrap(rows.train), wrap(rows.test)
    settings = parse_pairs(options.set)
    build = partial(RECIPES[recipe].build, train.shape[1], seed=options.seed, **settings)
    fit: dict[str, Any] = {"batch_size": options.batch, "progress": False, "seed": options.seed}
    some = train[: TRIAL * options.batch]
    took = pf.fit(build(), some, steps=TRIAL, validation=0, **fit).seconds / TRIAL
    steps = max(TRIAL, min(options.steps, int(options.seconds / took)))
    flow = build()
    flow.fit(train)
    start = held_out(flow, test)[0] + offset
    history = pf.fit(flow, train, steps=steps, **fit)
    taken = history.evaluations[-1].step
    step = history.seconds / max(1, taken) * 1000 / options.batch
    value, error = held_out(flow, test)
    value += offset
    x = test[:1000].float()
    with torch.no_grad():
        z = flow.encode(x)
        forward = seconds(lambda: flow.log_prob(x))
        inverse = seconds(lambda: flow.decode(z))
    parameters = sum(p.numel() for p in flow.parameters())
    below = math.nan if rows.truth is None else float(rows.truth.mean()) - value
    record.add(
        f"{name}: {recipe}",
        value,
        unit="nats a row, held out; higher is better",
        standard_error=error,
        start=start,
        below_truth=None if rows.truth is None else below,
        exactness=flow.exactness,
        forward_seconds_per_1000=forward,
        inverse_seconds_per_1000=inverse,
        training_step_seconds_per_1000=step,
        parameters=parameters,
        steps=taken,
        stopped=history.stopped,
        seconds=history.seconds,
    )
    line = (value, error, start, below)
    times = (forward, inverse, step)
    return [
        recipe,
        *(f"{number:.3f}" for number in line),
        taken,
        history.stopped,
        *(f"{number:.4f}" for number in times),
        parameters,
    ]


def held_out(flow: pf.Flow, test: Tensor) -> tuple[float, float]:
    """Mean log-density of held-out rows in float64, and its standard error."""
    import copy

    exact = copy.deepcopy(flow).double().eval()
    with torch.no_grad():
        log_p = torch.cat([exact.log_prob(rows) for rows in test.split(1000)])
    return float(log_p.mean()), float(log_p.std()) / math.sqrt(len(log_p))


def seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Median of a few calls, after one that does not count."""
    call()
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def _angles(x: Tensor) -> tuple[Callable[[Tensor], Tensor], float]:
    """Columns that are no angles, laid on a part of the circle, and the logdet of that."""
    low, high = x.min(0).values, x.max(0).values
    middle, scale = (low + high) / 2, 0.9 * math.pi / ((high - low) / 2)
    return lambda rows: (rows - middle) * scale, float(scale.log().sum())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("PUSHFORWARD_DATA", "."))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--recipes", nargs="+", choices=sorted(RECIPES), default=[])
    parser.add_argument("--rows", type=int, default=20_000, help="to learn from (%(default)s)")
    parser.add_argument("--test", type=int, default=5_000, help="held out (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of training each")
    parser.add_argument("--steps", type=int, default=2_000, help="of training at most")
    parser.add_argument("--batch", type=int, default=512, help="rows a step (%(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of the recipes")
    add_result_options(parser, "recipes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
