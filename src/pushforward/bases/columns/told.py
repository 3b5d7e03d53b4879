"""What the code of an earlier column says of others, kept as tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.networks.mixed_encoding import MixedColumn

__all__ = ["Told"]


class Told(nn.Module):
    """What the code of an earlier column says of each of some columns: a row of a table.

    Args:
        after: the place of that code among all, None for none.
        sizes: how many such codes there are.
        widths: how many numbers each row of the table has.
    """

    table: Tensor
    which: Tensor
    first: Tensor
    step: Tensor
    place: Tensor

    def __init__(
        self, after: Sequence[int | None], sizes: Sequence[int], widths: Sequence[int]
    ) -> None:
        super().__init__()
        self.after = list(after)
        most, total = max(widths, default=0), 1  # the first number of the table is zero, for none
        place = torch.zeros(len(widths), most, dtype=torch.long)
        first, step, which = (torch.zeros(len(widths), dtype=torch.long) for _ in range(3))
        self.firsts: list[int] = []
        for k, (earlier, size, width) in enumerate(zip(after, sizes, widths, strict=True)):
            self.firsts.append(total)
            if earlier is not None:
                which[k], first[k], step[k] = earlier, total, width
                place[k, :width] = torch.arange(width)
                total += size * width
        self.register_buffer("table", torch.zeros(total), persistent=not self.silent)
        for name, value in (("which", which), ("first", first), ("step", step), ("place", place)):
            self.register_buffer(name, value, persistent=False)

    @classmethod
    def of(
        cls,
        columns: Sequence[MixedColumn],
        which: Sequence[int],
        after: Sequence[int | None],
        widths: Sequence[int],
    ) -> Told:
        """Of some of the columns, each after one of all or after none."""
        coded = [i for i, column in enumerate(columns) if column.codes]
        earlier = [after[i] for i in which]
        sizes = [0 if j is None else columns[j].codes for j in earlier]
        return cls([None if j is None else coded.index(j) for j in earlier], sizes, widths)

    @property
    def silent(self) -> bool:
        """Whether nothing is said of any column."""
        return all(earlier is None for earlier in self.after)

    def put(self, k: int, rows: Tensor) -> None:
        """Write the rows of the table for a column, ``(codes, width)``."""
        first = self.firsts[k]
        self.table[first : first + rows.numel()] = rows.reshape(-1).to(self.table)

    def forward(self, codes: Tensor) -> Tensor:
        """What is said, ``(*batch, columns, most numbers)``: any beyond a column's mean none."""
        begin = self.first + codes.index_select(-1, self.which) * self.step
        return self.table[begin[..., None] + self.place]
