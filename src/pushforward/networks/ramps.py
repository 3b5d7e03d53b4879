"""Inputs of a network that has to bend at many places of each number: ramps between quantiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import ArgumentError, ShapeError
from pushforward.networks.mixed_encoding import mixed_columns
from pushforward.spec import Part

__all__ = ["Ramps"]

_MOST = 8  # ramps of a column
_WAVES = 2  # cosines and sines of an angle: once and twice around


class Ramps(Part, nn.Module):
    """Columns of numbers, categories and angles as inputs of a network.

    A number is standardized, and beside it stand its ramps: each is -1 below a quantile, 1 above
    the next, and a line between. A perceptron of standardized numbers is smooth; from ramps it
    finds steps and corners with a few rows. A code becomes ones and zeros, an angle cosines and
    sines. A value whose code says that it is not there becomes zero.

    ``Ramps.of(columns, x)`` counts the ramps that rows give and places them.

    Args:
        columns: what each holds, as ``MixedEncoding`` takes them.
        pieces: the number of ramps of each column, 0 for none.

    Attributes:
        features: numbers of a row that comes in.
        outputs: width of what is made of it.

    Shapes:
        input: ``(*batch, features)``; output: ``(*batch, outputs)``

    Raises:
        ArgumentError: columns that say nothing, or ramps of a column without a number.
        ShapeError: rows of another width, or that give another number of ramps.

    Source: Gorishniy, Rubachev, Babenko 2022, arXiv:2203.05556.
        Differs: from -1 to 1, beside the number itself, constant beyond the outermost quantiles.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [4.0]])
        >>> encode = Ramps.of([{"value": "number"}], x)
        >>> encode(torch.tensor([[2.5]])).round(decimals=2)
        tensor([[0.4900, 1.0000, 0.0000]], dtype=torch.float64)
    """

    mean: Tensor
    std: Tensor
    starts: Tensor
    widths: Tensor
    code_slots: Tensor
    code_sizes: Tensor
    line_slots: Tensor
    line_flags: Tensor
    angle_slots: Tensor
    angle_flags: Tensor
    ramp_of: Tensor
    turn: Tensor

    def __init__(self, columns: Sequence[Mapping[str, Any]], pieces: Sequence[int]) -> None:
        super().__init__()
        made = mixed_columns("Ramps", columns)
        lines = [i for i, column in enumerate(made) if column.value in ("number", "whole")]
        if len(pieces) != len(made) or any(
            count < 0 or (count and i not in lines) for i, count in enumerate(pieces)
        ):
            raise ArgumentError(
                f"Ramps: pieces is {list(pieces)!r:.200}, expected for each of {len(made)} columns "
                f"a number from 0 up, and 0 for those that hold no number."
            )
        starts = [sum(column.width for column in made[:i]) for i in range(len(made))]
        self.features = sum(column.width for column in made)
        coded = [i for i, column in enumerate(made) if column.codes]
        angles = [i for i, column in enumerate(made) if column.value == "angle"]
        # the code that says whether a value is there; one past the last for none
        flag = {i: coded.index(i) if made[i].codes else len(coded) for i in lines + angles}
        self._index("code_slots", [starts[i] for i in coded])
        self._index("code_sizes", [made[i].codes for i in coded])
        self._index("line_slots", [starts[i] + (made[i].codes > 0) for i in lines])
        self._index("line_flags", [flag[i] for i in lines])
        self._index("angle_slots", [starts[i] + (made[i].codes > 0) for i in angles])
        self._index("angle_flags", [flag[i] for i in angles])
        turns = [2.0 * math.pi / made[i].period for i in angles]
        self.register_buffer("turn", torch.tensor(turns, dtype=torch.float64), persistent=False)
        self.pieces = [pieces[i] for i in lines]
        self._index("ramp_of", [k for k, count in enumerate(self.pieces) for _ in range(count)])
        ramps, codes = sum(self.pieces), sum(made[i].codes for i in coded)
        self.outputs = len(lines) + ramps + codes + 2 * _WAVES * len(angles)
        # float64: a number that hardly varies beside its size must not be rounded before
        for name, size, value in (
            ("mean", len(lines), 0.0),
            ("std", len(lines), 1.0),
            ("starts", ramps, 0.0),
            ("widths", ramps, 1.0),
        ):
            self.register_buffer(name, torch.full((size,), value, dtype=torch.float64))

    def _index(self, name: str, values: list[int]) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=torch.long), persistent=False)

    @classmethod
    def of(cls, columns: Sequence[Mapping[str, Any]], x: Tensor) -> Ramps:
        """The encoding with as many ramps as rows ``(n, features)`` give, placed on them."""
        bare = cls(columns, [0] * len(columns))
        counts = iter(len(edges) - 1 for edges in bare._edges(x))
        numbers = [one.value in ("number", "whole") for one in mixed_columns("Ramps", columns)]
        return cls(columns, [next(counts) if number else 0 for number in numbers]).fit(x)

    def fit(self, x: Tensor) -> Ramps:
        """Read means, deviations and quantiles of the numbers off rows that hold them."""
        edges = self._edges(x)
        counts = [len(one) - 1 for one in edges]
        if counts != self.pieces:
            raise ShapeError(
                f"Ramps.fit: these rows give {counts!r:.100} ramps, expected {self.pieces!r:.100}; "
                f"write Ramps.of(columns, x)."
            )
        for k, values in enumerate(self._present(x)):
            if len(values):
                # the deviation of equal numbers need not be zero, since their mean is rounded
                varies = bool(values.amin() < values.amax())
                self.mean[k] = values.mean() if varies else values[0]
                self.std[k] = values.std(correction=0) if varies else 1.0
        if edges:
            self.starts.copy_(torch.cat([one[:-1] for one in edges]))
            self.widths.copy_(torch.cat([one.diff() for one in edges]))
        return self

    def _present(self, x: Tensor) -> list[Tensor]:
        """The numbers of each column of numbers, of the rows that hold one."""
        x = self._admitted(x).double()
        there = self._there(self._codes(x), self.line_flags)
        numbers = x[:, self.line_slots]
        return [numbers[there[:, k], k] for k in range(numbers.shape[1])]

    def _edges(self, x: Tensor) -> list[Tensor]:
        """Ends of the ramps of each column of numbers: a single one where there are none."""
        import numpy

        found = []
        for values in self._present(x):
            ends = numpy.unique(values.numpy())
            if len(ends) > _MOST:
                level = numpy.linspace(0.0, 1.0, _MOST + 1)
                ends = numpy.unique(numpy.quantile(values.numpy(), level))
            found.append(torch.from_numpy(ends) if len(ends) > 2 else values.new_zeros(1))
        return found

    def _codes(self, x: Tensor) -> Tensor:
        codes = x[..., self.code_slots].nan_to_num().round().long()
        return torch.minimum(codes.clamp_min(0), self.code_sizes - 1)

    def _there(self, codes: Tensor, flags: Tensor) -> Tensor:
        """Whether the values with these flags are there."""
        return functional.pad(codes, (0, 1)).index_select(-1, flags) == 0

    def forward(self, x: Tensor) -> Tensor:
        """Encode ``(*batch, features)``, in float64."""
        x = self._admitted(x).to(self.mean)
        codes = self._codes(x)
        there = self._there(codes, self.line_flags)
        numbers = x.index_select(-1, self.line_slots)
        ramps = numbers.index_select(-1, self.ramp_of) - self.starts
        ramps = (ramps / self.widths).clamp(0.0, 1.0) * 2.0 - 1.0
        made = [
            torch.where(there, (numbers - self.mean) / self.std, 0.0),
            torch.where(there.index_select(-1, self.ramp_of), ramps, 0.0),
        ]
        for k, size in enumerate(self.code_sizes.tolist()):
            made.append(functional.one_hot(codes[..., k], size).to(x))
        if len(self.angle_slots):
            turned = x.index_select(-1, self.angle_slots) * self.turn.to(x)
            waves = [turned * k for k in range(1, _WAVES + 1)]
            around = torch.stack([f(w) for w in waves for f in (torch.cos, torch.sin)], -1)
            present = self._there(codes, self.angle_flags)
            made.append(torch.where(present[..., None], around, 0.0).flatten(-2))
        return torch.cat(made, -1)

    def _admitted(self, x: Tensor) -> Tensor:
        if x.shape[-1:] != (self.features,):
            raise ShapeError(
                f"Ramps: rows have shape {tuple(x.shape)}, expected (*batch, {self.features})."
            )
        return x
