"""Held-out density of real tables: pushforward with its defaults, beside other libraries.

Everyone gets the same rows, the same split, the same seeded jitter of one resolution step of each
column; flows get the same batches and the same wall time. The whole is repeated with half the
jitter, since spikes win density races: the ranking must not depend on it.
"""

from __future__ import annotations

import quiet_threads  # noqa: F401

# isort: split

import argparse
import math
import os
import sys
import time
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

import numpy
import polars
import torch

import pushforward as pf
from competitors import COMPETITORS, Fitted, Missing
from competitors.race import HIDDEN, LEARNING_RATES, Race
from results import (
    Record,
    add_data_option,
    add_flow_options,
    add_result_options,
    parse_pairs,
    parse_with_data,
    print_table,
)
from table_sets import LOADERS, Split, TableSet, load_set, split

OURS = "pushforward"
HEAD = ("", "nats a row", "±", "ours less theirs", "±", "parameters", "seconds")


@dataclass(frozen=True)
class Ranking:
    """Test log-densities of everyone, the best first."""

    jitter: float
    fitted: dict[str, Fitted]

    @property
    def order(self) -> list[str]:
        return sorted(self.fitted, key=lambda name: -self.fitted[name].log_prob.mean())

    def difference(self, one: str, other: str) -> tuple[float, float]:
        """Mean of the paired differences and its standard error, nats a row."""
        gap = self.fitted[one].log_prob - self.fitted[other].log_prob
        return float(gap.mean()), float(gap.std(ddof=1) / math.sqrt(len(gap)))


def main() -> int:
    options = _options()
    _limit_threads(options.threads)
    record = Record(options.name, options)
    record.note(
        batches="the same rows in the same order for every flow",
        learning_rates=LEARNING_RATES,
        hidden=HIDDEN,
        flowjax_compilation="not counted in its time",
    )
    verdicts: list[str] = []
    for name in options.sets:
        table = load_set(name, Path(options.data), options.every_column)
        _say_what(table, options.seed)
        rankings = [_race(table, share, options, record, verdicts) for share in options.jitters]
        verdicts += _compare(table.name, rankings)
    record.note(missed=verdicts)
    print(f"\nwritten to {record.write().name}")
    for verdict in verdicts:
        print(f"MISSED: {verdict}")
    if not verdicts:
        print("ours is the best, or within two standard errors of it, everywhere")
    return 1 if verdicts else 0


def _race(
    table: TableSet,
    share: float,
    options: argparse.Namespace,
    record: Record,
    verdicts: list[str],
) -> Ranking:
    """Everyone on one table with one jitter."""
    print(f"\n{table.name}, jitter of {share:g} steps", flush=True)
    x = table.jittered(share, options.seed)
    parts = split(len(x), options.seed)
    fitted = {}
    fitted[OURS], batch_size = _ours(table, x, parts, options)
    race = Race(
        x[parts.train],
        x[parts.validation],
        x[parts.test],
        seconds=options.seconds or fitted[OURS].seconds,
        batch_size=batch_size,
        seed=options.seed,
        small=options.small,
    )
    print(f"  {_line(OURS, fitted[OURS])}, batches of {batch_size}", flush=True)
    for name in options.competitors:
        try:
            fitted[name] = COMPETITORS[name](race)
        except Missing as error:
            verdicts.append(
                f"{table.name}: {name} is not installed ({error}): "
                f"pip install -r benchmarks/requirements.txt"
            )
            print(f"  {verdicts[-1]}", flush=True)
            continue
        print(f"  {_line(name, fitted[name])}", flush=True)
    ranking = Ranking(share, fitted)
    _note(record, table, ranking, race)
    return ranking


def _ours(
    table: TableSet, x: numpy.ndarray, parts: Split, options: argparse.Namespace
) -> tuple[Fitted, int]:
    """TableFlow with defaults on training and validation rows: it holds out the latter itself."""
    frame = polars.DataFrame(x[parts.seen], schema=list(table.names))
    began = time.perf_counter()
    flow = pf.TableFlow(options.flow, settings=parse_pairs(options.set), seed=options.seed)
    flow.fit(frame, progress=False, **parse_pairs(options.fit))
    seconds = time.perf_counter() - began
    held = flow.log_prob(polars.DataFrame(x[parts.validation], schema=list(table.names)))
    if abs(held.mean() - flow.report["nats"]) > 1e-3:  # the rows were rounded to float32 there
        raise SystemExit(
            f"{table.name}: TableFlow held out other rows than the competitors are given "
            f"({flow.report['nats']:.4f} and {held.mean():.4f} nats): mend table_sets.split"
        )
    test = flow.log_prob(polars.DataFrame(x[parts.test], schema=list(table.names)))
    settings = flow.history.settings
    facts = {
        "choice": flow.choice,
        "settings": settings,
        "steps": flow.history.evaluations[-1].step,
        "stopped": flow.history.stopped,
        "validation_nats": float(held.mean()),
    }
    parameters = sum(p.numel() for p in flow.flow.parameters())
    return Fitted(test, parameters, seconds, facts), int(settings["batch_size"])


def _note(record: Record, table: TableSet, ranking: Ranking, race: Race) -> None:
    """Print the ranking, the best first, and keep its figures."""
    lines = []
    for place, name in enumerate(ranking.order, 1):
        fitted = ranking.fitted[name]
        error = float(fitted.log_prob.std(ddof=1) / math.sqrt(len(fitted.log_prob)))
        gap = ranking.difference(OURS, name) if name != OURS else (None, None)
        record.add(
            "held-out log-density",
            float(fitted.log_prob.mean()),
            unit="nats a row",
            standard_error=error,
            table=table.name,
            columns=table.names,
            left_out=dict(table.left_out),
            resolution=dict(zip(table.names, table.resolution.tolist(), strict=True)),
            jitter_steps=ranking.jitter,
            rows={k: len(getattr(race, k)) for k in ("train", "validation", "test")},
            seed=race.seed,
            competitor=name,
            place=place,
            ours_less_theirs=gap[0],
            ours_less_theirs_standard_error=gap[1],
            parameters=fitted.parameters,
            seconds=round(fitted.seconds, 1),
            seconds_a_run=round(race.seconds, 1),
            batch_size=race.batch_size,
            **fitted.facts,
        )
        lines.append(
            [
                name,
                f"{fitted.log_prob.mean():.4f}",
                f"{error:.4f}",
                "" if gap[0] is None else f"{gap[0]:+.4f}",
                "" if gap[1] is None else f"{gap[1]:.4f}",
                fitted.parameters,
                f"{fitted.seconds:.0f}",
            ]
        )
    record.write()
    print()
    print_table(HEAD, lines)


def _compare(name: str, rankings: list[Ranking]) -> list[str]:
    """What is missed: ours behind by more than chance, or another ranking with another jitter."""
    missed = []
    for ranking in rankings:
        for other in ranking.order:
            gap, error = ranking.difference(OURS, other)
            if other != OURS and gap < -2 * error:
                missed.append(
                    f"{name}, jitter {ranking.jitter:g}: {other} is better by {-gap:.4f} ± "
                    f"{error:.4f} nats"
                )
    for one, other in pairwise(rankings):
        swapped = _swapped(one, other)
        beyond = [p for p in swapped if not (_tie(one, *p) and _tie(other, *p))]
        same = "is the same" if not swapped else f"differs in {swapped}"
        tied = ", which are within two standard errors" if swapped and not beyond else ""
        print(f"\n{name}: the ranking with jitter {one.jitter:g} and {other.jitter:g} {same}{tied}")
        missed += [f"{name}: {a} and {b} change places with the jitter" for a, b in beyond]
    return missed


def _swapped(one: Ranking, other: Ranking) -> list[tuple[str, str]]:
    places = [{name: r.order.index(name) for name in r.order} for r in (one, other)]
    return [
        (a, b)
        for a, b in combinations(one.order, 2)
        if (places[0][a] < places[0][b]) != (places[1][a] < places[1][b])
    ]


def _tie(ranking: Ranking, a: str, b: str) -> bool:
    gap, error = ranking.difference(a, b)
    return abs(gap) <= 2 * error


def _line(name: str, fitted: Fitted) -> str:
    return f"{name}: {fitted.log_prob.mean():.4f} nats a row in {fitted.seconds:.1f} s"


def _say_what(table: TableSet, seed: int) -> None:
    parts = split(len(table.x), seed)
    print(
        f"\n{table.name}: {len(table.x)} rows, {len(table.names)} columns; "
        f"{len(parts.train)} for training, {len(parts.validation)} for validation, "
        f"{len(parts.test)} for the test"
    )
    steps = zip(table.names, table.resolution, table.basis, strict=True)
    print_table(
        ("column", "resolution step", "from"), [(n, f"{step:.3g}", why) for n, step, why in steps]
    )
    for name, reason in table.left_out:
        print(f"left out: {name} ({reason})")


def _limit_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    if hasattr(os, "sched_setaffinity"):  # the only limit that every library keeps
        cores = sorted(os.sched_getaffinity(0))[:threads]
        os.sched_setaffinity(0, cores)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_option(parser, "hep/, photoz/ and flow_benchmarks/")
    parser.add_argument("--sets", nargs="+", choices=sorted(LOADERS), default=sorted(LOADERS))
    parser.add_argument(
        "--competitors", nargs="*", choices=list(COMPETITORS), default=list(COMPETITORS)
    )
    parser.add_argument("--jitters", nargs="+", type=float, default=[1.0, 0.5], help="in steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="of each run of a competitor; default: as ours"
    )
    parser.add_argument("--every-column", action="store_true", help="keep atoms; for information")
    add_flow_options(parser)
    add_result_options(parser, "tables")
    return parse_with_data(parser)


if __name__ == "__main__":
    sys.exit(main())
