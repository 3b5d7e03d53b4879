"""Tables of mixed columns: distance to a density that is known, and time of half a million rows.

    python benchmarks/mixed.py

Invented households (`pushforward.data.Households`: two categories, two counts, three numbers, a
column that is zero in many rows): mean distance between log-density and truth on fresh rows, and
how far the shares of the categories in samples are from the true ones. Then 500 000 rows of twenty
columns, five of them categories: seconds to fit with as many steps as one pass over the rows takes
(or the default's, if `--passes 0`), and rows scored a second.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy
import polars
import torch

import pushforward as pf
from results import Record, add_result_options, print_table

HELD = 20_000
WIDE = 500_000


def households(record: Record, rows: int, seed: int) -> list[str]:
    """Fit so many rows; the figures as cells of a table."""
    people = pf.data.Households()
    train, held = people.sample(rows, seed), people.sample(HELD, seed + 1000)
    began = time.perf_counter()
    table = pf.TableFlow(seed=seed).fit(train, progress=False)
    seconds = time.perf_counter() - began
    apart = table.log_prob(held) - people.log_prob(held)
    drawn, true = table.sample(200_000, seed=seed), people.sample(1_000_000, seed + 2000)
    shares = max(
        abs(float((drawn[name] == value).mean()) - float((true[name] == value).mean()))
        for name in ("region", "job")
        for value in true[name].unique()
    )
    facts = {"rows": rows, "seed": seed, "seconds": seconds}
    distance, divergence = float(numpy.abs(apart).mean()), float(-apart.mean())
    error = float(apart.std() / math.sqrt(HELD))
    record.add("distance to the truth", distance, unit="nats", limit=0.1, **facts)
    record.add("KL(truth, flow)", divergence, unit="nats", standard_error=error, **facts)
    record.add("share of a category", shares, unit="difference", limit=0.01, **facts)
    return [
        f"{rows:,}",
        str(seed),
        f"{distance:.3f}",
        f"{divergence:.4f}",
        f"{shares:.4f}",
        f"{seconds:.0f}",
    ]


def wide(rows: int, seed: int) -> polars.DataFrame:
    """Fifteen numbers that hang together and five categories that they depend on."""
    draw = numpy.random.default_rng(seed)
    mix = numpy.random.default_rng(7).normal(size=(15, 15)) / 4.0
    group = draw.integers(0, 4, rows)
    z = draw.normal(size=(rows, 15))
    x = z @ mix + numpy.sin(z[:, ::-1] @ mix.T) + 0.5 * group[:, None]
    labels = numpy.array(list("abcdefgh"))
    columns = {f"x{i}": x[:, i] for i in range(15)}
    for j in range(5):
        columns[f"c{j}"] = labels[(group + draw.integers(0, 2 + j, rows)) % (3 + j)]
    return polars.DataFrame(columns)


def half_a_million(record: Record, rows: int, passes: float) -> None:
    """Time of fitting and of scoring."""
    frame = wide(rows, 0)
    options = {"epochs": passes} if passes else {}
    began = time.perf_counter()
    table = pf.TableFlow(seed=0).fit(frame, progress=False, **options)
    seconds = time.perf_counter() - began
    table.log_prob(frame[:1000])
    began = time.perf_counter()
    table.log_prob(frame)
    speed = rows / (time.perf_counter() - began)
    facts = {"rows": rows, "passes": passes, "nats": table.report["nats"]}
    record.add("fit", seconds, unit="s", limit=600.0, **facts)
    record.add("scoring", speed, unit="rows/s", limit=100_000.0, at_least=True, **facts)
    print(f"{rows:,} x 20: fitted in {seconds:.0f} s, {speed:,.0f} rows scored a second")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="*", type=int, default=[20_000, 100_000])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--wide", type=int, default=WIDE, help="rows of twenty columns")
    parser.add_argument("--passes", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    add_result_options(parser, "mixed")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    record = Record(options.name, options)
    cells = []
    for rows in options.rows:
        for seed in options.seeds:
            cells.append(households(record, rows, seed))
            record.write()
    head = ("rows", "seed", "mean |log p - truth|", "KL", "largest share off", "seconds")
    print_table(head, cells)
    half_a_million(record, options.wide, options.passes)
    print(record.write())
    return 0 if record.kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
