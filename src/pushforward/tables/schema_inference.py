"""From a table to its schema, in one pass over its chunks: what it holds and what is wrong."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from pushforward.data.readers import open_table
from pushforward.data.table_source import TableSource, did_you_mean
from pushforward.errors import ArgumentError, DataError, InputTypeError
from pushforward.tables.cells import columns_option
from pushforward.tables.schema import Column, Missing, Schema
from pushforward.tables.survey import Survey

__all__ = ["infer_schema"]

_LEAST_ROWS = 20
_ATOM = 0.05  # the share of rows above which a repeated value is named
_RESOLVED = 1e3  # float32 gives a value this many stds away a resolution of 1e-4 stds


def infer_schema(
    source: object,
    *,
    columns: Sequence[str] | None = None,
    context: Sequence[str] = (),
    weights: str | None = None,
    missing: Missing = "refuse",
    what: str = "DATA",
) -> Schema:
    """Read a table once and describe the columns a model of it would read.

    Args:
        source: anything `pushforward.data.open_table` takes.
        columns: the features; without it all columns but ``context`` and ``weights``.
        context: columns the density is to be conditioned on.
        weights: a column of row weights.
        missing: ``"refuse"`` missing and infinite values, or ``"drop"`` the rows that hold one.
        what: what messages call the table.

    Raises:
        ArgumentError: ``missing`` is neither of the two.
        DataError: the table cannot be used as it is. The message has one sentence a problem, each
            naming the column, the first row and what to do.

    Warns:
        UserWarning: columns depend linearly, or a value is repeated in many rows of a column: a
            density of such data has no upper bound.

    Example:
        >>> schema = infer_schema({"a": list(range(30)), "b": [i % 3 for i in range(30)]})
        >>> [(column.name, column.mean, column.treatment) for column in schema.columns]
        [('a', 14.5, 'whole numbers taken as real numbers'),
         ('b', 1.0, 'whole numbers taken as real numbers')]
    """
    if missing not in ("refuse", "drop"):
        raise ArgumentError(
            f"infer_schema: missing is {missing!r}, expected 'refuse' or 'drop' (--missing drop)."
        )
    for name, value in (("columns", columns), ("context", context)):
        if isinstance(value, str):
            raise InputTypeError(
                f"infer_schema: {name} is the text {value!r}, expected a list of names; "
                f"write {name}=[{value!r}]."
            )
    table = open_table(source, what=what)
    what = table.title if table.kind == "file" else what
    features = _choose(table, columns, context, weights, what)
    survey = Survey([*features, *context], weights)
    for chunk in table.chunks(survey.names):
        survey.update(chunk)
    problems = [*survey.problems(missing), *_few_rows(survey, missing)]
    if survey.texts:
        problems.insert(0, _texts(survey, features, columns is None))
    if not survey.texts and survey.rows_used >= 2:
        problems += _unusable(survey, features)
    if problems:
        raise DataError("\n".join(f"{what}: {problem}" for problem in problems))
    described = tuple(_describe(survey, place) for place in range(survey.width))
    _warn(survey, described, len(features), what)
    return Schema(
        columns=described,
        context=tuple(context),
        weights=weights,
        missing=missing,
        rows_read=survey.rows_read,
        rows_dropped=survey.rows_read - survey.rows_used,
        native=table.native,
    )


def _choose(
    table: TableSource,
    columns: Sequence[str] | None,
    context: Sequence[str],
    weights: str | None,
    what: str,
) -> list[str]:
    """The names of the features, or every problem with the names that were given."""
    others = [*context, *([] if weights is None else [weights])]
    features = [n for n in table.names if n not in others] if columns is None else list(columns)
    problems = []
    given = [("--columns", columns or ()), ("--context", context), ("--weights", others[-1:])]
    for option, names in given if weights is not None else given[:2]:
        problems += [
            f"{option} names {name!r}, which is no column.{did_you_mean(name, table.names)}"
            for name in names
            if name not in table.names
        ]
    used = [*features, *others]
    problems += [
        f"the column {name!r} is named twice among --columns, --context and --weights; "
        "give it one part."
        for name in dict.fromkeys(used)
        if used.count(name) > 1
    ]
    if "" in used:
        left = [name for name in features if name]
        problems.append(
            f"column {table.names.index('') + 1} has no name, as when a frame was written with its "
            f"index; name it, or choose with {columns_option(left)}."
        )
    if not features:
        problems.append("no column is left to model, expected at least one besides the others.")
    if problems:
        raise DataError("\n".join(f"{what}: {problem}" for problem in problems))
    return features


def _texts(survey: Survey, features: list[str], all_columns: bool) -> str:
    """One sentence for all columns that hold no numbers."""
    named = ", ".join(f"{name!r} {words}" for name, words in list(survey.texts.items())[:5])
    more = f" and {len(survey.texts) - 5} more" if len(survey.texts) > 5 else ""
    left = [name for name in features if name not in survey.texts]
    advice = "leave it out" if len(survey.texts) == 1 else "leave them out"
    if left and (all_columns or len(left) < len(features)):
        advice = f"choose columns of numbers with {columns_option(left)}"
    noun = "column" if len(survey.texts) == 1 else "columns"
    return f"{noun} {named}{more}, expected numbers; {advice}."


def _few_rows(survey: Survey, missing: Missing) -> list[str]:
    if survey.rows_used >= _LEAST_ROWS or (missing == "refuse" and survey.rows_with_gaps):
        return []
    dropped = survey.rows_read - survey.rows_used
    left = f" ({survey.rows_read} less {dropped} with missing values)" if dropped else ""
    return [
        f"{_count(survey.rows_used)}{left}, expected at least {_LEAST_ROWS}; "
        "a density cannot be learned from fewer."
    ]


def _count(rows: int) -> str:
    return "there is 1 row" if rows == 1 else f"there are {rows} rows"


def _unusable(survey: Survey, features: list[str]) -> list[str]:
    """Columns that are constant, or too large or too small for float32."""
    problems = []
    low, high = survey.moments.low.tolist(), survey.moments.high.tolist()
    std = survey.moments.variance.sqrt().tolist()
    vary = [n for n, a, b in zip(features, low, high, strict=False) if a != b]
    advice = f"choose columns that vary with {columns_option(vary)}" if vary else "leave it out"
    for place, name in enumerate(survey.names[: survey.width]):
        if low[place] == high[place]:
            problems.append(
                f"column {name!r} has the value {low[place]:g} in all {survey.rows_used} rows, "
                f"expected values that vary; {advice if name in features else 'leave it out'}."
            )
        elif max(-low[place], high[place]) > 1e30 or std[place] < 1e-30:
            problems.append(
                f"column {name!r} ranges from {low[place]:g} to {high[place]:g}, which float32 "
                "cannot compute with; change its unit."
            )
    return problems


def _describe(survey: Survey, place: int) -> Column:
    moments, frequent = survey.moments, survey.frequent[place]
    mean, std = float(moments.mean[place]), math.sqrt(float(moments.variance[place]))
    name = survey.names[place]
    kinds = survey.dtypes[name]
    offset = _offset(mean, std)
    atoms: tuple[tuple[float, float], ...] = ()
    notes = []
    if any(kind.startswith(("Float", "Decimal")) for kind in kinds):
        repeated = frequent.top(_ATOM)
        atoms = tuple((v, c / frequent.count) for v, c in repeated if c >= 5)
        notes += [f"{value:g} in {share:.0%} of the rows (an atom)" for value, share in atoms[:3]]
    elif "Boolean" in kinds:
        notes.append("true and false taken as 1 and 0")
    else:
        notes.append("whole numbers taken as real numbers")
    if offset:
        notes.append(f"{offset:.17g} subtracted before rounding to float32")
    return Column(
        name=name,
        dtype="/".join(kinds),
        low=float(moments.low[place]),
        high=float(moments.high[place]),
        mean=mean,
        std=std,
        unique=frequent.distinct,
        atoms=atoms,
        offset=offset,
        treatment="; ".join(notes),
    )


def _offset(mean: float, std: float) -> float:
    """The mean, rounded to the power of ten above the std, where float32 needs it; else 0."""
    if abs(mean) <= _RESOLVED * std:
        return 0.0
    return float(round(mean, -math.ceil(math.log10(std))))


def _warn(survey: Survey, columns: tuple[Column, ...], features: int, what: str) -> None:
    names = [column.name for column in columns]
    # Context first: a feature that it determines has no density, the other way round is no harm.
    order = [*range(features, survey.width), *range(features)]
    for found in survey.scatter.dependences(order=order):
        if found.column < features:
            of = ", ".join(repr(names[place]) for place in found.of)
            warnings.warn(
                f"{what}: column {names[found.column]!r} is a linear combination of {of}, so the "
                "density has no upper bound there; leave one of them out with --columns.",
                UserWarning,
                stacklevel=3,
            )
    atoms = [column for column in columns[:features] if column.atoms]
    if atoms:
        listed = ", ".join(
            f"{column.name!r} ({column.atoms[0][0]:g} in {column.atoms[0][1]:.0%} of the rows)"
            for column in atoms
        )
        warnings.warn(
            f"{what}: repeated values in {listed}: the density there can be inflated without "
            "bound; leave such columns out with --columns, or do not compare densities there.",
            UserWarning,
            stacklevel=3,
        )
