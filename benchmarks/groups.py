"""How much density is left between separate groups: ``mixture_nsf`` on eight Gaussians and rings.

The share of a flow's samples that lie where the true density is below a hundredth of its highest
value; beside it the share of the truth's own samples there, and that of ``nsf``.
"""

from __future__ import annotations

import quiet_threads  # noqa: F401

# isort: split

import argparse
import math
import sys
from typing import Any

import torch

import pushforward as pf
from pushforward.data.toys import TOYS
from results import Record, add_result_options, print_table

LIMIT = 0.01  # of the flow's samples; the truth itself has some there
HEAD = ("density", "flow", "seed", "share below", "±", "truth's own", "surplus", "KL", "")


def main() -> int:
    options = _options()
    torch.set_num_threads(options.threads)
    record = Record(options.name, options)
    lines: list[list[Any]] = []
    kept = True
    for name in ("eight_gaussians", "rings"):
        toy = TOYS[name]
        fresh = toy.sample(options.samples, seed=1_000_003, dtype=torch.float64)
        true = toy.log_prob(fresh)
        level = float(true.max()) + math.log(0.01)
        own = float((true < level).double().mean())
        for recipe in ("mixture_nsf", "nsf"):
            for seed in options.seeds:
                flow = getattr(pf.flows, recipe)(2, seed=seed)
                rows = toy.sample(options.rows, seed=seed)
                pf.fit(flow, rows, steps=options.steps, progress=False, seed=seed)
                drawn = flow.sample(options.samples, generator=torch.Generator().manual_seed(seed))
                share = float((toy.log_prob(drawn.double()) < level).double().mean())
                with torch.no_grad():
                    gap = (true - flow.double().log_prob(fresh)).mean()
                error = math.sqrt(share * (1.0 - share) / options.samples)
                good = record.add(
                    f"{recipe} on {name}: share of samples below a hundredth of the peak",
                    share,
                    unit="1",
                    standard_error=error,
                    limit=LIMIT if recipe == "mixture_nsf" else None,
                    seed=seed,
                    truth=own,
                    kl=float(gap),
                )
                kept &= good
                shown = (f"{v:.4f}" for v in (share, error, own, share - own, float(gap)))
                lines.append([name, recipe, seed, *shown, "" if good else "TOO MUCH"])
                print("  ".join(map(str, lines[-1])), flush=True)
                record.write()
    print()
    print_table(HEAD, lines)
    print(f"\nwritten to {record.write().name}; " + ("all kept" if kept else "a limit is missed"))
    return 0 if kept else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=None, help="of training (by the rows)")
    parser.add_argument("--samples", type=int, default=200_000, help="of the truth and each flow")
    parser.add_argument("--threads", type=int, default=1)
    add_result_options(parser, "groups")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
