"""Whether drawn rows are like those of a table, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_likeness"]


def print_likeness(screen: Console, facts: dict[str, Any], data: str) -> None:
    """Margins, correlations, and distances to the nearest row."""
    from pushforward.cli.screen import table

    rows = facts["rows"]
    screen.print(f"\n{rows['drawn']:,} drawn rows beside {rows['data']:,} of {data}:", markup=False)
    kinds = {"numbers": "distribution functions", "shares": "shares"}
    headings = (("column", "left"), ("difference of", "left"), ("found", "right"))
    lines = [
        (name, kinds[one["kind"]], f"{one['distance']:.3f}", f"{one['chance']:.3f}")
        for name, one in facts["columns"].items()
    ]
    screen.print(table((*headings, ("by chance", "right")), lines))
    found = facts["correlations"]
    if found:
        screen.print(
            f"Correlations differ by {found['mean']:.3f} on average, most by "
            f"{found['largest']:.3f}, between {' and '.join(found['between'])}.",
            markup=False,
        )
    left = facts["left_out"]
    if left:
        screen.print(
            f"Without {' and '.join(left)}, the same in all rows of {data}: correlations and "
            f"distances need values that differ.",
            markup=False,
        )
    apart = facts["distances"]
    if not apart:
        return
    screen.print(
        f"To the nearest of half of the table's rows it is {apart['drawn']:.3f} from a drawn row "
        f"and {apart['data']:.3f} from a row of the other half (medians, in standard deviations): "
        f"{_verdict(apart)}.",
        markup=False,
    )


def _verdict(apart: dict[str, float]) -> str:
    if apart["copies"] > apart["repeats"] + 0.01:
        return f"{apart['copies']:.1%} of the drawn rows are copies of rows of the table"
    if apart["near"] > apart["near_by_chance"]:
        return (
            f"{apart['near']:.1%} of the drawn rows are nearer to a row of the table than all but "
            f"2 % of its own rows are, as near copies would be"
        )
    if apart["drawn"] < 0.7 * apart["data"]:
        return "drawn rows are suspiciously near to rows of the table"
    return "drawn rows are no copies"
