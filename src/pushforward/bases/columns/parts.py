"""The densities that mixed columns are made of: codes, numbers and whole numbers, angles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from pushforward.bases.columns.logistic_mixture import Mixture, choose
from pushforward.bases.columns.telling import code_shares, normal_scores, places_and_scales
from pushforward.bases.columns.told import Told
from pushforward.bases.columns.von_mises import draw_von_mises, log_von_mises
from pushforward.errors import ArgumentError, NotFiniteError
from pushforward.networks.mixed_encoding import MixedColumn, MixedEncoding
from pushforward.numerics.quantile_table import QuantileTable, scores, values

__all__ = ["Angles", "Codes", "Lines"]

_UNSEEN = 0.5  # rows that stand for a code that no row has
_TRIES = 1000  # draws of a whole number until one is none of those that codes stand for
_NARROW = 0.005  # least scale of a component, in normal scores
_WIDE = 0.25  # scale it begins with
_CONCENTRATION = 2.5  # of a component of angles to begin with: eight of them are nearly even
_FOCUS = 6.0  # bound of the logarithm of what it is multiplied by


class _Part(nn.Module):
    """Some of the columns; a network gives ``len(groups)`` numbers for them.

    Attributes:
        columns: which columns they are.
        groups: the column that each of these numbers is for.
        slice: where these numbers lie among all of the network.
        index: the columns as a tensor.
    """

    index: Tensor

    def __init__(self, which: Sequence[int], sizes: Sequence[int], start: int) -> None:
        super().__init__()
        self.columns = list(which)
        self.groups = [column for column, n in zip(which, sizes, strict=True) for _ in range(n)]
        self.slice = slice(start, start + len(self.groups))
        self.register_buffer("index", torch.tensor(self.columns).long(), persistent=False)

    def _chosen(self, found: Tensor, column: int | None) -> Tensor:
        return found if column is None else found[..., self.columns.index(column)]


class Codes(_Part):
    """Probabilities of codes."""

    there: Tensor
    outputs: Tensor
    frequency: Tensor
    spread: Tensor

    def __init__(
        self,
        columns: Sequence[MixedColumn],
        start: int,
        components: int,
        after: Sequence[int | None],
    ) -> None:
        which = [i for i, column in enumerate(columns) if column.codes]
        sizes = [columns[i].codes for i in which]
        super().__init__(which, sizes, start)
        most = max(sizes, default=0)
        place = torch.arange(most).expand(len(sizes), most)
        size = torch.tensor(sizes).long()[:, None]
        there = place < size
        outputs = torch.where(there, size.cumsum(0) - size + place, 0)
        self.register_buffer("there", there, persistent=False)
        self.register_buffer("outputs", outputs, persistent=False)
        self.register_buffer("frequency", there / size.float())
        self.register_buffer("spread", torch.zeros(()))
        self.told = Told.of(columns, which, after, sizes)

    def fit(self, encoding: MixedEncoding, z: Tensor) -> Tensor:
        """Read the frequencies off rows; what the network is to give for independent columns."""
        codes = encoding.taken_codes(z)
        places = torch.arange(self.frequency.shape[-1], device=codes.device)
        counts = torch.stack([(codes == k).sum(0) for k in places], -1).to(self.frequency)
        share = (counts + _UNSEEN) * self.there
        self.frequency.copy_(share / share.sum(-1, keepdim=True))
        self.spread.fill_(1.0 / (len(z) + 1.0))
        sizes = [int(size) for size in encoding.code_sizes]
        for k, earlier in enumerate(self.told.after):
            if earlier is not None:
                pair = (sizes[earlier], sizes[k])
                self.told.put(k, code_shares(codes[:, earlier], codes[:, k], pair))
        return self.frequency.log()[self.there]

    def _learned(self, raw: Tensor, codes: Tensor) -> Tensor:
        logits = raw[..., self.outputs]
        if not self.told.silent:
            logits = logits + self.told(codes).to(logits)
        logits = logits.masked_fill(~self.there, -math.inf)
        return torch.log_softmax(logits, -1)

    def _mixed(self, learned: Tensor, frequency: Tensor) -> Tensor:
        """The learned probabilities, of which a small share is spread by the frequencies."""
        floor = (frequency * self.spread).log().expand_as(learned)
        return torch.logaddexp(learned + torch.log1p(-self.spread), floor)

    def log_probs(
        self, encoding: MixedEncoding, z: Tensor, raw: Tensor, column: int | None = None
    ) -> Tensor:
        """Log-probability of each code, ``(*batch, codes)``."""
        taken = encoding.taken_codes(z)
        codes = taken[..., None]
        learned = self._learned(raw, taken).gather(-1, codes)[..., 0]
        frequency = self.frequency.expand(*codes.shape[:-1], -1).gather(-1, codes)[..., 0]
        known = codes[..., 0] == z[..., encoding.code_slots]
        found = torch.where(known, self._mixed(learned, frequency), -math.inf)
        return self._chosen(found, column)

    def draw(
        self,
        encoding: MixedEncoding,
        z: Tensor,
        raw: Tensor,
        column: int,
        generator: Generator | None,
    ) -> Tensor:
        """The rows with a drawn code."""
        place = self.columns.index(column)
        learned = self._learned(raw, encoding.taken_codes(z))[..., place, :]
        share = self._mixed(learned, self.frequency[place]).exp()
        flat = share.reshape(-1, share.shape[-1])
        drawn = torch.multinomial(flat, 1, generator=generator) if len(flat) else flat[:, :1]
        slot = encoding.code_slots[place]
        return _put(z, int(slot), drawn.reshape(z.shape[:-1]))


class Lines(_Part):
    """Mixtures of logistic densities of normal scores; of whole numbers their cells."""

    numbers: Tensor
    wholes: Tensor
    taken: Tensor
    ends: Tensor
    cuts: Tensor

    def __init__(
        self,
        columns: Sequence[MixedColumn],
        start: int,
        components: int,
        after: Sequence[int | None],
    ) -> None:
        if components < 1:
            raise ArgumentError(f"MixedColumns: components is {components}, expected at least 1.")
        which = [i for i, column in enumerate(columns) if column.value in ("number", "whole")]
        super().__init__(which, [3 * components] * len(which), start)
        self.components = components
        mine = [columns[i] for i in which]
        most = max((len(column.taken) for column in mine), default=0)
        taken = [[*column.taken, *[math.nan] * (most - len(column.taken))] for column in mine]
        ends = [
            (-math.inf if c.low is None else c.low, math.inf if c.high is None else c.high)
            for c in mine
        ]
        for k, c in enumerate(mine):
            if c.log and c.value == "number":
                ends[k] = (max(0.0, ends[k][0]), ends[k][1])
        kinds = [column.value for column in mine]
        self.told = Told.of(columns, which, after, [2] * len(which))
        for name, value in {
            "numbers": torch.tensor([k for k, kind in enumerate(kinds) if kind == "number"]).long(),
            "wholes": torch.tensor([k for k, kind in enumerate(kinds) if kind == "whole"]).long(),
            "taken": torch.tensor(taken, dtype=torch.float64).reshape(len(mine), most),
            "ends": torch.tensor(ends, dtype=torch.float64).reshape(len(mine), 2),
        }.items():
            self.register_buffer(name, value, persistent=False)
        # where densities are cut off; nothing is, where the scale itself has no end
        cuts = [
            (-math.inf if c.log and e[0] <= 0.0 else e[0], e[1])
            for c, e in zip(mine, ends, strict=True)
        ]
        cut = torch.tensor(cuts, dtype=torch.float64).reshape(len(mine), 2)
        self.register_buffer("cuts", cut, persistent=False)
        self._cut = any(
            math.isfinite(end)
            for k, kind in enumerate(kinds)
            for end in cuts[k]
            if kind == "number"
        )

    def _start(self, like: Tensor) -> Tensor:
        """Components at evenly spaced quantiles, ``(components, 3)``: log share, place, log scale.

        Together they are close to a standard normal density.
        """
        share = (torch.arange(self.components, dtype=torch.float64) + 0.5) / self.components
        place = torch.special.ndtri(share)
        scale = _WIDE if self.components > 2 else 0.55
        log_scale = torch.full_like(place, math.log(scale))
        return torch.stack((torch.zeros_like(place), place, log_scale), -1).to(like)

    def fit(self, encoding: MixedEncoding, z: Tensor) -> Tensor:
        """What the network is to give at the beginning: nothing more than the start."""
        codes = encoding.taken_codes(z)
        there = encoding.present(codes, encoding.line_flags)
        for k, earlier in enumerate(self.told.after):
            if earlier is not None and bool(there[:, k].any()):
                numbers = normal_scores(encoding, z)[:, k]
                size = int(encoding.code_sizes[earlier])
                some = there[:, k]
                self.told.put(k, places_and_scales(codes[some, earlier], numbers[some], size))
        return z.new_zeros(len(self.groups))

    def _mixture(self, encoding: MixedEncoding, z: Tensor, raw: Tensor, which: Tensor) -> Mixture:
        """Of some of the columns, each part ``(*batch, columns, components)``."""
        each = raw.reshape(*raw.shape[:-1], len(self.columns), self.components, 3)
        each = each[..., which, :, :]
        start = self._start(each)
        log_share = torch.log_softmax(each[..., 0] + start[:, 0], -1)
        bound = math.log(_WIDE / _NARROW)
        log_scale = start[:, 2] + bound * torch.tanh(each[..., 2] / bound)
        place = each[..., 1] + start[:, 1]
        if self.told.silent:
            return Mixture(log_share, place, log_scale)
        told = self.told(encoding.taken_codes(z)).to(each).index_select(-2, which)[..., None, :]
        log_scale = (log_scale + told[..., 1]).clamp_min(math.log(_NARROW))
        return Mixture(log_share, told[..., 0] + told[..., 1].exp() * place, log_scale)

    def log_probs(
        self, encoding: MixedEncoding, z: Tensor, raw: Tensor, column: int | None = None
    ) -> Tensor:
        """Log-density of numbers, log-probability of whole ones; 0 where there is none."""
        x = z.index_select(-1, encoding.line_slots)
        found = torch.zeros_like(x)
        if len(self.numbers):
            log_p = self._log_densities(encoding, z, x[..., self.numbers], raw)
            found = found.index_copy(-1, self.numbers, log_p.to(found))
        if len(self.wholes):
            log_p = self._log_cells(encoding, z, x[..., self.wholes].double(), raw.double())
            found = found.index_copy(-1, self.wholes, log_p.to(found))
        there = encoding.present(encoding.taken_codes(z), encoding.line_flags)
        return self._chosen(torch.where(there, found, 0.0), column)

    def _log_densities(self, encoding: MixedEncoding, z: Tensor, x: Tensor, raw: Tensor) -> Tensor:
        table = _some(encoding.table, self.numbers)
        mixture = self._mixture(encoding, z, raw, self.numbers)
        u = encoding.to_scale(x, self.numbers)
        score, log_slope = scores(table, u)
        logs = encoding.logs[self.numbers]
        log_p = mixture.log_density(score) + log_slope - torch.where(logs, u, 0.0)
        if self._cut:
            sides = self.cuts[self.numbers].T
            ends = [torch.where(s.isinf(), s, encoding.to_scale(s, self.numbers)) for s in sides]
            left, right = (_end_score(table, end) for end in ends)
            log_p = log_p - mixture.log_between(left, right)
        low, high = self.ends[self.numbers].unbind(-1)
        outside = (x < low) | (x > high) | (logs & (x <= 0.0))
        return torch.where(outside, -math.inf, log_p)

    def _log_cells(self, encoding: MixedEncoding, z: Tensor, x: Tensor, raw: Tensor) -> Tensor:
        table, taken = _some(encoding.table, self.wholes), self.taken[self.wholes]
        mixture = self._mixture(encoding, z, raw, self.wholes)
        low, high = self.ends[self.wholes].unbind(-1)

        def log_cell(value: Tensor) -> Tensor:
            """Log-probability of the cell around it; at an end it holds all that is beyond."""
            sides = (encoding.to_scale(value + d, self.wholes) for d in (-0.5, 0.5))
            left, right = (scores(table, side)[0] for side in sides)
            left = torch.where(value <= low, -math.inf, left)
            right = torch.where(value >= high, math.inf, right)
            return mixture.log_between(left, right)

        log_p = log_cell(x)
        if taken.shape[-1]:  # what a code stands for is never drawn here
            each = [log_cell(value.nan_to_num()) for value in taken.T]
            empty = torch.stack([value.isnan().expand_as(log_p) for value in taken.T])
            log_taken = torch.stack(each).masked_fill(empty, -math.inf)
            log_p = log_p - _log_rest(torch.logsumexp(log_taken, 0))
        none = (x != x.round()) | (x < low) | (x > high) | (x[..., None] == taken).any(-1)
        return torch.where(none, -math.inf, log_p)

    def draw(
        self,
        encoding: MixedEncoding,
        z: Tensor,
        raw: Tensor,
        column: int,
        generator: Generator | None,
    ) -> Tensor:
        """The rows with a drawn number, which only counts where the code says so.

        Raises:
            NotFiniteError: the numbers that may be drawn are all but impossible.
        """
        place = torch.tensor([self.columns.index(column)], device=z.device)
        table, mixture = _some(encoding.table, place), self._mixture(encoding, z, raw, place)
        slot = int(encoding.line_slots[place])
        whole = bool((self.wholes == place).any())
        low, high = self.ends[place[0]].tolist()
        x = z[..., slot].double()
        again = torch.ones(x.shape, dtype=torch.bool, device=z.device)
        for _ in range(_TRIES):
            fresh = values(table, mixture.draw(generator))[0]
            fresh = encoding.from_scale(fresh, place)[..., 0]
            fresh = fresh.round().clamp(low, high) if whole else fresh
            x = torch.where(again, fresh, x)
            again = (x[..., None] == self.taken[place[0]]).any(-1) | (x < low) | (x > high)
            if not bool(again.any()):
                return _put(z, slot, x)
        raise NotFiniteError(
            f"MixedColumns.rsample: column {column} draws nothing between its ends but numbers "
            f"that its codes stand for; fit it again."
        )


class Angles(_Part):
    """Mixtures of von Mises densities."""

    turn: Tensor

    def __init__(
        self,
        columns: Sequence[MixedColumn],
        start: int,
        components: int,
        after: Sequence[int | None],
    ) -> None:
        which = [i for i, column in enumerate(columns) if column.value == "angle"]
        super().__init__(which, [3 * components] * len(which), start)
        self.components = components
        periods = torch.tensor([columns[i].period for i in which], dtype=torch.float64)
        self.register_buffer("turn", 2.0 * math.pi / periods, persistent=False)

    def fit(self, encoding: MixedEncoding, z: Tensor) -> Tensor:
        """What the network is to give at the beginning: nothing more than the start."""
        return z.new_zeros(len(self.groups))

    def _mixture(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        each = raw.reshape(*raw.shape[:-1], len(self.columns), self.components, 3)
        around = torch.arange(self.components, dtype=each.dtype, device=each.device)
        place = 2.0 * math.pi * around / self.components
        focus = _CONCENTRATION * (_FOCUS * torch.tanh(each[..., 2] / _FOCUS)).exp()
        return torch.log_softmax(each[..., 0], -1), each[..., 1] + place, focus

    def log_probs(
        self, encoding: MixedEncoding, z: Tensor, raw: Tensor, column: int | None = None
    ) -> Tensor:
        """Log-density of each angle, in its own unit; 0 where there is none."""
        turn = self.turn.to(z)
        angle = z.index_select(-1, encoding.angle_slots) * turn
        log_share, place, focus = self._mixture(raw)
        log_p = torch.logsumexp(log_share + log_von_mises(angle[..., None] - place, focus), -1)
        there = encoding.present(encoding.taken_codes(z), encoding.angle_flags)
        return self._chosen(torch.where(there, log_p + turn.log(), 0.0), column)

    def draw(
        self,
        encoding: MixedEncoding,
        z: Tensor,
        raw: Tensor,
        column: int,
        generator: Generator | None,
    ) -> Tensor:
        """The rows with a drawn angle, within half a period of zero."""
        k = self.columns.index(column)
        log_share, place, focus = (part[..., k, :].double() for part in self._mixture(raw))
        which = choose(log_share, generator)
        angle = place.gather(-1, which)[..., 0]
        angle = angle + draw_von_mises(focus.gather(-1, which)[..., 0], generator)
        angle = torch.remainder(angle + math.pi, 2.0 * math.pi) - math.pi
        return _put(z, int(encoding.angle_slots[k]), angle / self.turn[k])


def _put(z: Tensor, slot: int, drawn: Tensor) -> Tensor:
    """The rows with a number exchanged."""
    z = z.clone()
    z[..., slot] = drawn.to(z)
    return z


def _some(table: QuantileTable, which: Tensor) -> QuantileTable:
    return QuantileTable(*(part[which].double() for part in table))


def _end_score(table: QuantileTable, end: Tensor) -> Tensor:
    """The score of an end; of none it is infinite."""
    found = scores(table, torch.where(end.isinf(), table.x[:, 0], end))[0]
    return torch.where(end.isinf(), end, found)


def _log_rest(log_taken: Tensor) -> Tensor:
    """The logarithm of what is left of one."""
    return (-torch.expm1(log_taken.clamp_max(-1e-12))).log()
