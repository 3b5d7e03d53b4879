"""Tables of mixed columns: distance to a density that is known, and time of half a million rows.

    python benchmarks/mixed.py

Invented households (`pushforward.data.Households`: two categories, two counts, three numbers, a
column that is zero in many rows): mean distance between log-density and truth on fresh rows, and
how far the shares of the categories in samples are from the true ones. A few customers with things
that go together, a town and its postal code, a plan and its price: nats of fresh rows, and in how
many draws they still do. Then 500 000 rows of twenty
columns, five of them categories: seconds to fit with as many steps as one pass over the rows takes
(or the default's, if `--passes 0`), and rows scored a second.
"""

from __future__ import annotations

import argparse
import datetime
import math
import time
import warnings

import numpy
import polars
import torch

import pushforward as pf
from results import Record, add_result_options, print_table

HELD = 20_000
TOWNS = {
    "Oslo": "0150",
    "Bergen": "5003",
    "Trondheim": "7010",
    "Stavanger": "4006",
    "Drammen": "3015",
    "Tromsø": "9008",
    "Bodø": "8006",
    "Hamar": "2315",
}
PLANS = {"basic": 9.9, "plus": 19.9, "pro": 49.0}
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


def customers(rows: int, seed: int) -> polars.DataFrame:
    """Ten columns of a table as shops have it: towns, codes, plans, prices, days, amounts, gaps."""
    draw = numpy.random.default_rng(seed)
    town = draw.choice(8, rows, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05])
    plan = numpy.where(draw.random(rows) < 0.7, town % 3, draw.integers(0, 3, rows))
    price = numpy.array(list(PLANS.values()))[plan]
    visits = draw.poisson(2.0 + 3.0 * plan)
    amount = price * numpy.exp(0.3 * numpy.log1p(visits) + 0.4 * draw.normal(size=rows))
    none = draw.random(rows) < 0.1 + 0.1 * (plan == 0)
    active = draw.random(rows) < 1.0 / (1.0 + numpy.exp(2.0 - 0.5 * visits))
    since = [
        datetime.date(2019, 1, 1) + datetime.timedelta(int(d)) for d in draw.integers(0, 2000, rows)
    ]
    names = list(TOWNS)
    return polars.DataFrame(
        {
            "town": [names[i] for i in town],
            "postal": [TOWNS[names[i]] for i in town],
            "plan": [list(PLANS)[i] for i in plan],
            "price": price,
            "since": since,
            "age": draw.normal(35.0 + 8.0 * plan, 12.0).round().clip(18, 90).astype(int),
            "visits": visits,
            "amount": [
                None if gap else round(float(a), 2) for gap, a in zip(none, amount, strict=True)
            ],
            "active": numpy.where(active, "yes", "no"),
            "score": (50.0 + 5.0 * plan + 10.0 * draw.normal(size=rows)).round(1),
        }
    )


def few(record: Record, rows: int, seed: int) -> list[str]:
    """Fit so few customers; the figures as cells of a table."""
    table = pf.TableFlow(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # so few rows
        table.fit(customers(rows, seed), missing="model", progress=False)
    log_p = table.log_prob(customers(HELD // 5, seed + 1000), unseen="lowest")
    drawn = table.sample(HELD // 5, seed=seed)
    together = float(numpy.mean([TOWNS[t] == p for t, p in drawn.select("town", "postal").rows()]))
    nats, error = float(log_p.mean()), float(log_p.std() / math.sqrt(len(log_p)))
    facts = {"rows": rows, "seed": seed}
    record.add("fresh customers", nats, unit="nats", standard_error=error, **facts)
    record.add("town and postal code go together", together, unit="share", **facts)
    return [f"{rows:,}", str(seed), f"{nats:.2f} ± {error:.2f}", f"{together:.1%}"]


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
    parser.add_argument("--few", nargs="*", type=int, default=[200, 1000], help="customers")
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
    cells = [few(record, rows, seed) for rows in options.few for seed in options.seeds]
    print_table(("customers", "seed", "nats of fresh ones", "town with its postal code"), cells)
    half_a_million(record, options.wide, options.passes)
    print(record.write())
    return 0 if record.kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
