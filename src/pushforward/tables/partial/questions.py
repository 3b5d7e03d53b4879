"""What a fitted table answers of rows that are known in part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from pushforward.data.table_source import did_you_mean
from pushforward.errors import ArgumentError, DataError
from pushforward.tables.partial.completion import (
    FEWEST_EFFECTIVE,
    Completion,
    effective,
    resample,
)

if TYPE_CHECKING:
    import numpy

    from pushforward.tables.partial.explain import Surprise
    from pushforward.tables.schema.schema import Schema
    from pushforward.tables.scoring import Scorer

__all__ = ["Marginal", "PartialRows", "Region"]

_DRAWS = 1000


class Marginal(NamedTuple):
    """Log-densities of some columns of rows.

    Attributes:
        log_prob: ``(n,)``, nats.
        standard_error: ``(n,)``, nats; zero where they are exact.
        effective: how many draws each is worth; infinite where it is exact.
    """

    log_prob: numpy.ndarray[Any, Any]
    standard_error: numpy.ndarray[Any, Any]
    effective: numpy.ndarray[Any, Any]


class Region(NamedTuple):
    """The rows of highest density that together have a probability.

    Attributes:
        level: the probability.
        log_density: rows of at least this log-density, nats, belong to it.
        standard_error: of the log-density, nats.
    """

    level: float
    log_density: float
    standard_error: float


class PartialRows:
    """Marginal densities, gaps filled, regions of highest density: for a fitted table."""

    schema: Schema
    notes: list[str]
    _scorer: Any
    _completion: Completion | None = None

    def _completing(self) -> Completion:
        scorer: Scorer = self._scorer()
        if self._completion is None or self._completion.scorer is not scorer:
            self._completion = Completion(scorer)
        return self._completion

    def _numbers(self, data: Any) -> Tensor:
        """All rows of a table as numbers of the columns that it has; NaN for others."""
        from pushforward.data.readers import open_table
        from pushforward.tables.schema.cells import numbers, refuse_kinds
        from pushforward.tables.schema.matrix import refuse_values

        table = open_table(data)
        there = [name for name in self.schema.names if name in table.names]
        if not there:
            raise DataError(
                f"{table.title}: none of the model's columns is there."
                f"{did_you_mean('', self.schema.names)}"
            )
        columns = [self.schema.column(name) for name in there]
        places = [self.schema.names.index(name) for name in there]
        parts = []
        for chunk in table.chunks(there):
            refuse_kinds(chunk, columns, table.title)
            rows = numbers(chunk.frame, columns)
            refuse_values(chunk, columns, rows, table.title, "learn")
            whole = torch.full((len(rows), len(self.schema.names)), math.nan, dtype=torch.float64)
            whole[:, places] = torch.from_numpy(rows)
            parts.append(whole)
        return torch.cat(parts)

    def _scorable(self, data: Any, unseen: str) -> tuple[Tensor, Tensor, str]:
        """Rows as scoring reads them, which of them it scores, and what messages call the table.

        A label that no training row had is ``UNSEEN`` if ``unseen`` is ``lowest``.
        """
        from pushforward.data.readers import open_table

        table = open_table(data)
        scorer: Scorer = self._scorer()
        parts = [(rows, complete) for _, rows, complete in scorer.read(table, unseen, [])]
        numbers, complete = (torch.cat(part) for part in zip(*parts, strict=True))
        return numbers, complete, table.title

    def marginal(
        self,
        data: Any,
        columns: Sequence[str] | None = None,
        *,
        draws: int = _DRAWS,
        seed: int = 0,
    ) -> Marginal:
        """Log-density of some of the columns of each row, whatever the others are.

        The other columns are drawn and the draws weighed. Columns that come first among the mixed
        ones need no draw, and their density is exact.

        Args:
            data: rows; all context columns, and the columns asked for.
            columns: the columns, by default those that ``data`` has.
            draws: of the other columns, for each row.
            seed: of the draws.

        Raises:
            ArgumentError: a column that is no feature of the model.
            DataError: a value is missing.
        """
        from pushforward.data.readers import open_table

        _refuse_draws("marginal", draws)
        data = open_table(data)
        numbers = self._numbers(data)
        features = self.schema.features
        named = [n for n in features if n in data.names] if columns is None else columns
        if not named:
            raise ArgumentError("TableFlow.marginal: columns names none, expected at least one.")
        for name in named:
            if name not in features:
                raise ArgumentError(
                    f"TableFlow.marginal: columns names {name!r}, which is no feature of the "
                    f"model.{did_you_mean(name, features)}"
                )
        used = [features.index(name) for name in named]
        used += range(len(features), len(self.schema.names))
        rows, context = self._filled(numbers, used)
        generator = torch.Generator().manual_seed(seed)
        found = self._completing().complete(rows, named, draws, context, generator)
        weights = found.log_weight
        log_p = torch.logsumexp(weights, -1) - math.log(draws)
        ratio = (weights - log_p[:, None]).exp()
        error = ratio.std(-1) / math.sqrt(draws)
        same = (weights == weights[:, :1]).all(-1)  # no draw had a say in it
        worth = torch.where(same, math.inf, effective(weights))
        error = torch.where(same, 0.0, error)
        return Marginal(log_p.numpy(), error.numpy(), worth.numpy())

    def _filled(self, numbers: Tensor, used: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Rows of the flow, of which all columns but those used hold what nobody reads."""
        columns = self.schema.columns
        filled = numbers.clone()
        for place, column in enumerate(columns):
            if place not in used:
                filled[:, place] = column.usual
        rows, context = self._scorer().rows(filled)
        if bool(rows.isnan().any()) or (context is not None and bool(context.isnan().any())):
            missing = numbers.isnan() & torch.tensor([i in used for i in range(len(columns))])
            row, place = (int(i) for i in missing.nonzero()[0])
            raise DataError(
                f"column {columns[place].name!r} is missing in row {row + 1}, expected a value; "
                f"fill it in."
            )
        return rows, context

    def impute(self, data: Any, *, draws: int = _DRAWS, seed: int = 0) -> Any:
        """The rows with their gaps filled by draws, given what is known of each.

        Args:
            data: rows, in which values or whole columns are missing.
            draws: from which one is drawn by weight, for each row.
            seed: of the draws.

        Raises:
            DataError: a context column has a gap, or nothing is known of a row.
        """
        from pushforward.tables.sampling import frame_of

        _refuse_draws("impute", draws)
        numbers = self._numbers(data)
        width = len(self.schema.features)
        gaps = numbers[:, :width].isnan()
        generator = torch.Generator().manual_seed(seed)
        result, worst = numbers.clone(), math.inf
        patterns, which = torch.unique(gaps, dim=0, return_inverse=True)
        for k, pattern in enumerate(patterns):
            if not bool(pattern.any()):
                continue
            known = [n for n, gap in zip(self.schema.features, pattern, strict=True) if not gap]
            some = (which == k).nonzero()[:, 0]
            filled, worth = self._fill(numbers[some], known, draws, generator)
            result[some, :width] = filled
            worst = min(worst, worth)
        self.notes = []
        if worst < FEWEST_EFFECTIVE:
            self.notes.append(
                f"what is known of some rows is unlikely under the model: the draws that fill them "
                f"are worth {worst:.1f} of {draws} only."
            )
        return frame_of(self.schema, result)

    def _fill(
        self, numbers: Tensor, known: list[str], draws: int, generator: torch.Generator
    ) -> tuple[Tensor, float]:
        features = self.schema.features
        used = [features.index(name) for name in known]
        used += range(len(features), len(self.schema.names))
        rows, context = self._filled(numbers, used)
        found = self._completing().complete(rows, known, draws, context, generator)
        flat = self._scorer().features.numbers(found.rows.flatten(0, 1))
        # a gap may be modelled as a value like others, but is none to fill a gap with
        still = flat.isnan().any(-1).reshape(found.log_weight.shape)
        weights = found.log_weight.masked_fill(still, -math.inf)
        picked = resample(found._replace(log_weight=weights), 1, generator)[:, 0]
        filled = self._scorer().features.numbers(picked)
        filled[:, used[: len(known)]] = numbers[:, used[: len(known)]]
        worth = math.inf if found.exact else float(effective(weights).min())
        return filled, worth

    def region(
        self, level: float, *, given: Mapping[str, Any] | None = None, draws: int = 20_000
    ) -> Region:
        """The least log-density of the most likely rows that together have a probability.

        Args:
            level: the probability, between 0 and 1.
            given: values of the context columns, if there are any.
            draws: it is read off.

        Raises:
            ArgumentError: a level that is no probability.
        """
        from pushforward.tables.sampling import given_numbers

        if not 0.0 < level < 1.0:
            raise ArgumentError(
                f"TableFlow.region: level is {level}, expected a probability between 0 and 1."
            )
        _refuse_draws("region", draws)
        scorer: Scorer = self._scorer()
        generator = torch.Generator().manual_seed(0)
        seen = None
        if self.schema.context:
            values = given_numbers(self.schema, given or {}, self.schema.context)
            seen = scorer.given.rows(values) if scorer.given else None
        if seen is None:
            x = scorer.flow.sample(draws, generator=generator)
            log_p = scorer.log_prob(x, None)
        else:
            x = scorer.flow.sample(draws, seen[:1], generator=generator)[:, 0]
            log_p = scorer.log_prob(x, seen[:1].expand(draws, -1))
        ordered = log_p.sort().values
        place = (1.0 - level) * (draws - 1)
        spread = math.sqrt(draws * level * (1.0 - level))  # of the rank, in rows
        ends = [int(min(max(place + s * spread, 0), draws - 1)) for s in (-1, 1)]
        error = 0.5 * float(ordered[ends[1]] - ordered[ends[0]])
        return Region(level, float(ordered[round(place)]), error)

    def explain(self, data: Any, *, unseen: str = "error") -> list[list[Surprise]]:
        """Which columns make rows unlikely: the surprise of each column given all others.

        Of each row the columns, the most surprising first: how many nats less likely its value is,
        given the others, than such values are on average, and what was to be expected instead. It
        takes some hundred densities a row and column. Of a row that is not scored because values
        are missing nothing is said; of one without density, which columns make it impossible.

        Args:
            data: rows.
            unseen: what becomes of a label that no training row had, as in ``log_prob``.
        """
        from pushforward.tables.partial.explain import surprises

        numbers, complete, _ = self._scorable(data, unseen)
        found = iter(surprises(self._scorer(), numbers[complete]))
        return [next(found) if whole else [] for whole in complete.tolist()]

    def calibration(self, data: Any, *, unseen: str = "error") -> dict[str, Any]:
        """Whether the model's probabilities are right, on rows that it was not fitted to.

        Args:
            data: rows, a few hundred or more; those that are not scored because values are
                missing are left out.
            unseen: what becomes of a label that no training row had, as in ``log_prob``.

        Returns:
            what ``tables.calibration`` tells: shares of the rows in regions of highest density,
            PIT and central intervals of each column of numbers, the energy score; and
            ``rows_left_out``.

        Raises:
            DataError: no row is complete.
        """
        from pushforward.tables.calibration import calibration

        numbers, complete, what = self._scorable(data, unseen)
        if not bool(complete.any()):
            raise DataError(
                f"{what}: all of its {len(numbers)} rows have missing or infinite values, expected "
                f"complete ones to compare the model with; fill them in."
            )
        found = calibration(self._scorer(), numbers[complete])
        return {**found, "rows_left_out": int((~complete).sum())}

    def likeness(self, drawn: Any, data: Any) -> dict[str, Any]:
        """How like drawn rows are to rows of a table, and whether they are copies of them.

        Args:
            drawn: rows, for instance of ``sample``.
            data: rows to compare them with.

        Returns:
            what ``tables.likeness`` tells: differences of margins and correlations, and distances
            to the nearest row.
        """
        from pushforward.tables.likeness import likeness

        width = len(self.schema.features)
        both = [self._numbers(rows)[:, :width] for rows in (drawn, data)]
        return likeness(self.schema.columns[:width], *both)


def _refuse_draws(method: str, draws: int) -> None:
    if draws < 2:
        raise ArgumentError(f"TableFlow.{method}: draws is {draws}, expected at least 2.")
