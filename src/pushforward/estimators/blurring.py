"""What the outlier detector reads, learns and scores: densities of slightly blurred rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pushforward.estimators.inputs import Inputs

if TYPE_CHECKING:
    from pushforward.flows import Blurred, BlurredColumns
    from pushforward.tables.schema.schema import Missing

__all__ = ["OneHotInputs", "learn", "normality", "steps_of"]

# The rule was chosen on the tables of ADBench, all with the same figures.
_SCORED = 0.04  # noise of the densities that make the score, in standard deviations
_MEMBERS = 2  # flows, of different seeds
_SHARE = 0.5  # of the columns' own densities
_STEPS, _BATCH, _RATE = 300, 256, 5e-3
_SMALL, _SMALL_STEPS = 100, 60  # a table of so few rows is learned within a second
_NARROW = 1000  # rows below which networks are narrower
_CHUNK = 2000  # rows that are scored at a time


def steps_of(rows: int, batch: int) -> int:
    """Steps that each flow is trained for; in a large table every row is seen once at least."""
    if rows <= _SMALL:
        return _SMALL_STEPS
    return max(_STEPS, math.ceil(rows / batch))


def learn(rows: Tensor, seed: int, options: Mapping[str, Any]) -> tuple[Blurred, BlurredColumns]:
    """The densities of rows ``(n, columns)``, jointly and of each column.

    Args:
        rows: in float64.
        seed: of weights, batches and noise.
        options: of ``pf.fit``, before what is chosen here.
    """
    from pushforward.flows import Blurred, BlurredColumns
    from pushforward.objectives import BlurredLikelihood
    from pushforward.training import fit

    n = len(rows)
    width = 32 if n < _NARROW else 64
    joint = Blurred.of(rows, members=_MEMBERS, hidden=(width, width), seed=1000 * seed)
    batch = min(_BATCH, max(32, n // 2))
    chosen: dict[str, Any] = {"batch_size": batch, "lr": _RATE, "validation": 0, "device": "cpu"}
    if "epochs" not in options:
        chosen["steps"] = steps_of(n, batch)
    seen = joint.along(rows).float()
    # each row gets several noises a step; copies of rows held out would be learned from
    if n < 2 * batch and not options.get("validation"):
        seen = seen.repeat(4, 1)
    for i, flow in enumerate(joint.flows):
        fit(
            flow,  # type: ignore[arg-type]
            seen,
            context=torch.zeros(len(seen), 1),  # the objective puts the size of the noise there
            objective=BlurredLikelihood(joint.variance[: joint.modelled], joint.sizes),
            seed=1000 * seed + i,
            **{"progress": False, **chosen, **options},
        )
    return joint.precise(), BlurredColumns(rows.shape[1], _SCORED).fit(rows)


def normality(joint: Blurred, columns: BlurredColumns, rows: Tensor) -> Tensor:
    """How much like those learned from rows ``(n, columns)`` are, nats, in float64.

    Nats of standardized rows, so that units do not matter.
    """
    unit = (1.0 + _SHARE) * joint.deviation.log().sum()
    found = []
    with torch.no_grad():
        for part in rows.split(_CHUNK):  # type: ignore[no-untyped-call]
            log_p = joint.log_probs(part, _SCORED).mean(0)
            found.append(log_p + _SHARE * columns.log_prob(part) + unit)
    return torch.cat(found) if found else rows.new_zeros(0)


class OneHotInputs(Inputs):
    """What a detector reads off X: labels as zeros and ones, angles as places, numbers as they are.

    A label of two or fewer stays one number. One that was never seen is -1 there, and has none of
    the ones elsewhere: it lies off all rows that were learned from. So does another value in a
    column that was constant.
    """

    @classmethod
    def learn(
        cls, who: str, columns: Any, types: Mapping[str, Any] | None, missing: Missing
    ) -> OneHotInputs:
        """What there is in a frame, or in columns of an array, which are numbers."""
        found = super().learn(who, columns, types, missing)
        made = cls(found.who, found.schema, found.width)
        if made.schema is not None:
            known = tuple(
                replace(column, type="categorical")
                if column.type == "constant" and column.labels
                else column
                for column in made.schema.columns
            )
            made.schema = replace(made.schema, columns=known)
        return made

    def rows(self, columns: Any) -> Tensor:
        """Rows of numbers in float64, ``(n, width)``; NaN in those with gaps that are dropped."""
        if self.schema is None:
            return super().rows(columns)
        from pushforward.data.readers import open_table
        from pushforward.tables.schema.matching import match
        from pushforward.tables.schema.matrix import chunk_rows

        if isinstance(columns, Mapping):  # an array has no names: its columns are taken in order
            columns = dict(zip(self.schema.names, columns.values(), strict=True))
        what, layout = f"{self.who}: X", self.layout
        table = open_table(columns, what=what)
        names = match(table.names, self.schema, what=what).columns
        found = []
        for _, values, complete in chunk_rows(
            table, names, names, self.schema, what, unseen="lowest"
        ):
            rows = layout.rows(torch.from_numpy(values))
            rows[torch.from_numpy(~complete)] = torch.nan
            found.append(_one_hot(rows, layout.mixed))
        return torch.cat(found)


def _one_hot(rows: Tensor, columns: Sequence[Mapping[str, Any]]) -> Tensor:
    """Rows as a layout has them, in which every number has a size.

    Args:
        rows: ``(n, width)``; a code comes before the value that it may stand in for.
        columns: what they hold.
    """
    made: list[Tensor] = []
    place = 0
    for column in columns:
        codes, value = column.get("codes", 0), column.get("value", "")
        if codes:
            made += _ones(rows[:, place], codes)
            place += 1
        if value == "angle":
            turned = rows[:, place] * (2.0 * math.pi / column["period"])
            made += [turned.cos(), turned.sin()]
        elif value:
            made.append(rows[:, place])
        place += value != ""
    return torch.stack(made, 1)


def _ones(code: Tensor, codes: int) -> list[Tensor]:
    """A column for each code; NaN, a row to be left out, stays NaN."""
    if codes <= 2:
        return [code]
    return [torch.where(code.isnan(), code, (code == k).double()) for k in range(codes)]
