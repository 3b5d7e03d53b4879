"""Outlier detection on the tables of ADBench: ours with its defaults, beside five detectors.

Two protocols. ``novelty``: half of the normal rows to learn from; the other half and all anomalies
to score. ``unsupervised``: all rows, anomalies among them, to learn from and to score. Labels serve
for nothing but the area under the ROC curve.

Everyone gets the same rows. Columns come in standard deviations of the training rows for every
method but ours, which scales them itself: for neighbours and mixtures the scale matters, for
forests and ECOD it does not. Nothing else is prepared: constant columns, discrete columns and
duplicate rows stay. Everyone has its defaults; see ``outlier_methods.py``.

Large tables are cut, for everyone alike, by a draw with the seed: ``--train-rows`` to learn from
(unsupervised: to learn from and to score), where the share of the anomalies stays, but at least a
hundred of them; ``--test-rows`` of the normal rows to score, and as many anomalies at most (the
area under the curve does not depend on their ratio).

A method that fails on a table gets 0.5 there, what a coin gets, and is listed as failed.
"""

from __future__ import annotations

import quiet_threads  # noqa: F401

# isort: split

import argparse
import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from outlier_methods import METHODS, OURS, Task
from results import Record, add_data_option, add_result_options, parse_with_data, print_table

PROTOCOLS = ("novelty", "unsupervised")
LEAST_ANOMALIES = 100  # that stay where a table is cut
CHANCE = 0.5
Outcomes = dict[tuple[str, str], list[dict[str, Any]]]  # by set and method, one of each seed


def main() -> int:
    options = _options()
    torch.set_num_threads(options.threads)
    record = Record(options.name, options)
    missed: list[str] = []
    for protocol in options.protocols:
        outcomes: Outcomes = {}
        for name in options.sets:
            x, anomaly = load(Path(options.data), name)
            for method in options.only:
                outcomes[name, method] = [
                    _outcome(x, anomaly, name, protocol, method, seed, options)
                    for seed in options.seeds
                ]
            _say(protocol, name, options.only, outcomes)
        missed += _summarize(record, protocol, outcomes, options)
        record.write()
    record.note(missed=missed)
    print(f"\nwritten to {record.write().name}")
    for miss in missed:
        print(f"MISSED: {miss}")
    return 1 if missed else 0


def load(folder: Path, name: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Rows as float64, and whether each is an anomaly."""
    with numpy.load(folder / "adbench" / f"{name}.npz") as file:
        return file["X"].astype(numpy.float64), file["y"].astype(bool)


def make_task(
    x: numpy.ndarray,
    anomaly: numpy.ndarray,
    protocol: str,
    seed: int,
    train_rows: int = 20_000,
    test_rows: int = 10_000,
) -> Task:
    """Draw the rows of one job; the same for every method."""
    draw = numpy.random.default_rng([seed, 28])
    normal, odd = (
        draw.permutation(numpy.where(~anomaly)[0]),
        draw.permutation(numpy.where(anomaly)[0]),
    )
    if protocol == "novelty":
        half = len(normal) // 2
        train = normal[: min(half, train_rows)]
        test = numpy.concatenate((normal[half : half + test_rows], odd[:test_rows]))
        return Task(x[train], x[test], anomaly[test], seed)
    if len(x) > train_rows:
        kept = max(round(train_rows * len(odd) / len(x)), min(LEAST_ANOMALIES, len(odd)))
        odd, normal = odd[:kept], normal[: train_rows - kept]
    rows = draw.permutation(numpy.concatenate((normal, odd)))
    both = x[rows]
    return Task(both, both, anomaly[rows], seed)


def _outcome(
    x: numpy.ndarray,
    anomaly: numpy.ndarray,
    name: str,
    protocol: str,
    method: str,
    seed: int,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """The figures of one job, from the cache where it was done before; failures are retried."""
    file = Path(options.cache or ".") / f"{protocol}-{name}-{method}-{seed}.json"
    sizes = [options.train_rows, options.test_rows]
    if options.cache and file.exists():
        kept: dict[str, Any] = json.loads(file.read_text())
        if kept["sizes"] == sizes and not kept["failure"]:
            return kept
    task = make_task(x, anomaly, protocol, seed, *sizes)
    began = time.perf_counter()
    failure, area, precision = "", CHANCE, float(task.anomaly.mean())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = METHODS[method](task)
        if not numpy.isfinite(scores).all():
            raise ValueError(f"{(~numpy.isfinite(scores)).sum()} scores are not finite")
        area = float(roc_auc_score(task.anomaly, scores))
        precision = float(average_precision_score(task.anomaly, scores))
    except Exception as error:  # whatever it is, it is a figure of this method
        failure = f"{type(error).__name__}: {error}"
        print(f"  {protocol}, {name}, seed {seed}: {method} failed: {failure}", flush=True)
    outcome = {
        "area": area,
        "average_precision": precision,
        "seconds": round(time.perf_counter() - began, 3),
        "rows": [len(task.train), len(task.test)],
        "columns": x.shape[1],
        "sizes": sizes,
        "failure": failure,
    }
    if options.cache:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(outcome) + "\n")
    return outcome


def _say(protocol: str, name: str, methods: Sequence[str], outcomes: Outcomes) -> None:
    figures = [f"{method} {_area(outcomes[name, method]):.4f}" for method in methods]
    print(f"{protocol}, {name}: {', '.join(figures)}", flush=True)


def _summarize(
    record: Record, protocol: str, outcomes: Outcomes, options: argparse.Namespace
) -> list[str]:
    """Record and print one protocol; returns what is missed."""
    sets, methods = options.sets, options.only
    areas = {name: {m: _area(outcomes[name, m]) for m in methods} for name in sets}
    places = {name: _places(areas[name]) for name in sets}
    for name in sets:
        for method in methods:
            _add(record, protocol, name, method, outcomes[name, method], places[name][method])
    print()
    rows = [[name, *(f"{areas[name][m]:.4f}" for m in methods)] for name in sets]
    means = {m: statistics.fmean(areas[name][m] for name in sets) for m in methods}
    ranks = {m: statistics.fmean(places[name][m] for name in sets) for m in methods}
    took = {m: sum(o["seconds"] for n in sets for o in outcomes[n, m]) for m in methods}
    rows.append(["mean ROC-AUC", *(f"{means[m]:.4f}" for m in methods)])
    rows.append(["mean rank", *(f"{ranks[m]:.2f}" for m in methods)])
    rows.append(["seconds of all", *(f"{took[m]:.0f}" for m in methods)])
    print_table([protocol, *methods], rows)
    for method in methods:
        failed = [n for n in sets if any(o["failure"] for o in outcomes[n, method])]
        facts = {"protocol": protocol, "method": method, "sets": len(sets), "failed": failed}
        record.add("mean ROC-AUC", means[method], unit="1", **facts)
        record.add("mean rank", ranks[method], unit="1", **facts)
        record.add("time of all", round(took[method], 1), unit="s", **facts)
    return _lost(record, protocol, areas, means)


def _lost(
    record: Record,
    protocol: str,
    areas: Mapping[str, Mapping[str, float]],
    means: Mapping[str, float],
) -> list[str]:
    """Where ours loses, and to whom; returns the methods that it does not beat on average."""
    if OURS not in means:
        return []
    losses = {}
    print()
    for name, of in areas.items():
        better = {m: round(of[m] - of[OURS], 4) for m in of if of[m] > of[OURS]}
        if better:
            losses[name] = dict(sorted(better.items(), key=lambda pair: -pair[1]))
            print(f"{protocol}: ours loses on {name} to {losses[name]}")
    beaten = {m: [n for n in losses if m in losses[n]] for m in means if m != OURS}
    for method, lost in beaten.items():
        print(f"{protocol}: {method} is better than ours on {len(lost)} of {len(areas)} sets")
    record.note(**{f"lost_{protocol}": losses, f"lost_to_{protocol}": beaten})
    missed = []
    for method in beaten:
        gap = means[OURS] - means[method]
        facts = {"protocol": protocol, "method": method}
        if not record.add(
            "mean ROC-AUC of ours less theirs", gap, unit="1", limit=0.0, at_least=True, **facts
        ):
            missed.append(f"{protocol}: {method} is better by {-gap:.4f} on average")
    return missed


def _add(
    record: Record,
    protocol: str,
    name: str,
    method: str,
    outcomes: Sequence[Mapping[str, Any]],
    place: float,
) -> None:
    areas = [o["area"] for o in outcomes]
    error = statistics.stdev(areas) / math.sqrt(len(areas)) if len(areas) > 1 else None
    record.add(
        "ROC-AUC",
        _area(outcomes),
        unit="1",
        standard_error=error,
        set=name,
        protocol=protocol,
        method=method,
        rank=place,
        of_seeds=areas,
        average_precision=statistics.fmean(o["average_precision"] for o in outcomes),
        seconds=round(statistics.fmean(o["seconds"] for o in outcomes), 3),
        rows=dict(zip(("train", "test"), outcomes[0]["rows"], strict=True)),
        columns=outcomes[0]["columns"],
        failures=[o["failure"] for o in outcomes if o["failure"]],
    )


def _area(outcomes: Sequence[Mapping[str, Any]]) -> float:
    return statistics.fmean(o["area"] for o in outcomes)


def _places(areas: Mapping[str, float]) -> dict[str, float]:
    """Rank of each method, 1 the best; equal areas share the mean of their places."""
    return {
        m: 0.5 + sum((a > areas[m]) + 0.5 * (a == areas[m]) for a in areas.values()) for m in areas
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser, "adbench/")
    parser.add_argument("--sets", nargs="+", help="names or beginnings of names (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    parser.add_argument(
        "--only", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="METHOD"
    )
    parser.add_argument("--train-rows", type=int, default=20_000, help="at most")
    parser.add_argument("--test-rows", type=int, default=10_000, help="of either kind, at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", default="", help="folder of finished jobs, to go on with")
    add_result_options(parser, "outliers")
    options = parse_with_data(parser, ["adbench"])
    names = [path.stem for path in Path(options.data).glob("adbench/*.npz")]
    if not names:
        parser.error(f"there are no tables in {options.data}/adbench")
    names.sort(key=lambda name: int(name.split("_")[0]))
    wanted = tuple(options.sets or [""])
    options.sets = [name for name in names if name.startswith(wanted)]
    if not options.sets:
        parser.error(f"no set begins with {', '.join(wanted)}; there are {', '.join(names)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
