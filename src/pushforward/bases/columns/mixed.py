"""Columns of categories, numbers and angles, one after the other: an exact joint density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pushforward.bases.base import Base, sampled_shape
from pushforward.bases.columns.parts import Angles, Codes, Lines
from pushforward.errors import ArgumentError
from pushforward.networks.grouped_mlp import GroupedMLP
from pushforward.networks.mixed_encoding import MixedEncoding
from pushforward.numerics.conditioning import reach
from pushforward.numerics.repeats import distinct_rows
from pushforward.transforms.base import admit_context

__all__ = ["MixedColumns"]


class MixedColumns(Base):
    r"""Columns of several kinds, each given those before it: ``p(z) = prod_i p(z_i | z_<i, c)``.

    A masked network of the columns before gives each its parameters. A code has a probability for
    each of its values, of which a small share is spread by their frequencies, so that none is
    impossible. A number is a mixture of logistic densities of its normal score, read off its
    quantiles; a whole number has the probability that this mixture gives its unit cell, an exact
    one; an angle is a mixture of von Mises densities. Nothing is a bound, and all is normalized:
    a density for numbers and angles times a probability for codes and whole numbers.

    A column may have a code and a value: 0 says that there is a value, another code stands in its
    place, as for a number that is missing, or exactly zero in many rows.

    Args:
        columns: what each holds, in order: mappings of ``codes`` (how many; 0 for none) and
            ``value`` (``number``, ``whole``, ``angle`` or ""). An angle has a ``period``. A whole
            number may have a ``low`` and a ``high`` end, which take what lies beyond, and numbers
            ``taken`` by codes, which it never is. Of a number above zero, or a whole one with a low
            end, ``log`` models the logarithm.
        components: of the mixture of each value.
        hidden: widths of the hidden layers of the network.
        context: width of a context that all columns see.
        activation: ``relu``, ``silu``, ``gelu``, ``elu`` or ``tanh``.
        dropout: share of hidden units dropped in training.
        after: for each column an earlier one with codes, or None. Its codes and numbers begin at
            what rows say of them for each of those codes, as ``fit`` finds it, rather than at what
            they say of all: see ``telling``, which chooses.

    Shapes:
        z: ``(*batch, features)``, of each column its code and then its value, as far as it has
        them; context: ``(*batch, context)``; log_prob: ``(*batch,)``, nats, -inf for a code or a
        whole number that is none

    Raises:
        ArgumentError: columns that say nothing, or no component; ``after`` names no earlier column
            with codes.
        ContextError, ShapeError: a context that does not fit.

    Cost: one network call. A draw takes a call a column. Draws carry no gradient.

    Source: Uria, Murray, Larochelle 2013, arXiv:1306.0186 (mixtures one after the other); Salimans
        et al. 2017, arXiv:1701.05517 (cells of logistic mixtures).
        Differs: several kinds of columns, normal scores, a share for values never seen.

    Example:
        >>> base = MixedColumns([{"codes": 2}, {"value": "whole"}], hidden=(8,))
        >>> z = torch.cartesian_prod(torch.arange(2.0), torch.arange(-60.0, 61.0))
        >>> base.log_prob(z).exp().sum().detach().round(decimals=4)
        tensor(1.)
    """

    def __init__(
        self,
        columns: Sequence[Mapping[str, Any]],
        components: int = 8,
        hidden: Sequence[int] = (128, 128),
        context: int = 0,
        activation: str = "silu",
        dropout: float = 0.0,
        after: Sequence[int | None] | None = None,
    ) -> None:
        super().__init__()
        self.encoding = MixedEncoding(columns)
        self.event_shape = (self.encoding.features,)
        self.context = context
        made = self.encoding.columns
        earlier = _after(after, self.encoding)
        self.parts = torch.nn.ModuleList()
        start = 0
        for kind in (Codes, Lines, Angles):
            part = kind(made, start, components, earlier)
            start += len(part.groups)
            if part.groups:
                self.parts.append(part)
        groups = [group for part in self._all() for group in part.groups]
        self.network = GroupedMLP(
            self.encoding.groups, groups, context, hidden, activation, dropout
        )
        self._before = [sum(c.width for c in made[:i]) for i in range(len(made) + 1)]
        self._may_repeat = all(column.value == "" for column in made)

    def _all(self) -> list[Any]:
        return list(self.parts)

    @property
    def support(self) -> None:
        """Codes and whole numbers are no set of which transforms know."""
        return None

    def fit(self, z: Tensor, context: Tensor | None = None) -> MixedColumns:
        """Begin at columns as ``(n, features)`` has them, each for itself or after another."""
        self.encoding.fit(z)
        with torch.no_grad():
            bias = self.network.last.bias
            for part in self._all():
                bias[part.slice] = part.fit(self.encoding, z).to(bias)
        return self

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats."""
        return self.log_probs(z, context).sum(-1)

    def log_probs(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Of each column given those before it, ``(*batch, columns)``, nats."""
        context = self._admitted("log_prob", tuple(z.shape[:-1]), context)
        if self._may_repeat and context is None and z.ndim == 2 and not _followed():
            found = distinct_rows(z, [column.codes for column in self.encoding.columns])
            if found is not None:
                return self._each(found[0], None)[found[1]]
        return self._each(z, context)

    def _each(self, z: Tensor, context: Tensor | None) -> Tensor:
        raw = self._raw(z, context)
        total = z.new_zeros((*z.shape[:-1], len(self.encoding.columns)))
        for part in self._all():
            of_part = part.log_probs(self.encoding, z, raw[..., part.slice])
            total = total.index_add(-1, part.index, of_part.to(total))
        return total

    def rsample(
        self,
        n: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws, column by column, without gradients."""
        shape = sampled_shape(n, context, self.event_shape)
        context = self._admitted("rsample", shape[:-1], context)
        like = self.network.last.bias
        z = torch.zeros(shape, dtype=like.dtype, device=like.device)
        return self.complete(z, [False] * len(self.encoding.columns), context, generator)[0]

    def complete(
        self,
        z: Tensor,
        known: Sequence[bool],
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw the columns that are not known, and say how likely the known ones were.

        Args:
            z: ``(*batch, features)``; what it holds for other columns is not read.
            known: whether each column is.
            context: ``(*batch, context)``.
            generator: where draws come from.

        Returns:
            Rows, and the log-density of their known columns, each given the columns before it:
            draws weighted by it are draws of the conditional density.
        """
        z = z.clone()
        log_weight = z.new_zeros(z.shape[:-1])
        with torch.no_grad():
            for column, given in enumerate(known):
                raw = self._raw(z, context)
                slots = slice(self._before[column], self._before[column + 1])
                parts = [part for part in self._all() if column in part.columns]
                for part in parts:
                    mine = raw[..., part.slice]
                    if given:
                        of_part = part.log_probs(self.encoding, z, mine, column)
                        log_weight = log_weight + of_part.to(log_weight)
                    else:
                        drawn = part.draw(self.encoding, z, mine, column, generator)
                        z[..., slots] = drawn[..., slots]
        return z, log_weight

    def _raw(self, z: Tensor, context: Tensor | None) -> Tensor:
        seen = None if context is None else reach(context)
        return self.network(self.encoding(z).to(self.network.last.bias), seen)  # type: ignore[no-any-return]

    def _admitted(
        self, method: str, batch: tuple[int, ...], context: Tensor | None
    ) -> Tensor | None:
        if not self.context:
            return None
        return admit_context(f"MixedColumns.{method}", "z", batch, context, self.context)


def _after(after: Sequence[int | None] | None, encoding: MixedEncoding) -> list[int | None]:
    """The earlier column of each, checked."""
    made = encoding.columns
    found: list[int | None] = [None] * len(made) if after is None else list(after)
    earlier = all(j is None or (j in encoding.coded and j < i) for i, j in enumerate(found))
    if len(found) != len(made) or not earlier:
        raise ArgumentError(
            f"MixedColumns: after is {after!r:.200}, expected for each of the {len(made)} columns "
            f"None or the place of an earlier one with codes."
        )
    return found


def _followed() -> bool:
    """Whether something looks at what is computed, for which all rows are alike."""
    return (
        torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
    )
