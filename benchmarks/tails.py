"""How heavy the tails of a flow are that has learned from a Student-t sample.

Rows of Student's t with three degrees of freedom. The recipe ``heavy_tailed``, and the tail
transform, have the tail index as a parameter; with a normal base there is none. Hill's estimate on
many draws of each flow tells what tails it has: of heavy tails it stays where it is from the
hundredth to the hundred-thousandth farthest draw, of normal ones it rises.
"""

from __future__ import annotations

import quiet_threads  # noqa: F401

# isort: split

import argparse
import sys
import time
from typing import Any

import torch
from torch import Tensor

import pushforward as pf
from pushforward import bases, maps
from pushforward import transforms as T
from results import Record, add_result_options, print_table

DEGREES = 3.0
LIMIT = 0.15  # relative error of the index that was learned
SHARES = (1e-2, 1e-3, 1e-4)  # of the draws, farthest out
HEAD = (
    "flow",
    "D",
    "seed",
    "index learned",
    "worst error",
    "Hill 1%",
    "0.1%",
    "0.01%",
    "nats",
    "s",
)


def main() -> int:
    options = _options()
    torch.set_num_threads(options.threads)
    record = Record(options.name, options)
    lines, kept = [], True
    for features in options.features:
        for seed in options.seeds:
            torch.manual_seed(seed)
            x = torch.distributions.StudentT(DEGREES).sample((options.rows, features))
            fresh = torch.distributions.StudentT(DEGREES).sample((100_000, features))
            for name in ("heavy_tailed", "tail transform", "normal base"):
                good, line = measure(record, name, x, fresh, seed, options)
                kept &= good
                lines.append(line)
                print("  ".join(map(str, line)), flush=True)
                record.write()
    print()
    print_table(HEAD, lines)
    print(f"\nwritten to {record.write().name}; " + ("all kept" if kept else "a limit is missed"))
    return 0 if kept else 1


def measure(
    record: Record, name: str, x: Tensor, fresh: Tensor, seed: int, options: argparse.Namespace
) -> tuple[bool, list[Any]]:
    """Train one flow, and look at the tails of its draws."""
    features = x.shape[1]
    torch.manual_seed(seed)
    flow = build(name, features)
    began = time.perf_counter()
    pf.fit(flow, x, seed=seed, steps=options.steps, progress=False)
    seconds = time.perf_counter() - began
    generator = torch.Generator().manual_seed(seed)
    draws = flow.sample(options.draws, generator=generator)
    found = [index_by_hill(draws, share) for share in SHARES]
    with torch.no_grad():
        nats = float(torch.cat([flow.log_prob(part) for part in fresh.split(20_000)]).mean())
    learned = learned_index(flow)
    facts = {
        "flow": name,
        "features": features,
        "seed": seed,
        "hill": dict(zip(map(str, SHARES), found, strict=True)),
        "nats": nats,
        "seconds": round(seconds, 1),
    }
    if learned is None:  # the index at the far end is the one that such a flow lacks
        error = abs(found[-1] / DEGREES - 1.0)
        kept = record.add("relative error of Hill's index", error, unit="1", **facts)
        shown = "-"
    else:
        error = float((learned / DEGREES - 1.0).abs().max())
        kept = record.add("relative error of the tail index", error, unit="1", limit=LIMIT, **facts)
        shown = " ".join(f"{value:.2f}" for value in learned.flatten().tolist())
    hills = [f"{value:.2f}" for value in found]
    line = [name, features, seed, shown, f"{error:.2f}", *hills, f"{nats:.4f}", f"{seconds:.0f}"]
    return kept, line


def build(name: str, features: int) -> pf.Flow:
    """Four spline couplings; what differs is where the tails come from."""
    if name == "heavy_tailed":
        return pf.flows.heavy_tailed(features, hidden=(64, 64))
    tailed = name == "tail transform"
    spline = maps.RationalQuadratic(8, tails="identity" if tailed else "linear")
    keeps = [[features > 1 and (i + layer) % 2 == 0 for i in range(features)] for layer in range(4)]
    layers = [T.Coupling(features, map=spline, keep=keep, hidden=(64, 64)) for keep in keeps]
    pareto = T.Elementwise(features, map=maps.GeneralizedPareto())
    start = pareto if tailed else T.Standardize(features)
    return pf.Flow(T.Compose(start, *layers), bases.Normal(features))


def learned_index(flow: pf.Flow) -> Tensor | None:
    """The tail index of each feature, or of each of its tails, where the flow has a parameter."""
    if isinstance(flow.base, bases.StudentT):
        return flow.base.df.detach()
    start: Any = flow.transform.transforms[0]  # type: ignore[union-attr]
    if isinstance(start, T.Elementwise):
        return 1.0 / start.map.tails_at(start.raw).detach()
    return None


def index_by_hill(draws: Tensor, share: float) -> float:
    """Hill's estimate of the tail index from the farthest draws, the mean over the features."""
    far = draws.double().abs().sort(0, descending=True).values[: int(share * len(draws)) + 1].log()
    return float((1.0 / (far[:-1] - far[-1]).mean(0)).mean())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--draws", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=1)
    add_result_options(parser, "tails")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
