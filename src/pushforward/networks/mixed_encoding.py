"""What networks are shown of columns that hold categories, numbers and angles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import ArgumentError, ShapeError
from pushforward.numerics.conditioning import reach
from pushforward.numerics.quantile_table import QuantileTable, quantile_table, scores
from pushforward.spec import Part

__all__ = ["MixedColumn", "MixedEncoding", "mixed_columns"]

_KNOTS = 33
_ROWS_A_KNOT = 30
_UNFITTED = 3.0  # normal score up to which the curve is drawn that data has not made yet
_WAVES = 2  # cosines and sines of an angle: once and twice around
VALUES = ("", "number", "whole", "angle")


@dataclass(frozen=True)
class MixedColumn:
    """One column: a code, a value, or a code that says whether there is a value.

    Attributes:
        codes: how many codes there are, 0 for a column without. Where there is a value besides,
            code 0 says that it is there, and the others stand in its place.
        value: ``number``, ``whole`` (a whole number), ``angle``, or "" for none.
        period: of an angle.
        low, high: ends of a whole number; None where there is none.
        taken: whole numbers that codes stand for, so that the value is never one of them.
        log: whether it is the logarithm whose curve is drawn: of a number, which is then above
            zero, or of a whole number, from one at its low end up.
    """

    codes: int = 0
    value: str = ""
    period: float = 2.0 * math.pi
    low: float | None = None
    high: float | None = None
    taken: tuple[float, ...] = ()
    log: bool = False

    @property
    def zero(self) -> float:
        """What is subtracted before the logarithm."""
        return self.low - 1.0 if self.value == "whole" and self.low is not None else 0.0

    @property
    def width(self) -> int:
        """Numbers that it takes in a row."""
        return (self.codes > 0) + (self.value != "")


def mixed_columns(who: str, columns: Sequence[Mapping[str, Any]]) -> list[MixedColumn]:
    """The columns as they are described, checked.

    Raises:
        ArgumentError: there is none, or one says nothing that can be modelled.
    """
    made = []
    for place, column in enumerate(columns):
        try:
            one = MixedColumn(**{**column, "taken": tuple(column.get("taken", ()))})
        except TypeError as error:
            raise ArgumentError(f"{who}: column {place} is {column!r:.200}: {error}.") from None
        if one.value not in VALUES or one.codes < 0 or not one.width or not one.period > 0:
            raise ArgumentError(
                f"{who}: column {place} is {column!r:.200}, expected codes from 1 up, a value out "
                f"of number, whole and angle, or both."
            )
        if one.log and not (
            one.value == "number" or (one.value == "whole" and one.low is not None)
        ):
            raise ArgumentError(
                f"{who}: column {place} is {column!r:.200}, expected a number, or a whole number "
                f"with a low end, where log is set."
            )
        made.append(one)
    if not made:
        raise ArgumentError(f"{who}: got no columns, expected at least one.")
    return made


class MixedEncoding(Part, nn.Module):
    """Columns of categories, numbers and angles as inputs of a network.

    A code becomes ones and zeros, a number the normal score of its quantile, an angle cosines and
    sines. A value whose code says that it is not there becomes zero.

    Args:
        columns: what each holds, in order: mappings of ``codes`` (how many a category has; 0 for
            none), ``value`` (``number``, ``whole``, ``angle`` or ""), and for an angle ``period``.
            With both, code 0 says that there is a value, and others stand in its place. A column
            takes a number of the row for its code, then one for its value.

    Attributes:
        features: numbers of a row that comes in.
        outputs: width of what is made of it.
        groups: of each output, the column that it comes from.

    Shapes:
        input: ``(*batch, features)``; output: ``(*batch, outputs)``

    Raises:
        ArgumentError: columns that say nothing.
        ShapeError: rows of another width.

    Source: none

    Example:
        >>> encode = MixedEncoding([{"codes": 3}, {"value": "number"}])
        >>> encode(torch.tensor([[2.0, 0.5]]))
        tensor([[0.0000, 0.0000, 1.0000, 0.4987]])
    """

    knots_x: Tensor
    knots_z: Tensor
    slopes: Tensor
    code_slots: Tensor
    code_starts: Tensor
    code_sizes: Tensor
    line_slots: Tensor
    line_flags: Tensor
    angle_slots: Tensor
    angle_flags: Tensor
    turn: Tensor
    logs: Tensor
    zeros: Tensor

    def __init__(self, columns: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.columns = made = mixed_columns("MixedEncoding", columns)
        starts = [sum(column.width for column in made[:i]) for i in range(len(made))]
        self.features = sum(column.width for column in made)
        self.coded = [i for i, column in enumerate(made) if column.codes]
        self.lines = [i for i, column in enumerate(made) if column.value in ("number", "whole")]
        self.angles = [i for i, column in enumerate(made) if column.value == "angle"]
        self._index("code_slots", [starts[i] for i in self.coded])
        self._index("line_slots", [starts[i] + (made[i].codes > 0) for i in self.lines])
        self._index("angle_slots", [starts[i] + (made[i].codes > 0) for i in self.angles])
        sizes = [made[i].codes for i in self.coded]
        self._index("code_starts", [sum(sizes[:k]) for k in range(len(sizes))])
        self._index("code_sizes", sizes)
        # where the code stands that says whether a value is there; one past the last for none
        for name, which in (("line_flags", self.lines), ("angle_flags", self.angles)):
            flags = [self.coded.index(i) if made[i].codes else len(self.coded) for i in which]
            self._index(name, flags)
        periods = torch.tensor([made[i].period for i in self.angles], dtype=torch.float64)
        self.register_buffer("turn", 2.0 * math.pi / periods, persistent=False)
        of_lines = [made[i] for i in self.lines]
        self._any_log = any(one.log for one in of_lines)
        for name, value in {
            "logs": torch.tensor([one.log for one in of_lines], dtype=torch.bool),
            "zeros": torch.tensor([one.zero for one in of_lines], dtype=torch.float64),
        }.items():
            self.register_buffer(name, value, persistent=False)
        self.codes = sum(sizes)
        self.groups = [i for i in self.coded for _ in range(made[i].codes)] + self.lines
        self.groups += [i for i in self.angles for _ in range(2 * _WAVES)]
        self.outputs = len(self.groups)
        line = torch.linspace(-_UNFITTED, _UNFITTED, _KNOTS).expand(len(self.lines), _KNOTS)
        self.register_buffer("knots_x", line.clone())
        self.register_buffer("knots_z", line.clone())
        self.register_buffer("slopes", torch.ones_like(line))

    def _index(self, name: str, values: list[int]) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=torch.long), persistent=False)

    @property
    def table(self) -> QuantileTable:
        """The curves of numbers and whole numbers."""
        return QuantileTable(self.knots_x, self.knots_z, self.slopes)

    def fit(self, x: Tensor) -> MixedEncoding:
        """Read the curves of the numbers off rows ``(n, features)``, of those that are there."""
        x = self._admitted(x)
        there = self.present(self.taken_codes(x), self.line_flags)
        numbers = x[..., self.line_slots]
        for k in range(len(self.lines)):
            some = numbers[there[:, k], k]
            if len(some):
                if self.columns[self.lines[k]].value == "whole":  # quantiles lie within the cells
                    draws = torch.Generator().manual_seed(0)
                    even = torch.rand(len(some), generator=draws, dtype=torch.float64)
                    some = some.double().cpu() + even - 0.5
                some = self.to_scale(some.double(), k)
                knots = max(2, min(_KNOTS, len(some) // _ROWS_A_KNOT))
                found = quantile_table(some[:, None], knots, _KNOTS)
                for buffer, part in zip(self.table, found, strict=True):
                    buffer[k] = part[0]
        return self

    def to_scale(self, x: Tensor, which: Tensor | int | None = None) -> Tensor:
        """Values of numbers on the scales that curves are drawn on, ``(*batch, numbers)``.

        Args:
            x: the values; a logarithm of nothing becomes that of the least number.
            which: of some of the numbers; by default of all.
        """
        if not self._any_log:
            return x
        logs, zeros = self._scales(x, which)
        return torch.where(logs, (x - zeros).clamp_min(torch.finfo(x.dtype).tiny).log(), x)

    def from_scale(self, u: Tensor, which: Tensor | int | None = None) -> Tensor:
        """The values at places on these scales, ``(*batch, numbers)``."""
        if not self._any_log:
            return u
        logs, zeros = self._scales(u, which)
        most = math.log(torch.finfo(torch.float32).max)  # what any type of number holds
        return torch.where(logs, u.clamp_max(most).exp() + zeros, u)

    def _scales(self, like: Tensor, which: Tensor | int | None) -> tuple[Tensor, Tensor]:
        """Which numbers have logarithmic scales, and where these begin."""
        chosen = slice(None) if which is None else which
        return self.logs.to(like.device)[chosen], self.zeros.to(like)[chosen]

    def taken_codes(self, x: Tensor) -> Tensor:
        """The codes as whole numbers, ``(*batch, coded columns)``, moved into their ranges."""
        codes = x[..., self.code_slots].nan_to_num().round().long()
        return torch.minimum(codes.clamp_min(0), self.code_sizes - 1)

    def present(self, codes: Tensor, flags: Tensor) -> Tensor:
        """Whether the values with these flags are there, ``(*batch, values)``."""
        with_none = functional.pad(codes, (0, 1))  # a column without codes is always there
        return with_none.index_select(-1, flags) == 0

    def forward(self, x: Tensor) -> Tensor:
        """Encode ``(*batch, features)``."""
        x = self._admitted(x)
        codes = self.taken_codes(x)
        made = [self._ones(codes, x)]
        if self.lines:
            there = self.present(codes, self.line_flags)
            z = scores(self.table, self.to_scale(x.index_select(-1, self.line_slots)))[0]
            made.append(torch.where(there, reach(z), 0.0))
        if self.angles:
            there = self.present(codes, self.angle_flags)
            turned = x.index_select(-1, self.angle_slots) * self.turn
            waves = [turned * k for k in range(1, _WAVES + 1)]
            around = torch.stack([f(w) for w in waves for f in (torch.cos, torch.sin)], -1)
            made.append(torch.where(there[..., None], around, 0.0).flatten(-2).to(x.dtype))
        return torch.cat(made, -1)

    def _ones(self, codes: Tensor, x: Tensor) -> Tensor:
        ones = x.new_zeros((*x.shape[:-1], self.codes))
        if not self.coded:
            return ones
        return ones.scatter(-1, codes + self.code_starts, 1.0)

    def _admitted(self, x: Tensor) -> Tensor:
        if x.shape[-1:] != (self.features,):
            raise ShapeError(
                f"MixedEncoding: rows have shape {tuple(x.shape)}, expected (*batch, "
                f"{self.features})."
            )
        return x
