"""Held-out density of plain tables: defaults beside scikit-learn's mixtures and kernels.

Everyone gets the same rows with the same seeded jitter of one resolution step of each column, and
again with half of it: the ranking must not depend on it. Columns with atoms or exact dependence are
left out and listed (``uci_sets.py`` says by which rules).
"""

from __future__ import annotations

import quiet_threads  # noqa: F401

# isort: split

import argparse
import hashlib
import json
import math
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy
import polars
import torch

import pushforward as pf
import uci_peers
import uci_sets
from competitors import Fitted
from results import (
    Record,
    add_data_option,
    add_flow_options,
    add_result_options,
    parse_pairs,
    parse_with_data,
    print_table,
)
from table_sets import TableSet
from uci_peers import PEERS
from uci_sets import FEWEST_COLUMNS, SETS, load_table, split_rows

OURS = "pushforward"
SECONDS = 300.0  # of ours a set, at most
HEAD = ("", "nats a row", "±", "ours less theirs", "±", "seconds", "")


class Cache:
    """Results of fits that were done before, one file each; without a folder it keeps nothing.

    What is kept belongs to the source that made it: the package's, or that of ``uci_peers.py``.
    """

    def __init__(self, folder: str):
        self._folder = Path(folder) if folder else None

    def path(self, **key: Any) -> Path | None:
        """The file of a fit."""
        if self._folder is None:
            return None
        key["source"] = _source(key["method"])
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
        return self._folder / f"{key['table']}-{key['jitter']:g}-{key['seed']}-{digest}.npz"

    def read(self, path: Path | None) -> Fitted | None:
        """The fit that is there, or None."""
        if path is None or not path.exists():
            return None
        with numpy.load(path) as file:
            facts = json.loads(str(file["facts"]))
            return Fitted(file["log_prob"], facts["parameters"], facts["seconds"], facts["facts"])

    def write(self, path: Path | None, fitted: Fitted) -> None:
        """Keep a fit."""
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {
            "parameters": fitted.parameters,
            "seconds": fitted.seconds,
            "facts": fitted.facts,
        }
        numpy.savez(path, log_prob=fitted.log_prob, facts=json.dumps(facts, default=str))


def main() -> int:
    options = _options()
    torch.set_num_threads(options.threads)
    record = Record(options.name, options)
    missed: list[str] = []
    for name in options.sets:
        table = load_table(name, Path(options.data))
        _say_what(table)
        if len(table.names) < FEWEST_COLUMNS and not options.single:
            record.add(
                "held-out log-density",
                None,
                unit="nats a row",
                table=name,
                columns=table.names,
                left_out=dict(table.left_out),
                why=f"fewer than {FEWEST_COLUMNS} columns are left",
            )
            print(f"the set is left out: fewer than {FEWEST_COLUMNS} columns are left")
            continue
        for seed in options.seeds:
            runs = {}
            for share in options.jitters:
                runs[share] = _everyone(table, share, seed, options)
                _note(record, table, share, seed, runs[share], missed)
            missed += _changed(f"{name}, seed {seed}", runs)
    record.note(missed=missed)
    print(f"\nwritten to {record.write().name}")
    for line in missed:
        print(f"MISSED: {line}")
    if not missed:
        print("ours is the best everywhere, and half the jitter does not change that")
    return 1 if missed else 0


def _everyone(
    table: TableSet, share: float, seed: int, options: argparse.Namespace
) -> dict[str, Fitted]:
    x = table.jittered(share, seed)
    seen, test = split_rows(len(x), seed)
    cache, fitted = Cache(options.cache), {}
    for method in (*options.competitors, OURS):
        key: dict[str, Any] = {"small": options.small, "columns": table.names}
        if method == OURS:
            key = {"flow": options.flow, "set": options.set, "fit": options.fit}
        path = cache.path(table=table.name, jitter=share, method=method, seed=seed, **key)
        found = cache.read(path)
        if found is None:
            if method == OURS:
                found = _ours(table, x[seen], x[test], seed, options)
            else:
                found = PEERS[method](x[seen], x[test], seed, options.small)
            cache.write(path, found)
        fitted[method] = found
        print(
            f"  {method}: {found.log_prob.mean():.4f} nats a row in {found.seconds:.1f} s",
            flush=True,
        )
    return fitted


def _ours(
    table: TableSet,
    seen: numpy.ndarray,
    test: numpy.ndarray,
    seed: int,
    options: argparse.Namespace,
) -> Fitted:
    """TableFlow with its defaults; it holds out rows for validation itself."""
    frame = polars.DataFrame(seen, schema=list(table.names))
    began = time.perf_counter()
    flow = pf.TableFlow(options.flow, settings=parse_pairs(options.set), seed=seed)
    flow.fit(frame, progress=False, **parse_pairs(options.fit))
    seconds = time.perf_counter() - began
    log_prob = flow.log_prob(polars.DataFrame(test, schema=list(table.names)))
    facts = {
        "choice": flow.choice,
        "settings": flow.history.settings,
        "steps": flow.history.evaluations[-1].step,
        "stopped": flow.history.stopped,
        "validation_nats": flow.report["nats"],
        "reference_validation_nats": flow.report["reference_nats"],
    }
    return Fitted(log_prob, sum(p.numel() for p in flow.flow.parameters()), seconds, facts)


def _note(
    record: Record,
    table: TableSet,
    share: float,
    seed: int,
    fitted: dict[str, Fitted],
    missed: list[str],
) -> None:
    """Print who is best, keep the figures, and say where ours is not."""
    order = sorted(fitted, key=lambda name: -fitted[name].log_prob.mean())
    ours, lines = fitted[OURS], []
    for place, name in enumerate(order, 1):
        one = fitted[name]
        mean, error = _mean(one.log_prob)
        gap, gap_error = _mean(ours.log_prob - one.log_prob)
        record.add(
            "held-out log-density",
            mean,
            unit="nats a row",
            standard_error=error,
            table=table.name,
            columns=table.names,
            left_out=dict(table.left_out),
            resolution=dict(zip(table.names, table.resolution.tolist(), strict=True)),
            jitter_steps=share,
            rows=len(table.x),
            seed=seed,
            competitor=name,
            place=place,
            ours_less_theirs=gap,
            ours_less_theirs_standard_error=gap_error,
            parameters=one.parameters,
            seconds=round(one.seconds, 1),
            **one.facts,
        )
        if gap < 0.0:
            missed.append(
                f"{table.name}, seed {seed}, jitter {share:g}: {name} is better by {-gap:.4f} ± "
                f"{gap_error:.4f} nats"
            )
        beside = ("", "") if name == OURS else (f"{gap:+.4f}", f"{gap_error:.4f}")
        figures = (f"{mean:.4f}", f"{error:.4f}", *beside, f"{one.seconds:.0f}", _how(one))
        lines.append([name, *figures])
    if ours.seconds > SECONDS:
        missed.append(f"{table.name}, seed {seed}, jitter {share:g}: {ours.seconds:.0f} s")
    record.write()
    print(f"\n{table.name}, seed {seed}, jitter of {share:g} steps")
    print_table(HEAD, lines)


def _how(fitted: Fitted) -> str:
    """What was chosen."""
    facts = fitted.facts
    if "components" in facts:
        return f"{facts['components']} components, {facts['scale']}"
    if "bandwidth" in facts:
        return f"bandwidth {facts['bandwidth']:.3g}"
    return f"{facts['steps']} steps, {facts['stopped']}"


def _mean(values: numpy.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def _changed(what: str, runs: dict[float, dict[str, Fitted]]) -> list[str]:
    """Pairs that change places with the jitter, by more than chance in both places."""
    missed = []
    for (share, one), (other_share, other) in combinations(runs.items(), 2):
        for a, b in combinations(one, 2):
            gaps = [_mean(run[a].log_prob - run[b].log_prob) for run in (one, other)]
            certain = all(abs(gap) > 2.0 * error for gap, error in gaps)
            if certain and gaps[0][0] * gaps[1][0] < 0.0:
                missed.append(
                    f"{what}: {a} and {b} change places between jitter {share:g} and "
                    f"{other_share:g} ({gaps[0][0]:+.4f} and {gaps[1][0]:+.4f} nats)"
                )
    return missed


def _say_what(table: TableSet) -> None:
    print(f"\n{table.name}: {len(table.x)} rows, {len(table.names)} columns")
    steps = zip(table.names, table.resolution, strict=True)
    print("steps: " + ", ".join(f"{name} {step:.3g}" for name, step in steps))
    for name, reason in table.left_out:
        print(f"left out: {name} ({reason})")


def _source(method: str) -> str:
    """Digest of the source that a fit depends on."""
    paths = [Path(uci_peers.__file__), Path(uci_sets.__file__)]
    if method == OURS:
        paths = [Path(uci_sets.__file__), *sorted(Path(pf.__file__).parent.rglob("*.py"))]
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser, "uci_tables/")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        *("--jitters", "--jitter"), nargs="+", type=float, default=[1.0, 0.5], help="in steps"
    )
    parser.add_argument("--competitors", nargs="*", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", default="", help="folder of fits that need not be done again")
    parser.add_argument(
        "--single", action="store_true", help="sets of one column, too; for information"
    )
    add_flow_options(parser)
    add_result_options(parser, "uci_tables")
    return parse_with_data(parser)


if __name__ == "__main__":
    sys.exit(main())
