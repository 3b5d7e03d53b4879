"""Rows of which some columns are known, completed by weighted draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from pushforward.advice import option
from pushforward.bases import Columns, MixedColumns
from pushforward.errors import DataError
from pushforward.tables.assemble import started
from pushforward.tables.partial.proposal import Proposal
from pushforward.tables.scoring import Scorer
from pushforward.transforms import Transform

__all__ = [
    "FEWEST_EFFECTIVE",
    "Completed",
    "Completion",
    "conditional_draws",
    "effective",
    "resample",
]

FEWEST_EFFECTIVE = 30
_MOST = 400_000  # draws for one conditional sample

_LEARNED_FROM = 20_000  # draws that the proposal is fitted to
_AT_ONCE = 1 << 16  # completed rows that are worked on together


class Completed(NamedTuple):
    """Completed rows and their weights.

    Attributes:
        rows: rows of the flow, ``(n, draws, width)``.
        log_weight: ``(n, draws)``; their log-mean-exp is the log-density of what is known.
        exact: whether every draw is one of the conditional density, so that no weight is needed.
    """

    rows: Tensor
    log_weight: Tensor
    exact: bool


class Completion:
    """Draws the columns that are not known, given those that are, and weighs the draws.

    Mixed columns are drawn one after the other, each given those before it; known ones weigh the
    draw by how likely they are. Plain numbers come from the flow if none of them is known. If some
    are, they come from a mixture of normal densities, fitted to draws of the flow, and the
    densities of both weigh the draw.

    Args:
        scorer: flow and layout.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer, self.features = scorer, scorer.features
        base = scorer.flow.base
        first = base.bases[0] if isinstance(base, Columns) else base
        self.mixed = first if self.features.mixed and isinstance(first, MixedColumns) else None
        self._proposal: tuple[Proposal, Transform] | None = None

    def complete(
        self,
        rows: Tensor,
        known: Sequence[str],
        draws: int,
        context: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Completed:
        """Complete rows.

        Args:
            rows: of the flow, ``(n, width)``; what they hold for other columns is not read.
            known: names of the columns that are known.
            draws: for each row.
            context: of the flow, ``(n, context)``.
            generator: where draws come from.
        """
        step = max(1, _AT_ONCE // draws)
        pieces = []
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            seen = None if context is None else context[part]
            pieces.append(self._complete(rows[part], set(known), draws, seen, generator))
        made, weights, exact = zip(*pieces, strict=True)
        return Completed(torch.cat(made), torch.cat(weights), all(exact))

    def _complete(
        self,
        rows: Tensor,
        known: set[str],
        draws: int,
        context: Tensor | None,
        generator: Generator | None,
    ) -> Completed:
        features, n = self.features, len(rows)
        x = rows.repeat_interleave(draws, 0)
        seen = None if context is None else context.repeat_interleave(draws, 0)
        log_weight = x.new_zeros(len(x))
        names = [column.name for column in features.columns]
        of_mixed = [names[i] in known for i in features.places]
        of_plain = [names[i] in known for i in features.plain]
        embedded = self.scorer.flow._embedded("complete", seen)
        if self.mixed is not None:
            mixed_context = embedded if self.mixed.context else None
            head, log_known = self.mixed.complete(
                x[:, : features.head], of_mixed, mixed_context, generator
            )
            x = torch.cat((head, x[:, features.head :]), -1)
            log_weight = log_weight + log_known
        exact = not any(of_mixed)
        if features.plain and not any(of_plain):
            x = self._plain_from_flow(x, embedded, generator)
        elif features.plain:
            x, log_q = self._plain_from_proposal(x, of_plain, embedded, generator)
            log_weight = log_weight + self._log_plain(x, seen, embedded) - log_q
            exact = False
        exact = exact or all(of_mixed + of_plain)
        return Completed(x.reshape(n, draws, -1), log_weight.reshape(n, draws), exact)

    def _plain_from_flow(
        self, x: Tensor, embedded: Tensor | None, generator: Generator | None
    ) -> Tensor:
        """The rows with all their plain numbers drawn."""
        flow, head = self.scorer.flow, self.features.head
        with torch.no_grad():
            base = flow.base.bases[1] if self.mixed is not None else flow.base
            context = embedded if base.context else None
            z = base.rsample(() if context is not None else (len(x),), context, generator=generator)
            both = torch.cat((x[:, :head], z), -1)
            return flow.transform.inverse(both, embedded if flow.transform.context else None)[0]

    def _log_plain(self, x: Tensor, context: Tensor | None, embedded: Tensor | None) -> Tensor:
        """Log-density of the plain numbers given the mixed columns."""
        log_p = self.scorer.log_prob(x, context)
        if self.mixed is None:
            return log_p
        with torch.no_grad():
            seen = embedded if self.mixed.context else None
            return log_p - self.mixed.log_prob(x[:, : self.features.head], seen)

    def _plain_from_proposal(
        self, x: Tensor, known: list[bool], embedded: Tensor | None, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """The rows with the plain numbers drawn that are not known, and their log-densities."""
        head = self.features.head
        if all(known):
            return x, x.new_zeros(len(x))
        proposal, start = self._learned(embedded)
        y, _ = start(x[:, head:].clamp(*self._ends(x)))
        side = self._side(x)
        index = [k for k, one in enumerate(known) if one]
        others = [k for k, one in enumerate(known) if not one]
        given = torch.cat((side, y[:, index]), -1)
        first = side.shape[-1]
        places = torch.tensor([*range(first), *(first + k for k in index)], dtype=torch.long)
        drawn, log_q = proposal.draw(given, places, 1, generator)
        y = y.index_copy(-1, torch.tensor(others), drawn[:, 0])
        plain, _ = start.inverse(y)
        # dq/dx = dq/dy dy/dx, of the drawn numbers alone: the start takes each by itself
        log_slope = torch.zeros(len(x), dtype=x.dtype)
        with torch.enable_grad():
            moved = plain.detach().requires_grad_()
            z = start(moved)[0]
            slopes = torch.autograd.grad(z.sum(), moved)[0]
        log_slope = slopes[:, others].log().sum(-1)
        kept = x[:, head:].index_copy(-1, torch.tensor(others), plain[:, others])
        return torch.cat((x[:, :head], kept), -1), log_q[:, 0] + log_slope

    def _ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where plain numbers may lie; what is not known may hold anything before it is drawn."""
        ends = [self.features.columns[i].ends for i in self.features.plain]
        low = [-math.inf if end is None else end + 1e-9 * (1.0 + abs(end)) for end, _ in ends]
        high = [math.inf if end is None else end - 1e-9 * (1.0 + abs(end)) for _, end in ends]
        return x.new_tensor(low), x.new_tensor(high)

    def _side(self, x: Tensor) -> Tensor:
        """The mixed columns, as a network is shown them."""
        if self.mixed is None:
            return x[:, :0]
        with torch.no_grad():
            return self.mixed.encoding(x[:, : self.features.head])  # type: ignore[no-any-return]

    def _learned(self, embedded: Tensor | None) -> tuple[Proposal, Transform]:
        """The proposal for plain numbers, and what takes them to the whole line.

        Raises:
            DataError: rows have several contexts, and each would need a proposal of its own.
        """
        if embedded is None and self._proposal is not None:
            return self._proposal
        if embedded is not None and not torch.equal(embedded, embedded[:1].expand_as(embedded)):
            raise DataError(
                "some columns of plain numbers are known, others not, and rows differ in their "
                "context: ask for one context at a time, or fit a model with the known columns as "
                "context."
            )
        draws = torch.Generator().manual_seed(0)
        head = self.features.head
        x = torch.zeros(_LEARNED_FROM, self.features.width, dtype=torch.float64)
        seen = None if embedded is None else embedded[:1].expand(len(x), -1)
        if self.mixed is not None:
            of_mixed = seen if self.mixed.context else None
            none = [False] * len(self.features.mixed)
            x[:, :head] = self.mixed.complete(x[:, :head], none, of_mixed, draws)[0]
        rows = self._plain_from_flow(x, seen, draws)
        start = started(self.features).double().fit(rows[:, head:])
        y, _ = start(rows[:, head:])
        both = torch.cat((self._side(rows), y), -1)
        found = Proposal(both[both.isfinite().all(-1)]), start
        if embedded is None:
            self._proposal = found
        return found


def effective(log_weight: Tensor) -> Tensor:
    """Effective number of draws of each row: as many as its weights are worth, ``(n,)``."""
    share = torch.softmax(log_weight, -1)
    return 1.0 / share.square().sum(-1)


def resample(completed: Completed, n: int, generator: Generator | None) -> Tensor:
    """Draw n of the completed rows by their weights, ``(rows, n, width)``.

    Raises:
        DataError: what is known of a row has no probability whatever the rest is.
    """
    none = (completed.log_weight == -torch.inf).all(-1)
    if bool(none.any()):
        raise DataError(
            f"what is known of row {int(none.nonzero()[0]) + 1} has no probability in this model; "
            f"explain says which value that is."
        )
    share = torch.softmax(completed.log_weight, -1)
    which = torch.multinomial(share, n, replacement=True, generator=generator)
    return completed.rows.gather(1, which[..., None].expand(*which.shape, completed.rows.shape[-1]))


def conditional_draws(
    completion: Completion,
    row: Tensor,
    known: Sequence[str],
    n: int,
    context: Tensor | None,
    generator: Generator | None,
) -> tuple[Tensor, str]:
    """Rows of which some columns are known, drawn from the joint density by weight.

    Args:
        completion: what draws the others.
        row: of the flow, ``(1, width)``.
        known: the columns.
        n: rows that are wanted.
        context: of the flow, ``(1, context)``.
        generator: where draws come from.

    Returns:
        rows of the flow, ``(n, width)``, and what is to be said of their quality.

    Raises:
        DataError: what is given is so unlikely that the draws are worth next to nothing.
    """
    draws = min(max(10 * n, 4000), _MOST)
    while True:
        found = completion.complete(row, known, draws, context, generator)
        if found.exact:
            return found.rows[0, :n], ""
        if not bool(found.log_weight.isfinite().any()):  # impossible, however many draws
            worth = 0.0
            break
        worth = float(effective(found.log_weight)[0])
        if worth >= min(n, 1000) or draws >= _MOST:
            break
        draws = min(4 * draws, _MOST)
    listed = ", ".join(known)
    if worth < FEWEST_EFFECTIVE:
        raise DataError(
            f"given {listed}: {draws:,} draws are worth {worth:.1f} only, since such "
            f"values are rare or the columns many; fit a model with these columns as context "
            f"({option('context', list(known))}), which samples given them directly."
        )
    note = f"given {listed}: {n:,} rows out of {draws:,} weighted draws, worth {worth:,.0f}"
    repeated = "; rows repeat" if worth < n else ""
    return resample(found, n, generator)[0], f"{note}{repeated}."
