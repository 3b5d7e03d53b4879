"""The densities that mixed columns are made of: codes, numbers and whole numbers, angles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from pushforward.bases.von_mises import draw_von_mises, log_von_mises
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

    def __init__(self, columns: Sequence[MixedColumn], start: int, components: int) -> None:
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

    def fit(self, encoding: MixedEncoding, z: Tensor) -> Tensor:
        """Read the frequencies off rows; what the network is to give for independent columns."""
        codes = encoding.taken_codes(z)
        places = torch.arange(self.frequency.shape[-1], device=codes.device)
        counts = torch.stack([(codes == k).sum(0) for k in places], -1).to(self.frequency)
        share = (counts + _UNSEEN) * self.there
        self.frequency.copy_(share / share.sum(-1, keepdim=True))
        self.spread.fill_(1.0 / (len(z) + 1.0))
        return self.frequency.log()[self.there]

    def _learned(self, raw: Tensor) -> Tensor:
        logits = raw[..., self.outputs].masked_fill(~self.there, -math.inf)
        return torch.log_softmax(logits, -1)

    def _mixed(self, learned: Tensor, frequency: Tensor) -> Tensor:
        """The learned probabilities, of which a small share is spread by the frequencies."""
        if not bool(self.spread > 0):
            return learned
        floor = (frequency * self.spread).log().expand_as(learned)
        return torch.logaddexp(learned + torch.log1p(-self.spread), floor)

    def log_probs(
        self, encoding: MixedEncoding, z: Tensor, raw: Tensor, column: int | None = None
    ) -> Tensor:
        """Log-probability of each code, ``(*batch, codes)``."""
        codes = encoding.taken_codes(z)[..., None]
        learned = self._learned(raw).gather(-1, codes)[..., 0]
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
        learned = self._learned(raw)[..., place, :]
        share = self._mixed(learned, self.frequency[place]).exp()
        flat = share.reshape(-1, share.shape[-1])
        drawn = torch.multinomial(flat, 1, generator=generator) if len(flat) else flat[:, :1]
        slot = encoding.code_slots[place]
        return _put(z, int(slot), drawn.reshape(z.shape[:-1]))


class Lines(_Part):
    """Mixtures of logistic densities of normal scores; of whole numbers their cells."""

    def __init__(self, columns: Sequence[MixedColumn], start: int, components: int) -> None:
        if components < 1:
            raise ArgumentError(f"MixedColumns: components is {components}, expected at least 1.")
        which = [i for i, column in enumerate(columns) if column.value in ("number", "whole")]
        super().__init__(which, [3 * components] * len(which), start)
        self.components = components
        of_whole = [k for k, i in enumerate(which) if columns[i].value == "whole"]
        whole = [columns[which[k]] for k in of_whole]
        most = max((len(column.taken) for column in whole), default=0)
        taken = [[*column.taken, *[math.nan] * (most - len(column.taken))] for column in whole]
        ends = [
            (-math.inf if c.low is None else c.low, math.inf if c.high is None else c.high)
            for c in whole
        ]
        numbers = [k for k in range(len(which)) if k not in of_whole]
        for name, value in {
            "numbers": torch.tensor(numbers).long(),
            "wholes": torch.tensor(of_whole).long(),
            "taken": torch.tensor(taken, dtype=torch.float64).reshape(len(whole), most),
            "ends": torch.tensor(ends, dtype=torch.float64).reshape(len(whole), 2),
        }.items():
            self.register_buffer(name, value, persistent=False)

    numbers: Tensor
    wholes: Tensor
    taken: Tensor
    ends: Tensor

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
        return z.new_zeros(len(self.groups))

    def _mixture(self, raw: Tensor, which: Tensor | int) -> tuple[Tensor, Tensor, Tensor]:
        """Log shares, places and log scales, ``(*batch, columns, components)``."""
        each = raw.reshape(*raw.shape[:-1], len(self.columns), self.components, 3)
        each = each[..., which, :, :]
        start = self._start(each)
        log_share = torch.log_softmax(each[..., 0] + start[:, 0], -1)
        bound = math.log(_WIDE / _NARROW)
        log_scale = start[:, 2] + bound * torch.tanh(each[..., 2] / bound)
        return log_share, each[..., 1] + start[:, 1], log_scale

    def log_probs(
        self, encoding: MixedEncoding, z: Tensor, raw: Tensor, column: int | None = None
    ) -> Tensor:
        """Log-density of numbers, log-probability of whole ones; 0 where there is none."""
        x = z.index_select(-1, encoding.line_slots)
        found = torch.zeros_like(x)
        if len(self.numbers):
            table = _some(encoding.table, self.numbers)
            score, log_slope = scores(table, x[..., self.numbers])
            log_p = _log_density(score, *self._mixture(raw, self.numbers)) + log_slope
            found = found.index_copy(-1, self.numbers, log_p.to(found))
        if len(self.wholes):
            log_p = self._log_cells(encoding, x[..., self.wholes].double(), raw.double())
            found = found.index_copy(-1, self.wholes, log_p.to(found))
        there = encoding.present(encoding.taken_codes(z), encoding.line_flags)
        return self._chosen(torch.where(there, found, 0.0), column)

    def _log_cells(self, encoding: MixedEncoding, x: Tensor, raw: Tensor) -> Tensor:
        table = _some(encoding.table, self.wholes)
        mixture = self._mixture(raw, self.wholes)
        low, high = self.ends.unbind(-1)
        log_p = _log_cell(table, x, low, high, mixture)
        if self.taken.shape[-1]:
            each = [
                _log_cell(table, taken.nan_to_num(), low, high, mixture) for taken in self.taken.T
            ]
            log_taken = torch.stack(each).masked_fill(
                self.taken.T.isnan().reshape(-1, *[1] * (x.ndim - 1), x.shape[-1]), -math.inf
            )
            log_p = log_p - _log_rest(torch.logsumexp(log_taken, 0))
        none = (x != x.round()) | (x < low) | (x > high) | (x[..., None] == self.taken).any(-1)
        return torch.where(none, -math.inf, log_p)

    def draw(
        self,
        encoding: MixedEncoding,
        z: Tensor,
        raw: Tensor,
        column: int,
        generator: Generator | None,
    ) -> Tensor:
        """The rows with a drawn number, which only counts where the code says so."""
        place = self.columns.index(column)
        table = _some(encoding.table, torch.tensor([place], device=z.device))
        mixture = [part[..., 0, :].double() for part in self._mixture(raw, self._at(place, z))]
        slot = int(encoding.line_slots[place])
        whole = (self.wholes == place).nonzero()
        if not len(whole):
            return _put(z, slot, _drawn(table, mixture, generator))
        k = int(whole[0])
        low, high = self.ends[k].tolist()
        x, again = (
            z[..., slot].double(),
            torch.ones(z.shape[:-1], dtype=torch.bool, device=z.device),
        )
        for _ in range(_TRIES):
            fresh = _drawn(table, mixture, generator).round().clamp(low, high)
            x = torch.where(again, fresh, x)
            again = (x[..., None] == self.taken[k]).any(-1)
            if not bool(again.any()):
                return _put(z, slot, x)
        raise NotFiniteError(
            f"MixedColumns.rsample: column {column} draws nothing but the numbers that its codes "
            f"stand for; fit it again."
        )

    def _at(self, place: int, like: Tensor) -> Tensor:
        return torch.tensor([place], device=like.device)


class Angles(_Part):
    """Mixtures of von Mises densities."""

    turn: Tensor

    def __init__(self, columns: Sequence[MixedColumn], start: int, components: int) -> None:
        which = [i for i, column in enumerate(columns) if column.value == "angle"]
        super().__init__(which, [3 * components] * len(which), start)
        self.components = components
        turn = torch.tensor([2.0 * math.pi / columns[i].period for i in which]).double()
        self.register_buffer("turn", turn, persistent=False)

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
        which = _choose(log_share, generator)
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


def _log_density(score: Tensor, log_share: Tensor, place: Tensor, log_scale: Tensor) -> Tensor:
    """Of a mixture of logistic densities."""
    v = (score[..., None].to(place) - place) * (-log_scale).exp()
    return torch.logsumexp(
        log_share + functional.logsigmoid(v) + functional.logsigmoid(-v) - log_scale, -1
    )


def _log_cell(
    table: QuantileTable, x: Tensor, low: Tensor, high: Tensor, mixture: tuple[Tensor, ...]
) -> Tensor:
    """Log-probability of the cell around a whole number; at an end it holds all that is beyond."""
    log_share, place, log_scale = mixture
    place, rate = place.double(), (-log_scale.double()).exp()
    left, right = ((scores(table, x + d)[0][..., None] - place) * rate for d in (-0.5, 0.5))
    left = torch.where((x <= low)[..., None], -math.inf, left)
    right = torch.where((x >= high)[..., None], math.inf, right)
    width = (right - left).clamp_min(torch.finfo(torch.float64).tiny)
    log_p = (
        functional.logsigmoid(right) + functional.logsigmoid(-left) + (-torch.expm1(-width)).log()
    )
    return torch.logsumexp(log_share + log_p, -1)


def _log_rest(log_taken: Tensor) -> Tensor:
    """The logarithm of what is left of one."""
    return (-torch.expm1(log_taken.clamp_max(-1e-12))).log()


def _choose(log_share: Tensor, generator: Generator | None) -> Tensor:
    """Number of the component that each row draws from, ``(*batch, 1)``."""
    flat = log_share.exp().reshape(-1, log_share.shape[-1])
    if not len(flat):
        return torch.zeros((*log_share.shape[:-1], 1), dtype=torch.long, device=log_share.device)
    return torch.multinomial(flat, 1, generator=generator).reshape(*log_share.shape[:-1], 1)


def _drawn(table: QuantileTable, mixture: Sequence[Tensor], generator: Generator | None) -> Tensor:
    """Numbers whose scores follow a mixture of logistic densities, ``(*batch,)``."""
    log_share, place, log_scale = mixture
    which = _choose(log_share, generator)
    share = torch.rand(which.shape, generator=generator, dtype=place.dtype, device=place.device)
    tiny = torch.finfo(share.dtype).tiny
    score = place.gather(-1, which) + log_scale.gather(-1, which).exp() * (
        share.clamp_min(tiny).log() - torch.log1p(-share)
    )
    return values(table, score)[0][..., 0]
