"""How far the inverses of the splines are off in float32, over two million random bins.

Bins have widths and heights from 0.006 to 5.9 and end slopes from 0.001 to 50. For a height drawn
in each bin, the position that the inverse finds in float32 goes back through the formula in
float64; what is missing to the height is the error in y. The position is itself a float32: where a
bin is steep, even the exact one misses by its rounding. So the largest error beyond that of the
float32 numbers next to the exact position is shown too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward import maps
from pushforward.maps.splines.spline import Bin, Spline
from results import Record, add_result_options, print_table

LIMIT = 2e-5
SIZES, SLOPES = (6e-3, 5.9), (1e-3, 50.0)
CHUNK = 250_000


@dataclass(frozen=True)
class Contest:
    """A spline and the formula that is usually copied for its inverse.

    Attributes:
        spline: the class.
        naive: (bin, rise) -> position.
        shape: what the family asks of the slopes of a bin.
        gentle: whether no such bin is so steep that the nearest float32 position misses the limit.
            A linear-rational bin of mean slope s between two knots of slope d has the slope s^2 / d
            at its midpoint, which is 10^6 here.
    """

    spline: type[Spline]
    naive: Callable[[Bin, Tensor], Tensor]
    shape: Callable[[Bin], Bin] = lambda b: b
    gentle: bool = True


def main() -> int:
    options = _options()
    torch.set_num_threads(options.threads)
    record = Record(options.name, options)
    record.note(sizes=SIZES, slopes=SLOPES, distribution="uniform in the logarithm", seed=0)
    rows, kept = [], True
    for contest in CONTESTS:
        name = contest.spline.__name__
        worst = measure(contest, options.bins)
        raw = record.add(
            f"largest error in y, {name}",
            worst["ours"],
            unit="y",
            limit=LIMIT if contest.gentle else None,
            bins=options.bins,
            naive_formula=worst["naive"],
            naive_not_finite=int(worst["lost"]),
            exact_position_rounded=worst["nearest"],
        )
        beyond = record.add(
            f"error in y beyond one rounding of the position, {name}",
            worst["beyond"],
            unit="y",
            limit=LIMIT,
            bins=options.bins,
        )
        kept &= raw and beyond
        figures = (f"{worst[key]:.1e}" for key in ("ours", "beyond", "nearest", "naive"))
        rows.append((name, *figures, f"{worst['lost']:.0f}", "" if raw and beyond else "MISSED"))
    head = ("largest error in y", "ours", "beyond rounding", "exact, rounded", "naive", "nan", "")
    print_table(head, rows)
    print(f"written to {record.write().name}")
    return 0 if kept else 1


def measure(contest: Contest, bins: int) -> dict[str, float]:
    """Largest errors over so many bins."""
    generator = torch.Generator().manual_seed(0)
    worst = dict.fromkeys(("ours", "beyond", "nearest", "naive", "lost"), 0.0)
    for start in range(0, bins, CHUNK):
        b = contest.shape(_bins(min(CHUNK, bins - start), generator))
        rise = b.height * torch.rand(b.height.shape, generator=generator)
        exact, exact_rise = _double(b), rise.double()

        def error(xi: Tensor, exact: Bin = exact, rise: Tensor = exact_rise) -> Tensor:
            return (contest.spline._rise(exact, xi.double())[0] - rise).abs()

        ours = error(contest.spline._run(b, rise)[0])
        nearest = contest.spline._run(exact, exact_rise)[0].float()
        rounding = torch.stack([error(xi) for xi in _neighbours(nearest)])
        naive = error(contest.naive(b, rise).clamp(0.0, 1.0))
        lost = naive.isnan()
        found = {
            "ours": ours,
            "beyond": ours - rounding.amax(0),
            "nearest": rounding[0],
            "naive": naive[~lost],
        }
        if bool(ours.isnan().any()):
            raise SystemExit(f"{contest.spline.__name__}: not a number")
        for key, errors in found.items():
            worst[key] = max(worst[key], float(errors.max()))
        worst["lost"] += float(lost.sum())
    return worst


def _bins(count: int, generator: torch.Generator) -> Bin:
    def draw(least: float, most: float) -> Tensor:
        share = torch.rand(count, generator=generator)
        return least * (most / least) ** share

    zero = torch.zeros(count)
    lean = torch.rand(count, generator=generator) * 0.95 + 0.025
    return Bin(zero, zero, draw(*SIZES), draw(*SIZES), draw(*SLOPES), draw(*SLOPES), lean)


def _double(b: Bin) -> Bin:
    return Bin(*(None if part is None else part.double() for part in b))


def _neighbours(xi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A number, the one before it and the one after, in [0, 1]."""
    return xi, xi.nextafter(torch.zeros_like(xi)), xi.nextafter(torch.ones_like(xi))


def _half_sum(b: Bin) -> Bin:
    """Slopes and width of a quadratic bin decide its height: slopes of the same ratio that fit."""
    scale = 2.0 * b.height / b.width / (b.slope + b.next_slope)
    return b._replace(slope=b.slope * scale, next_slope=b.next_slope * scale)


def _monotone(b: Bin) -> Bin:
    """A cubic is monotone with end slopes up to three times the mean one."""
    most = 2.99 * b.height / b.width
    return b._replace(
        slope=torch.minimum(b.slope, most), next_slope=torch.minimum(b.next_slope, most)
    )


# ---------------------------------------------------------------- the usual formulas


def _line(b: Bin, rise: Tensor) -> Tensor:
    return rise / b.height


def _parabola(b: Bin, rise: Tensor) -> Tensor:
    a = 0.5 * (b.next_slope - b.slope) * b.width
    first = b.slope * b.width
    return (-first + (first * first + 4.0 * a * rise).sqrt()) / (2.0 * a)


def _rational(b: Bin, rise: Tensor) -> Tensor:
    s = b.height / b.width
    bend = rise * (b.next_slope + b.slope - 2.0 * s)
    first, second = b.height * b.slope - bend, b.height * (s - b.slope) + bend
    last = -s * rise
    return 2.0 * last / (-first - (first * first - 4.0 * second * last).sqrt())


def _two_hyperbolas(b: Bin, rise: Tensor) -> Tensor:
    assert b.lean is not None
    at = b.lean
    first, last = torch.ones_like(at), (b.slope / b.next_slope).sqrt()
    middle = (at * first * b.slope + (1.0 - at) * last * b.next_slope) * b.width / b.height
    height = at * last * b.height / ((1.0 - at) * first + at * last)
    left = at * first * -rise / (first * -rise + middle * (rise - height))
    right = at * last * (b.height - rise) + middle * (rise - height)
    right = right / (last * (b.height - rise) + middle * (rise - height))
    return torch.where(rise <= height, left, right)


def _cardano(b: Bin, rise: Tensor) -> Tensor:
    """The cubic in its own variable, by cosines for three real roots and by cube roots for one."""
    s = b.height / b.width
    a = (b.slope + b.next_slope - 2.0 * s) * b.width
    second = (3.0 * s - 2.0 * b.slope - b.next_slope) * b.width / a / 3.0
    third, last = b.slope * b.width / a / 3.0, -rise / a
    p, q = third - second**2, second**3 - 1.5 * second * third + 0.5 * last
    disc = q * q + p**3
    root = disc.clamp(min=0.0).sqrt()
    one = _cube_root(root - q) - _cube_root(root + q) - second
    angle = torch.atan2((-disc).clamp(min=0.0).sqrt(), -q) / 3.0
    turns = torch.stack([angle + k * 2.0 * torch.pi / 3.0 for k in range(3)])
    three = 2.0 * (-p).clamp(min=0.0).sqrt() * turns.cos() - second
    outside = (three - 0.5).abs()  # of the three roots the one in the bin
    three = three.gather(0, outside.argmin(0, keepdim=True))[0]
    return torch.where(disc >= 0, one, three)


def _cube_root(v: Tensor) -> Tensor:
    return v.abs().pow(1.0 / 3.0).copysign(v)


CONTESTS = (
    Contest(maps.RationalQuadratic, _rational),
    Contest(maps.LinearRational, _two_hyperbolas, gentle=False),
    Contest(maps.Linear, _line),
    Contest(maps.Quadratic, _parabola, _half_sum),
    Contest(maps.Cubic, _cardano, _monotone),
)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bins", type=int, default=2_000_000)
    parser.add_argument("--threads", type=int, default=1)
    add_result_options(parser, "spline_inverse")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
