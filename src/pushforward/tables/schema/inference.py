"""From a table to its schema, in two passes over its chunks: what it holds and what is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from pushforward.advice import option
from pushforward.data.readers import open_table
from pushforward.data.table_source import TableSource, did_you_mean
from pushforward.errors import ArgumentError, DataError, InputTypeError
from pushforward.numerics.sketches import Scatter
from pushforward.numerics.sketches.scatter import Dependence
from pushforward.tables.schema.column import Column, Declared, declared
from pushforward.tables.schema.kinds import kind_of_numbers, spacing_of
from pushforward.tables.schema.look import Look, look
from pushforward.tables.schema.schema import Missing, Schema
from pushforward.tables.schema.survey import WHOLE, Survey

__all__ = ["infer_schema"]

_LEAST_ROWS = 2
_LEAST_PAIRED = 10  # rows that do not lie on one line by chance, rounded as they may be
_SAME = 1e-10  # of the variance may be left of a copy
_CONTINUOUS = ("real", "positive", "interval")


def infer_schema(
    source: object,
    *,
    columns: Sequence[str] | None = None,
    context: Sequence[str] = (),
    weights: str | None = None,
    missing: Missing = "refuse",
    types: Mapping[str, str | Declared] | None = None,
    signed: bool = False,
    plain: Literal["", "numbers", "all"] = "",
    what: str = "DATA",
) -> Schema:
    """Read a table and describe the columns a model of it would read.

    Args:
        source: anything `pushforward.data.open_table` takes.
        columns: the features; without it all columns but ``context`` and ``weights``.
        context: columns the density is to be conditioned on.
        weights: a column of row weights.
        missing: ``"refuse"`` missing and infinite values, ``"drop"`` the rows that hold one, or
            ``"model"`` that they are missing.
        types: what columns are, where that is not what their values look like: ``real``,
            ``positive``, ``interval:0,100``, ``circular:360``, ``integer``, ``ordinal``,
            ``categorical``, ``boolean``, ``date``.
        signed: whether weights may be negative.
        plain: ``numbers`` takes every column of numbers as real, without atoms, as a recipe for
            angles wants it; ``all`` every column at all, as a flow of one's own does.
        what: what messages call the table.

    Raises:
        ArgumentError: ``missing`` or a type is none that there is.
        DataError: the table cannot be used as it is. The message has one sentence a problem, each
            naming the column, the first row and what to do.

    Example:
        >>> table = {"a": [0.5 * i for i in range(30)], "b": ["x", "y", "z"] * 10}
        >>> [(column.name, column.type) for column in infer_schema(table).columns]
        [('a', 'real'), ('b', 'categorical')]
    """
    _refuse_arguments(missing, columns, context)
    table = open_table(source, what=what)
    what = table.title if table.kind == "file" else what
    features = _choose(table, columns, context, weights, what)
    names = [*features, *context]
    said = {name: declared(name, text) for name, text in (types or {}).items()}
    if plain == "all":
        said = {name: Declared("real") for name in names} | said
    problems = [
        f"{option('types')} names {name!r}, which is no column that is used."
        f"{did_you_mean(name, names)}"
        for name in said
        if name not in names
    ]
    looked = look(table, names, said)
    if plain:
        said = {name: Declared("real") for name in names if name not in looked} | said
    problems += _unreadable(looked, features, columns is None)
    if problems:
        raise DataError("\n".join(f"{what}: {problem}" for problem in problems))
    known = {name: one.column(table.rows) for name, one in looked.items()}
    survey = Survey([known.get(n, Column(n, "")) for n in names], weights, missing, signed)
    for chunk in table.chunks(survey.names):
        survey.update(chunk, what)
    problems = [*survey.problems(), *_few_rows(survey, missing), *_too_large(survey, said)]
    described = [] if problems else _described(survey, said)
    if plain:  # an atom would be a code, which such a flow has no place for
        described = [replace(c, atoms=(), treatment="") if c.atoms else c for c in described]
    problems += [problem for column in described for problem in _unusable(column)]
    if not problems:
        problems += _dependent(survey, described, len(features))
    if problems:
        raise DataError("\n".join(f"{what}: {problem}" for problem in problems))
    _refuse_constant(described, len(features), what)
    _warn_few(survey, len(features), what)
    return Schema(
        columns=tuple(described),
        context=tuple(context),
        weights=weights,
        signed_weights=signed,
        missing=missing,
        rows_read=survey.rows_read,
        rows_dropped=survey.rows_read - survey.rows_used,
        native=table.native,
    )


def _refuse_arguments(missing: str, columns: Sequence[str] | None, context: Sequence[str]) -> None:
    if missing not in ("refuse", "drop", "model"):
        raise ArgumentError(
            f"infer_schema: missing is {missing!r}, expected 'refuse', 'drop' or 'model'."
        )
    for name, value in (("columns", columns), ("context", context)):
        if isinstance(value, str):
            raise InputTypeError(
                f"infer_schema: {name} is the text {value!r}, expected a list of names; "
                f"write {name}=[{value!r}]."
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
    given = [("columns", columns or ()), ("context", context), ("weights", others[-1:])]
    for part, names in given if weights is not None else given[:2]:
        problems += [
            f"{option(part)} names {name!r}, which is no column.{did_you_mean(name, table.names)}"
            for name in names
            if name not in table.names
        ]
    used = [*features, *others]
    listed = f"{option('columns')}, {option('context')} and {option('weights')}"
    problems += [
        f"the column {name!r} is named twice among {listed}; give it one part."
        for name in dict.fromkeys(used)
        if used.count(name) > 1
    ]
    if "" in used:
        left = [name for name in features if name]
        problems.append(
            f"column {table.names.index('') + 1} has no name, as when a frame was written with its "
            f"index; name it, or choose with {option('columns', left)}."
        )
    if not features:
        problems.append("no column is left to model, expected at least one besides the others.")
    if problems:
        raise DataError("\n".join(f"{what}: {problem}" for problem in problems))
    return features


def _unreadable(looked: Mapping[str, Look], features: list[str], all_columns: bool) -> list[str]:
    """A sentence for each column that holds what no model reads, with what to do."""
    flawed = {name: one.problem() for name, one in looked.items() if one.problem()}
    left = [name for name in features if name not in flawed]
    found = []
    for name, problem in flawed.items():
        ways = looked[name].remedies()
        advice = "leave it out"
        if left and name in features:
            advice = f"leave it out with {option('columns', left)}"
        ways.append(advice)
        if looked[name].may_insist():
            ways.append(f"insist with {option('types', {name: 'categorical'})}")
        found.append(f"column {name!r} {problem}; {', or '.join(ways)}.")
    return found


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


def _described(survey: Survey, said: Mapping[str, Declared]) -> list[Column]:
    found = []
    for column, known, kinds in zip(survey.columns, survey.each, survey.dtypes, strict=True):
        gaps = survey.gaps(column.name) if survey.missing == "model" else 0.0
        column = replace(column, dtype="/".join(kinds), gaps=gaps)
        if column.type == "date":
            low, high = known.ends
            mean, std = known.mean, known.std
            offset = float(round(mean))
            column = replace(column, low=low, high=high, mean=mean, std=std, offset=offset)
            spacing, phase = spacing_of(known), known.steps.phase
            column = replace(column, spacing=spacing, phase=phase)
            if spacing > 1:
                column = replace(column, treatment=f"in steps of {column.steps}")
        elif not column.labels:
            column = kind_of_numbers(column, known, said.get(column.name))
        if gaps:
            words = [column.treatment, f"missing in {gaps:.0%} of the rows, which is modelled"]
            column = replace(column, treatment="; ".join(filter(None, words)))
        found.append(column)
    return _with_copies(found, survey)


def _with_copies(columns: list[Column], survey: Survey) -> list[Column]:
    """Columns with a note where an earlier one says the same in every row.

    Copies with a density are refused elsewhere; a probability given its copy is just 1.
    """
    first: dict[tuple[bytes, tuple[str, ...]], str] = {}
    found = []
    for column, known in zip(columns, survey.each, strict=True):
        other = column.name
        if column.coded or column.counted:
            other = first.setdefault((known.fingerprint, column.labels), column.name)
        if other != column.name:
            note = f"the same as column {other!r} in every row: one of them can be left out"
            column = replace(column, treatment="; ".join(filter(None, (column.treatment, note))))
        found.append(column)
    return found


def _too_large(survey: Survey, said: Mapping[str, Declared]) -> list[str]:
    """A sentence for each column of whole numbers that float64 would take for one another."""
    found = []
    for column in survey.columns:
        first = survey.beyond(column.name)
        asked = said[column.name].type if column.name in said else "integer"
        if first and asked == "integer":
            found.append(_beyond(column.name, f", the first in {first}"))
    return found


def _beyond(name: str, where: str) -> str:
    return (
        f"column {name!r} holds whole numbers beyond 2^53 = {WHOLE:,.0f}{where}, of which "
        f"neighbours cannot be told apart; leave it out if it numbers the rows, or subtract what "
        f"its values share, or divide by it."
    )


def _unusable(column: Column) -> list[str]:
    """What is wrong with the numbers of a column, given what it is taken for."""
    if column.low is None or column.high is None or column.type == "constant":
        return []
    name, low, high = column.name, column.low, column.high
    if column.type != "date" and (max(-low, high) > 1e30 or (column.std or 0.0) < 1e-30):
        return [
            f"column {name!r} ranges from {low:g} to {high:g}, which float32 cannot compute with; "
            f"change its unit."
        ]
    if column.type == "integer" and max(-low, high) >= WHOLE:
        return [_beyond(name, "")]
    if column.type in ("integer", "interval", "positive"):
        least, most = column.ends
        if (least is not None and low < least) or (most is not None and high > most):
            wrong = low if least is not None and low < least else high
            return [
                f"column {name!r} is said to be {_said(column)} and holds {wrong:g}; correct the "
                f"value or the type."
            ]
    if column.type == "integer" and column.step != 1.0 and not _whole(column):
        return [
            f"column {name!r} is said to be integer and holds numbers with a fraction; correct "
            f"them, or leave the type out."
        ]
    return []


def _whole(column: Column) -> bool:
    return column.reason == "whole numbers" or column.step >= 1.0


def _said(column: Column) -> str:
    if column.type == "positive":
        return "positive"
    low, high = ("" if end is None else f"{end:g}" for end in column.ends)
    return f"{column.type} from {low} to {high}" if high else f"{column.type} from {low} up"


def _dependent(survey: Survey, columns: list[Column], features: int) -> list[str]:
    """Columns that others determine exactly: their density given those is infinite."""
    names = [column.name for column in columns]
    numbers = [i for i, column in enumerate(columns) if not column.labels]
    # Context first: a feature that it determines has no density, the other way round is no harm.
    # Then what has a probability, which is at most 1 whatever determines it.
    order = sorted(numbers, key=lambda i: (i < features, columns[i].type in _CONTINUOUS, i))
    found: dict[int, str] = {}
    for one in _dependences(survey.scatter, order):
        of = [repr(names[place]) for place in one.of]
        copy = f"a copy of {of[0]}, but for unit and offset"
        found[one.column] = copy if len(of) == 1 else f"a linear combination of {', '.join(of)}"
    above = [i for i in order if survey.each[i].ends[0] > 0.0 and i not in found]
    for one in _dependences(survey.log_scatter, above):
        of = [repr(names[place]) for place in one.of]
        power = f"a power of {of[0]}, but for its unit"
        product = f"a product of powers of {', '.join(of)}, as a total or a ratio is"
        found[one.column] = power if len(of) == 1 else product
    problems = []
    for place, how in sorted(found.items()):
        if place < features and columns[place].type in _CONTINUOUS:
            left = [name for name in names[:features] if name != names[place]]
            problems.append(
                f"column {names[place]!r} is {how}, so that the density is infinite; leave "
                f"one of them out, as with {option('columns', left)}."
            )
    return problems


def _dependences(scatter: Scatter, order: list[int]) -> list[Dependence]:
    """Columns that those before them determine; of few rows, where all do, only those of one."""
    if scatter.count > len(order):
        return scatter.dependences(order=order)
    if scatter.count < _LEAST_PAIRED:
        return []
    covariance = scatter.covariance[order][:, order]
    scale = covariance.diagonal().sqrt()
    alone = (covariance / scale.outer(scale)).square() > 1.0 - _SAME  # a constant gives NaN
    first = alone.tril(-1).byte().argmax(1)
    return [
        Dependence(order[i], (order[int(first[i])],))
        for i in range(len(order))
        if bool(alone[i, :i].any())
    ]


def _warn_few(survey: Survey, features: int, what: str) -> None:
    if survey.rows_used <= features:
        few = "fewer than" if survey.rows_used < features else "no more than"
        warnings.warn(
            f"{what}: {_count(survey.rows_used)} of {features} columns, {few} columns: rows do "
            f"not tell how columns hang together; give more rows, or fewer columns.",
            UserWarning,
            stacklevel=4,
        )


def _refuse_constant(columns: list[Column], features: int, what: str) -> None:
    if all(column.type == "constant" for column in columns[:features]):
        raise DataError(
            f"{what}: all columns have the same value in every row, expected at least one that "
            f"varies; there is nothing to learn."
        )
