"""Conditional densities on the UCI regression sets: the regressor beside three kinds of rivals.

Everyone gets the rows of the published splits, standardizes by its training rows, and is scored by
the log-density of the test targets in their own unit, and by how many of them its central 90 %
intervals hold. The rivals are a heteroscedastic Gaussian network, a mixture density network and
gradient boosting of quantiles. The networks count single, as they are usually used, and as
ensembles of as many members as the regressor has; boosting, which adds up hundreds of trees already
and takes longest, as an ensemble only with --boosting-members. By default all 20 splits count for
the sets of about 1000 rows, and the first 5 for the two of nearly 10 000, the same for everybody.
With --cache what was done is kept, so that a run that broke off goes on from there.
"""

from __future__ import annotations

import quiet_threads  # noqa: F401

# isort: split

import argparse
import json
import math
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch

import pushforward as pf
from regression_rivals import RIVALS, Scores, Trial
from regression_rivals.trial import LEVEL
from results import Record, add_data_option, add_result_options, parse_with_data, print_table

OURS = "pushforward"
SETS = ("bostonHousing", "concrete", "energy", "kin8nm", "power-plant", "yacht")
SPLITS, MANY_ROWS, SPLITS_OF_MANY = 20, 5000, 5
WINS, COVERAGE = 5, (0.88, 0.92)
HEAD = ("", "nats a row", "±", "ours less theirs", "±", "in 90 %", "spikes", "s a split")


@dataclass(frozen=True)
class Target:
    """A set with its published splits.

    Attributes:
        name: of the set.
        x, y: rows ``(n, d)`` and targets ``(n,)``, in the units they came in.
        test: row numbers ``(splits, n_test)``; all other rows train.
        step: smallest distance of two targets. A density above 1 / step says more than the
            figures in the table do: a spike.
    """

    name: str
    x: numpy.ndarray
    y: numpy.ndarray
    test: numpy.ndarray
    step: float

    def trial(self, split: int, options: argparse.Namespace) -> Trial:
        """The rows of one split; targets moved by up to half of ``--jitter`` steps."""
        noise = numpy.random.default_rng([options.seed, 3]).uniform(-0.5, 0.5, len(self.y))
        y = self.y + options.jitter * self.step * noise
        test = self.test[split]
        train = numpy.setdiff1d(numpy.arange(len(y)), test)
        return Trial(
            self.x[train],
            y[train],
            self.x[test],
            y[test],
            seed=options.seed + split,
            members=options.members,
            boosting_members=options.boosting_members,
        )


@dataclass
class Figures:
    """Of one method on one set, an entry for each split."""

    nats: list[float] = field(default_factory=list)
    coverage: list[float] = field(default_factory=list)
    spikes: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)  # of the first split


def main() -> int:
    options = _options()
    _limit_threads(options.threads)
    record = Record(options.name, options)
    tables = {}
    for name in options.sets:
        target = load(name, Path(options.data))
        count = options.splits or (SPLITS if len(target.y) < MANY_ROWS else SPLITS_OF_MANY)
        splits = range(options.first, min(options.first + count, len(target.test)))
        print(
            f"\n{name}: {len(target.y)} rows, {target.x.shape[1]} columns, "
            f"{len(numpy.unique(target.y))} distinct targets, {len(splits)} splits",
            flush=True,
        )
        tables[name] = _race(target, splits, options)
        _note(record, target, splits, tables[name])
    missed = _verdicts(tables)
    record.note(missed=missed)
    print(f"\nwritten to {record.write().name}")
    for line in missed:
        print(f"MISSED: {line}")
    return 1 if missed else 0


def load(name: str, folder: Path) -> Target:
    """Load a set from the folder of the data."""
    with numpy.load(folder / "uci_regression" / f"{name}.npz") as file:
        x, y = file["X"].astype(numpy.float64), file["y"].astype(numpy.float64)
        test = file["test_index"]
    gaps = numpy.diff(numpy.unique(y))
    return Target(name, x, y, test, float(gaps[gaps > 1e-9 * y.std()].min()))


def _ours(trial: Trial) -> dict[str, Scores]:
    """The regressor with its defaults."""
    began = time.perf_counter()
    model = pf.FlowRegressor(random_state=trial.seed).fit(trial.x, trial.y)
    log_prob = numpy.asarray(model.log_prob(trial.x_test, trial.y_test)).reshape(-1)
    interval = numpy.asarray(model.predict_interval(trial.x_test, LEVEL)).reshape(len(log_prob), 2)
    covered = (trial.y_test >= interval[:, 0]) & (trial.y_test <= interval[:, 1])
    return {"": Scores(log_prob, covered, time.perf_counter() - began)}


def _race(target: Target, splits: range, options: argparse.Namespace) -> dict[str, Figures]:
    """Everyone on every split, from the cache where it was done before."""
    found: dict[str, Figures] = {}
    for method in (OURS, *options.rivals):
        for split in splits:
            for kind, kept in _once(target, split, method, options).items():
                figures = found.setdefault(f"{method}, {kind}" if kind else method, Figures())
                for name in ("nats", "coverage", "spikes", "seconds"):
                    getattr(figures, name).append(kept[name])
                figures.facts = figures.facts or kept["facts"]
    return found


def _once(
    target: Target, split: int, method: str, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """One method on one split: mean nats, coverage, spikes and seconds of each of its kinds."""
    members = {OURS: 0, "quantile boosting": options.boosting_members}.get(method, options.members)
    identity = f"{options.seed}-{members}-{options.jitter:g}"
    words = (target.name, str(split), method.replace(" ", "-"), identity)
    path = Path(options.cache) / f"{'_'.join(words)}.json" if options.cache else None
    if path and path.exists() and not (method == OURS and options.again):
        return json.loads(path.read_text())
    trial = target.trial(split, options)
    kept = {}
    for kind, scores in (_ours(trial) if method == OURS else RIVALS[method](trial)).items():
        if not numpy.isfinite(scores.log_prob).all():
            raise SystemExit(f"{target.name}, split {split}: {method} gave densities not finite")
        kept[kind] = {
            "nats": float(scores.log_prob.mean()),
            "coverage": float(scores.covered.mean()),
            "spikes": float((scores.log_prob > -math.log(target.step)).mean()),
            "seconds": scores.seconds,
            "facts": scores.facts,
        }
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kept) + "\n")
    shown = ", ".join(f"{kind} {k['nats']:.3f}".strip() for kind, k in kept.items())
    print(f"  {method}, split {split}: {shown}", flush=True)
    return kept


def _note(record: Record, target: Target, splits: range, found: dict[str, Figures]) -> None:
    """Print the ranking on one set, the best first, and keep its figures."""
    ours = found[OURS]
    lines = []
    for method in sorted(found, key=lambda m: -statistics.fmean(found[m].nats)):
        figures = found[method]
        nats, error = _mean(figures.nats)
        gap, gap_error = _mean([a - b for a, b in zip(ours.nats, figures.nats, strict=True)])
        coverage, coverage_error = _mean(figures.coverage)
        record.add(
            "mean test log-density",
            nats,
            unit="nats a row, of y in its own unit",
            standard_error=error,
            set=target.name,
            rows=len(target.y),
            distinct_targets=len(numpy.unique(target.y)),
            step=target.step,
            splits=list(splits),
            method=method,
            ours_less_theirs=gap if method != OURS else None,
            ours_less_theirs_standard_error=gap_error if method != OURS else None,
            coverage_of_90_percent=coverage,
            coverage_standard_error=coverage_error,
            share_above_one_over_step=statistics.fmean(figures.spikes),
            **{k: v for k, v in asdict(figures).items() if k != "spikes"},
        )
        lines.append(
            [
                method,
                f"{nats:.4f}",
                f"{error:.4f}",
                f"{gap:+.4f}" if method != OURS else "",
                f"{gap_error:.4f}" if method != OURS else "",
                f"{coverage:.1%}",
                f"{statistics.fmean(figures.spikes):.1%}",
                f"{statistics.fmean(figures.seconds):.1f}",
            ]
        )
    record.write()
    print()
    print_table(HEAD, lines)


def _mean(values: list[float]) -> tuple[float, float]:
    """Mean and its standard error over the splits, 0 for one split."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return statistics.fmean(values), spread / math.sqrt(len(values))


def _verdicts(tables: dict[str, dict[str, Figures]]) -> list[str]:
    """What is missed; ensembles of the rivals are more than was asked for, and are only told."""
    for kind in ("single", "ensemble"):
        best = {}
        for name, found in tables.items():
            rivals = {m: _mean(f.nats)[0] for m, f in found.items() if m.endswith(kind)}
            if rivals:
                best[name] = _mean(found[OURS].nats)[0] - max(rivals.values())
        won = [name for name, gap in best.items() if gap > 0]
        print(f"\nabove every {kind} rival on {len(won)} of {len(best)}: {', '.join(won)}")
        if kind == "single":
            lost = [f"{name} by {-gap:.3f}" for name, gap in best.items() if gap <= 0]
    coverage = statistics.fmean(_mean(found[OURS].coverage)[0] for found in tables.values())
    print(f"90 % intervals hold {coverage:.1%} of the test targets on average over the sets")
    missed = []
    if len(lost) > max(0, len(tables) - WINS) or (len(tables) < WINS and lost):
        missed.append(f"a single rival is better on {', '.join(lost)}")
    if not COVERAGE[0] <= coverage <= COVERAGE[1]:
        missed.append(f"90 % intervals hold {coverage:.1%}, expected 88 to 92 %")
    return missed


def _limit_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    if hasattr(os, "sched_setaffinity"):  # the only limit that every library keeps
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser, "uci_regression/")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--rivals", nargs="*", choices=list(RIVALS), default=list(RIVALS))
    parser.add_argument(
        "--splits",
        type=int,
        default=0,
        help=f"number of splits of each set (default: {SPLITS}, {SPLITS_OF_MANY} of large ones)",
    )
    parser.add_argument("--first", type=int, default=0, help="split to begin with")
    parser.add_argument(
        "--jitter",
        type=float,
        default=0.0,
        help="noise on all targets, in their steps: the ranking must not depend on it",
    )
    parser.add_argument("--members", type=int, default=5, help="of the rivals' ensembles")
    parser.add_argument(
        "--boosting-members",
        type=int,
        default=1,
        help="of an ensemble of boosted quantiles, which takes as many times as long",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", default="", help="folder where each finished run is kept")
    parser.add_argument(
        "--again", action="store_true", help="run ours again; of the rivals use what is kept"
    )
    add_result_options(parser, "regression")
    return parse_with_data(parser, ["uci_regression"])


if __name__ == "__main__":
    sys.exit(main())
