"""Whether a model's probabilities are right, in words and bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_calibration"]

_BARS = " ▁▂▃▄▅▆▇█"


def print_calibration(screen: Console, facts: dict[str, Any]) -> None:
    """Coverage of regions and intervals, PIT histograms, the energy score."""
    from pushforward.cli.screen import count, table

    levels = list(facts["regions"])
    left = facts["rows_left_out"]
    told = f" ({left:,} left out, with missing or infinite values)" if left else ""
    screen.print(f"\nCalibration on {count(facts['rows'], 'row')}{told}:")
    headings = [("column", "left"), *((f"{float(a):.0%}", "right") for a in levels)]
    headings += [("PIT, even if right", "left"), ("distance", "right")]
    regions = [f"{facts['regions'][level]:.1%}" for level in levels]
    rows = [["region of highest density", *regions, "", ""]]
    for name, one in facts["columns"].items():
        inside = [f"{one['intervals'][level]:.1%}" for level in levels]
        far = one["distance"] > one["distance_by_chance"]
        distance = f"{one['distance']:.3f}{' *' if far else ''}"
        rows.append([name, *inside, _histogram(one["pit"]), distance])
    screen.print(table(headings, rows))
    screen.print(
        "Shares of the rows inside regions and central intervals of these probabilities; * is more "
        "than chance explains in 95 of 100 cases."
    )
    if facts["energy_score"] is not None:
        screen.print(
            f"Energy score: {facts['energy_score']:.4f} standard deviations; lower is better."
        )


def _histogram(shares: Sequence[float]) -> str:
    """Bars around the half height, which stands for an even share.

    Example:
        >>> _histogram([0.25, 0.25, 0.5, 0.0])
        '▄▄█ '
    """
    even = 1.0 / len(shares)
    top = len(_BARS) - 1
    return "".join(_BARS[min(round(share / even * top / 2), top)] for share in shares)
