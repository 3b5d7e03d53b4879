"""Rows of a table scored in float64, chunk by chunk."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pushforward.errors import ArgumentError
from pushforward.flows import Flow
from pushforward.tables.rows import scoring_noise
from pushforward.tables.schema.cells import UNSEEN
from pushforward.tables.schema.matching import match
from pushforward.tables.schema.matrix import chunk_rows, layouts
from pushforward.tables.schema.schema import Schema

if TYPE_CHECKING:
    import numpy

    from pushforward.data.table_source import TableSource

__all__ = ["Scorer", "matched"]

_NUMBERS = 2**19  # of the rows that are scored at a time: with more, memory grows and no speed
_FEWEST, _MOST = 2**11, 2**15  # such rows


class Scorer:
    """A flow in float64 on the CPU, so that an exact score does not depend on its batch.

    Args:
        flow: the flow.
        schema: the columns that its rows are made of.
    """

    def __init__(self, flow: Flow, schema: Schema) -> None:
        self.flow = copy.deepcopy(flow).to("cpu").double().eval()
        self.schema = schema
        self.features, self.given = layouts(schema)
        self._chunk = min(max(_NUMBERS // _widest(self.flow), _FEWEST), _MOST)

    def log_prob(
        self, x: Tensor, context: Tensor | None, noise: torch.Generator | None = None
    ) -> Tensor:
        """Log-densities of rows of the flow, ``(n,)`` in float64."""
        noise = scoring_noise() if noise is None else noise
        pieces = []
        with torch.no_grad():
            for i in range(0, len(x), self._chunk):
                s = slice(i, i + self._chunk)
                c = None if context is None else context[s].double()
                pieces.append(self.flow.log_prob(x[s].double(), c, generator=noise))
        return torch.cat(pieces) if pieces else torch.empty(0, dtype=torch.float64)

    def rows(self, numbers: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows of the flow and their context from numbers of the schema's columns."""
        width = len(self.schema.features)
        x = self.features.rows(numbers[:, :width])
        return x, None if self.given is None else self.given.rows(numbers[:, width:])

    def of_numbers(self, numbers: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Log-densities of numbers of the schema's columns, ``(n,)``.

        A label that was never seen counts as the least likely of those that were.
        """
        unseen = (numbers == UNSEEN) & torch.tensor(
            [bool(column.labels) for column in self.schema.columns]
        )
        found = torch.empty(len(numbers), dtype=torch.float64)
        strange = unseen.any(1)
        found[~strange] = self.log_prob(*self.rows(numbers[~strange]), noise)
        if bool(strange.any()):
            found[strange] = self._lowest(numbers[strange], unseen[strange])
        return found

    def _lowest(self, numbers: Tensor, unseen: Tensor) -> Tensor:
        """The least over the labels that could stand there, column by column."""
        for place in unseen.any(0).nonzero()[:, 0].tolist():
            rows = unseen[:, place]
            codes = range(len(self.schema.columns[place].labels))
            each = []
            for code in codes:
                tried = torch.where(unseen[rows], 0.0, numbers[rows])
                tried[:, place] = float(code)
                each.append(self.log_prob(*self.rows(tried)))
            numbers[rows, place] = torch.stack(each).argmin(0).double()
        return self.log_prob(*self.rows(numbers))

    def read(
        self, table: TableSource, unseen: str, notes: list[str]
    ) -> Iterator[tuple[Any, Tensor, Tensor]]:
        """Chunks of a table as they are, as numbers, and which of their rows can be scored.

        What there is to remark on its columns is added to ``notes``.

        Args:
            table: the table.
            unseen: ``error`` refuses labels that no training row had; with ``lowest`` they come out
                as ``UNSEEN``.
            notes: what is added to.

        Raises:
            ArgumentError: ``unseen`` is neither ``error`` nor ``lowest``.
            DataError: the table does not fit the schema.
        """
        if unseen not in ("error", "lowest"):
            raise ArgumentError(f"unseen is {unseen!r}, expected 'error' or 'lowest'.")
        columns, remarks = matched(table, self.schema)
        notes += remarks
        for chunk, rows, complete in chunk_rows(
            table, table.names, columns, self.schema, table.title, unseen
        ):
            yield chunk.frame, torch.from_numpy(rows), torch.from_numpy(complete)

    def chunks(
        self, table: TableSource, unseen: str, notes: list[str]
    ) -> Iterator[tuple[Any, numpy.ndarray[Any, Any]]]:
        """As ``read``, with the log-densities of the rows, NaN of those that are not scored."""
        noise = scoring_noise()
        for frame, rows, complete in self.read(table, unseen, notes):
            log_p = torch.full((len(rows),), math.nan, dtype=torch.float64)
            log_p[complete] = self.of_numbers(rows[complete], noise)
            yield frame, log_p.numpy()


def _widest(flow: Flow) -> int:
    """The most numbers that a row becomes: its own, or the parameters of its mixed columns."""
    from pushforward.bases import MixedColumns

    mixed = [part for part in flow.modules() if isinstance(part, MixedColumns)]
    return max(math.prod(flow.event_shape), 1, *(part.network.last.out_features for part in mixed))


def matched(table: TableSource, schema: Schema) -> tuple[tuple[str, ...], list[str]]:
    """The names that a table has for the schema's columns, and what to say of the others.

    An array has no names: if it is as wide as the model, its columns are taken in order.
    """
    if table.kind == "array" and len(table.names) == len(schema.names):
        return table.names, []
    found = match(table.names, schema, what=table.title)
    return found.columns, [found.note] if found.note else []
