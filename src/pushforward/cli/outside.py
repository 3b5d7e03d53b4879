"""Rows without density: how many there are, and which values make them impossible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars
    from rich.console import Console

    from pushforward.tables import Schema

__all__ = ["print_mean", "rows_outside"]

_SHOWN = 5  # columns


def rows_outside(frame: polars.DataFrame, schema: Schema) -> list[dict[str, Any]]:
    """Columns with values beyond their bounds: of each the first of them, and in how many rows.

    Args:
        frame: the scored table.
        schema: the columns of the model.
    """
    from pushforward.tables.schema.cells import numbers
    from pushforward.tables.schema.words import outside, shown

    density = frame["log_density"]
    impossible = (density.is_infinite() & density.is_not_null()).arg_true()
    columns = [schema.column(name) for name in schema.features]
    found = []
    for place, values in enumerate(numbers(frame[impossible], columns).T.tolist()):
        bounds = [outside(columns[place], value) for value in values]
        beyond = [i for i, told in enumerate(bounds) if told]
        if beyond:
            first = beyond[0]
            found.append(
                {
                    "column": columns[place].name,
                    "row": int(impossible[first]) + 1,
                    "value": shown(columns[place], values[first]),
                    "bounds": bounds[first],
                    "rows": len(beyond),
                }
            )
    return found


def print_mean(screen: Console, facts: dict[str, Any]) -> None:
    """The mean log-density, of how many rows it is, and why others have none."""
    from pushforward.cli.screen import count

    scored = facts["rows"] - facts["rows_not_scored"]
    zero = facts["rows_of_density_zero"]
    rarer = f"{facts['less_likely_than_every_training_row']:,} less likely than every training row"
    if not scored:
        screen.print("No row scored.")
    elif zero == scored:
        where = "it lies" if zero == 1 else "all of them lie"
        screen.print(f"{count(scored, 'row')} scored: {where} where the density is zero.")
    else:
        screen.print(
            f"{count(scored, 'row')} scored, mean log-density {_mean(facts)} nats; {rarer}."
        )
    if 0 < zero < scored:
        lie = count(zero, "row lies", "rows lie")
        screen.print(f"{lie} where the density is zero, and the mean is that of the others.")
    for one in facts["outside"][:_SHOWN]:
        more = f", the first of {one['rows']:,} such rows" if one["rows"] > 1 else ""
        screen.print(
            f"Column {one['column']!r} holds {one['value']} in row {one['row']:,}, "
            f"{one['bounds']}{more}.",
            markup=False,
        )
    if len(facts["outside"]) > _SHOWN:
        screen.print(f"So do {len(facts['outside']) - _SHOWN} more columns.")


def _mean(facts: dict[str, Any]) -> str:
    """The mean, and where noise has a part in it its standard error."""
    from pushforward.cli.screen import figures

    mean, error = figures(facts["mean_log_density"]), facts["mean_log_density_error"]
    noisy = facts["exactness"] != "exact" and error is not None
    return f"{mean} ± {error:.2g}" if noisy else mean
