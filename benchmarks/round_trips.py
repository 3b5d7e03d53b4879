"""There and back, for every map and transform of the tests, over random parameters and inputs.

A million numbers each, in float64 and float32, inside the box and far outside it, from both ends.
The error is that of x relative to 1 + |x|, of a transform's row to 1 + its largest number, since
a matrix adds numbers of any size. Rounding z alone costs x an error of a rounding over the slope:
the error is given as it is, and multiplied by the slope where that is below 1; the limits hold for
the latter, and for the former wherever the slope is at least a hundredth, of transforms a tenth,
since their networks amplify what was rounded before them. The slope of a transform at a row is the
least by which it stretches any direction there, the smallest singular value of its Jacobian, or of
those of its first steps if it has several; it is found, in float64, for rows beyond the limit.
"""

from __future__ import annotations

import quiet_threads  # noqa: F401

# isort: split

import argparse
import copy
import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.maps import cases as of_maps
from tests.transforms import cases as of_transforms

from pushforward import transforms as T
from pushforward.maps.numeric import NumericMap
from pushforward.transforms.compose import in_a_row
from pushforward.transforms.domains import Everywhere
from results import Record, add_result_options, print_table

LIMITS = {torch.float64: 1e-10, torch.float32: 1e-4}
NUMERIC = {torch.float64: 1e-8, torch.float32: 1e-4}  # of inverses that are found by steps
SPREAD = 0.7  # of the parameters of maps: slopes from 1/1000 to 1000 in a million draws
ROWS = 20_000  # at a time
FLAT, FLAT_OF_TRANSFORMS = 1e-2, 1e-1
# Parts whose inverse is found by steps. Those of Continuous end where its tolerance says.
STEPPING = (
    NumericMap,
    T.BlockAutoregressive,
    T.Continuous,
    T.Contractive,
    T.Planar,
    T.Sylvester,
)
HEAD = ("", "dtype", "error", "times slope", "not flat", "limit", "seconds", "")

Pair = tuple[Tensor, Tensor]


def main() -> int:
    options = _options()
    torch.set_num_threads(options.threads)
    record = Record(options.name, options)
    lines: list[list[Any]] = []
    kept = True
    for name, trips in (*maps(options), *transforms(options)):
        for dtype in LIMITS:
            began = time.perf_counter()
            numeric, errors = trips(dtype)
            limit = (NUMERIC if numeric else LIMITS)[dtype]
            raw, scaled, steep = errors
            good = record.add(
                f"{name}, {str(dtype)[6:]}",
                max(scaled, steep),
                unit="of 1 + |x|, the larger of the two that have a limit",
                limit=limit,
                error=raw,
                times_slope=scaled,
                where_not_flat=steep,
            )
            kept &= good
            seconds = time.perf_counter() - began
            shown = (f"{e:.1e}" for e in (raw, scaled, steep, limit))
            verdict = "" if good else "TOO FAR"
            lines.append([name, str(dtype)[6:], *shown, f"{seconds:.1f}", verdict])
            print("  ".join(map(str, lines[-1])), flush=True)
            record.write()
    print()
    print_table(HEAD, lines)
    print(f"\nwritten to {record.write().name}; " + ("all kept" if kept else "a limit is missed"))
    return 0 if kept else 1


Trips = Callable[[torch.dtype], "tuple[bool, tuple[float, float, float]]"]


def maps(options: argparse.Namespace) -> Iterator[tuple[str, Trips]]:
    """Each map with new parameters for each number."""
    for case in of_maps.CASES:
        if options.only and options.only not in f"map {case.name}":
            continue

        def trips(dtype: torch.dtype, case: Any = case) -> tuple[bool, tuple[float, float, float]]:
            map, worst = case.build().to(dtype), (0.0, 0.0, 0.0)
            for seed in range(max(1, options.numbers // ROWS)):
                generator = torch.Generator().manual_seed(seed)
                draw = partial(torch.randn, generator=generator, dtype=torch.float64)
                raw = (SPREAD * draw(ROWS, 1, map.raw_width)).to(dtype)
                x = _places(draw(ROWS, 1), case.outside, of_maps.BOX).to(dtype)
                with torch.no_grad():
                    worst = _worse(worst, map.forward, map.inverse, x, raw)
                    worst = _worse(worst, map.inverse, map.forward, x, raw)
            return isinstance(map, NumericMap), worst

        yield f"map {case.name}", trips


def transforms(options: argparse.Namespace) -> Iterator[tuple[str, Trips]]:
    """Each transform of five features with a few draws of its weights."""
    for case in of_transforms.CASES:
        if options.only and options.only not in f"transform {case.name}":
            continue

        def trips(dtype: torch.dtype, case: Any = case) -> tuple[bool, tuple[float, float, float]]:
            worst = (0.0, 0.0, 0.0)
            for seed in range(options.draws):
                torch.manual_seed(seed)
                transform = case.build(5, 2 if case.conditional else 0).to(dtype).eval()
                of_transforms.scatter(transform, 0.4, seed)
                numeric = any(isinstance(part, STEPPING) for part in transform.modules())
                limit = (NUMERIC if numeric else LIMITS)[dtype]
                for direction, other in (("forward", "inverse"), ("inverse", "forward")):
                    count = max(1, options.numbers // options.draws // 10)
                    x, c = _rows(case, transform, count, dtype, direction, seed)
                    there, back = (getattr(transform, name) for name in (direction, other))
                    with torch.no_grad():
                        returned = back(there(x, c)[0], c)[0]
                    size = 1.0 + x.flatten(1).abs().amax(1)
                    error = (returned - x).flatten(1).abs().amax(1) / size
                    beyond = ~(error <= limit)  # true of nan too
                    slope = torch.ones_like(error, dtype=torch.float64)
                    if bool(beyond.any()):
                        some = None if c is None else c[beyond]
                        slope[beyond] = _least_slope(transform, direction, x[beyond], some)
                    worst = _larger(worst, error, slope, FLAT_OF_TRANSFORMS)
            return numeric, worst

        yield f"transform {case.name}", trips


def _rows(
    case: Any, transform: T.Transform, count: int, dtype: torch.dtype, direction: str, seed: int
) -> Pair:
    """Rows that a direction takes; where these may be anything, some of them far out."""
    x, c = of_transforms.points(case, transform, (count,), dtype, direction, seed)
    end = transform.domain if direction == "forward" else transform.codomain
    if case.outside == "line" and isinstance(end, Everywhere):
        x[::10] *= 10.0
        x[::100] *= 100.0 if case.far else 1.0
    return x, c


def _least_slope(transform: T.Transform, direction: str, x: Tensor, c: Tensor | None) -> Tensor:
    """The least stretch, at each row, down to any of the numbers on the way; in float64.

    A rounding of any of them costs x what the way back makes of it.
    """
    whole = copy.deepcopy(transform).double()
    z = x = x.double().requires_grad_()
    least = torch.full((len(x),), math.inf, dtype=torch.float64)
    for step in in_a_row(whole if direction == "forward" else T.Inverse(whole)):
        z, _ = step(z, c.double() if c is not None and step.context else None)
        of_each = [
            torch.autograd.grad(one.sum(), x, retain_graph=True)[0].flatten(1)
            for one in z.flatten(1).unbind(1)
        ]
        least = torch.minimum(least, torch.linalg.svdvals(torch.stack(of_each, 1))[:, -1])
    return least


def _worse(
    worst: tuple[float, float, float],
    there: Callable[..., Pair],
    back: Callable[..., Pair],
    x: Tensor,
    other: Tensor | None,
) -> tuple[float, float, float]:
    """The largest errors so far, and of one more round trip."""
    z, log_slope = there(x, other)
    returned, _ = back(z, other)
    return _larger(worst, (returned - x).abs() / (1.0 + x.abs()), log_slope.exp(), FLAT)


def _larger(
    worst: tuple[float, float, float], error: Tensor, slope: Tensor, flat: float
) -> tuple[float, float, float]:
    """The larger of the errors so far and of some more, as they are and as the limits see them."""
    missing = float("nan") if bool(error.isnan().any()) else 0.0
    found = (
        float(error.max()) + missing,
        float((error * slope.clamp_max(1.0)).max()),
        float(torch.where(slope >= flat, error, 0.0).max()),
    )
    return tuple(max(a, b) if b == b else b for a, b in zip(worst, found, strict=True))  # type: ignore[return-value]


def _places(numbers: Tensor, outside: str, box: float) -> Tensor:
    """Numbers as data has them, some of them far out; or spread over the box."""
    if outside != "line":
        return 0.999 * box * torch.erf(numbers / 2**0.5)
    numbers = 1.5 * numbers
    numbers[::10] *= 10.0
    numbers[::100] *= 100.0
    return numbers


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=1_000_000, help="of each (%(default)s)")
    parser.add_argument("--draws", type=int, default=10, help="of a transform's weights")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--threads", type=int, default=1)
    add_result_options(parser, "round_trips")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
