"""Maximum likelihood of an ensemble: all members in one loop, each with its own rows and end."""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.errors import DataError, NotFiniteError
from pushforward.flows.conditional.ensemble import Ensemble
from pushforward.numerics.tails.student_t_curves import student_t_log_density
from pushforward.training.members.flat import Flat
from pushforward.training.members.plan import Plan
from pushforward.training.optimizer import PromptAdamW

__all__ = ["MemberHistory", "fit_members"]

_TENTHS = 10  # every member holds out another one
_MOST_HELD = 5000  # rows that a member holds out: more would not tell more
_LR = 3e-3
_CLIP = 5.0  # norm of a member's gradient
_LOOKS = 40  # at the rows held out, in a run
_BETAS = (0.9, 0.99)
_WIDTHS = (0.7, 3.0, 100)  # of the base that are tried: from, to, how many
_SHARE_WIDER = 1.0 / 3.0  # of the width that is found, in logarithms
_JITTER_SEED = 1  # added to the seed of the run, so that jitter leaves its other draws as they are


@dataclass(frozen=True)
class MemberHistory:
    """What a run of training came to.

    Attributes:
        steps: how many there were.
        held_out: the best log-density of each member's held-out rows, nats a row, of the
            standardized number.
        best_step: when that was.
        width: of the base in the end.
        skipped: steps of single members that were skipped, their gradient not being finite.
    """

    steps: int
    held_out: tuple[float, ...]
    best_step: tuple[int, ...]
    width: float
    skipped: int


class _Rows:
    """The rows of a run, encoded once, and which of them each member learns from."""

    def __init__(
        self, inputs: Tensor, u: Tensor, weights: Tensor | None, members: int, chance: object
    ) -> None:
        assert isinstance(chance, torch.Generator)
        n = len(u)
        self.inputs, self.u, self.weights, self.chance = inputs, u, weights, chance
        order = torch.randperm(n, generator=chance)
        size = max(1, min(n // max(_TENTHS, members), _MOST_HELD))
        parts = [k % (n // size) for k in range(members)]  # fewer rows than members: some share
        self.held = torch.stack([order[k * size : (k + 1) * size] for k in parts])
        self.own = torch.stack(
            [torch.cat((order[: k * size], order[(k + 1) * size :])) for k in parts]
        )
        self._order, self._place = self.own, self.own.shape[1]

    def batch(self, size: int) -> Tensor:
        """The rows of the next step, ``(members, size)``: each member's own, in its own order."""
        members, n = self.own.shape
        if self._place + size > n:
            shuffled = torch.rand(members, n, generator=self.chance).argsort(1)
            self._order, self._place = self.own.gather(1, shuffled), 0
        self._place += size
        return self._order[:, self._place - size : self._place]


def fit_members(
    ensemble: Ensemble,
    context: Tensor,
    y: Tensor,
    plan: Plan,
    *,
    weights: Tensor | None = None,
    jitter: float = 0.0,
    seed: int = 0,
) -> MemberHistory:
    """Learn the density of y given the context, in place.

    Each member holds out another tenth of the rows and ends with the averaged parameters that were
    best there. What the members then say of rows they have not seen decides how wide the base is.
    The caller's random state stays as it is.

    Args:
        ensemble: its ``embed`` is fitted already.
        context: ``(n, features)``.
        y: ``(n,)``.
        plan: how long.
        weights: of the rows, above zero, or None.
        jitter: what y was rounded to: in training each is moved within it, evenly, so that the
            density cannot grow spikes on a lattice; 0 for none.
        seed: of all draws.

    Raises:
        DataError: fewer than two rows, or all y are the same.
        NotFiniteError: a member has found no finite density of the rows it holds out.
    """
    y = y.double()
    shares = None if weights is None else (weights / weights.mean()).double()
    _place(ensemble, y, shares)
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        inputs = ensemble.embedded(context).float()
    u = ((y - ensemble.center) / ensemble.scale).float()
    rows = _Rows(inputs, u, None if shares is None else shares.float(), ensemble.members, chance)
    step = jitter / float(ensemble.scale)
    run = _Run(ensemble, rows, plan, step, torch.Generator().manual_seed(seed + _JITTER_SEED))
    best, when = run.train()
    if not bool(best.isfinite().all()):
        raise NotFiniteError(
            "fit_members: a member has found no finite density of the rows it holds out; look for "
            "values far from all others in X and y, or give more rows."
        )
    if run.skipped:
        warnings.warn(
            f"fit_members: {run.skipped} of {plan.steps * ensemble.members} steps of members were "
            f"skipped, since their gradients were not finite; look for values far from all others.",
            UserWarning,
            stacklevel=3,
        )
    run.hand_over(ensemble)
    width = _widen(ensemble, rows)
    return MemberHistory(plan.steps, tuple(best.tolist()), tuple(when.tolist()), width, run.skipped)


def _place(ensemble: Ensemble, y: Tensor, weights: Tensor | None) -> None:
    """Set the unit that numbers are learned in.

    Raises:
        DataError: there is none.
    """
    if len(y) < 2:
        raise DataError(f"fit_members: y has {len(y)} rows, expected at least 2.")
    shares = torch.ones_like(y) if weights is None else weights
    center = (shares * y).mean()
    farthest = (y - center).abs().amax()  # whose square may be no number that there is
    scale = farthest * (shares * ((y - center) / farthest).square()).mean().sqrt()
    if bool(y.amin() == y.amax()):
        raise DataError(
            f"fit_members: y is {float(y[0]):g} in all {len(y)} rows, so that its density is "
            f"infinite there; expected values that differ."
        )
    ensemble.center.copy_(center)
    ensemble.scale.copy_(scale)
    ensemble.width.fill_(1.0)


class _Learner(nn.Module):
    """The members in float32, without the embedding: the rows are embedded once."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = copy.deepcopy(ensemble)
        self.ensemble.embed = None
        self.ensemble.float()
        self.ensemble.requires_grad_(True)

    def forward(self, inputs: Tensor, u: Tensor) -> Tensor:
        """Log-density of ``(members, n)`` numbers under their members."""
        found: Tensor = self.ensemble.encoded(inputs).each_log_prob(u.unsqueeze(-1)).squeeze(-1)
        return found


class _Run:
    """One run of training."""

    def __init__(
        self, ensemble: Ensemble, rows: _Rows, plan: Plan, jitter: float, noise: torch.Generator
    ) -> None:
        self.rows, self.plan, self.jitter, self.noise = rows, plan, jitter, noise
        self.now = _Learner(ensemble)
        self.average = copy.deepcopy(self.now).requires_grad_(False)
        self.flat, self.mean = Flat(self.now), Flat(self.average)
        self.kept = self.mean.values.clone()
        self.skipped = 0
        self._decays = self.flat.columns("weights")
        whole = nn.Parameter(self.flat.values)  # shares the memory of the module's parameters
        whole.grad = self.flat.gradients
        self.optimizer = PromptAdamW([whole], lr=_LR, betas=_BETAS, weight_decay=0.0, fused=True)

    def train(self) -> tuple[Tensor, Tensor]:
        """All steps; the best held-out figure of each member, and the step it was found at."""
        members, steps = len(self.kept), self.plan.steps
        best = torch.full((members,), -math.inf)
        when = torch.zeros(members, dtype=torch.long)
        memory, every = 1.0 - 1.0 / max(steps / 15, 10), max(1, steps // _LOOKS)
        for step in range(1, steps + 1):
            self._step(step)
            old = min(memory, (1 + step) / (10 + step))
            self.mean.values.lerp_(self.flat.values, 1.0 - old)
            if step % every == 0 or step == steps:
                figure = self._held_out()
                better = figure > best
                best = torch.where(better, figure, best)
                when[better] = step
                self.kept[better] = self.mean.values[better]
        return best, when

    def _step(self, step: int) -> None:
        plan, rows = self.plan, self.rows
        index = rows.batch(min(plan.batch, rows.own.shape[1]))
        u = rows.u[index]
        if self.jitter:
            u = u + self.jitter * (torch.rand(u.shape, generator=self.noise) - 0.5)
        log_prob = self.now(rows.inputs[index], u)
        if rows.weights is not None:
            log_prob = log_prob * rows.weights[index]
        self.flat.backward(-log_prob.mean(1).sum())
        norm = self.flat.gradients.norm(dim=1, keepdim=True)
        self.skipped += int((~norm.isfinite()).sum())
        # each member by itself; of one whose gradient is not finite nothing is taken
        self.flat.gradients.mul_(_CLIP / norm.clamp_min(_CLIP)).nan_to_num_(0.0)
        warm = max(10, plan.steps // 20)
        lr = _LR * min(1.0, step / warm) * 0.5 * (1.0 + math.cos(math.pi * step / plan.steps))
        self.optimizer.param_groups[0]["lr"] = lr
        self.flat.values.mul_(1.0 - lr * plan.weight_decay * self._decays)
        self.optimizer.step()

    def _held_out(self) -> Tensor:
        rows = self.rows
        with torch.no_grad():
            log_prob = self.average(rows.inputs[rows.held], rows.u[rows.held])
        return _mean(log_prob, rows)

    def hand_over(self, ensemble: Ensemble) -> None:
        """Give the ensemble the parameters that were kept."""
        self.mean.values.copy_(self.kept)
        learned = self.average.ensemble
        with torch.no_grad():
            for mine, found in (
                *zip(ensemble.network.parameters(), learned.network.parameters(), strict=True),
                (ensemble.raw_df, learned.raw_df),
            ):
                mine.copy_(found)


def _mean(log_prob: Tensor, rows: _Rows) -> Tensor:
    """Mean over the rows that each member holds out, by their weights, ``(members,)``."""
    if rows.weights is None:
        return log_prob.mean(1)
    weights = rows.weights[rows.held].to(log_prob)
    return (log_prob * weights).sum(1) / weights.sum(1)


def _widen(ensemble: Ensemble, rows: _Rows) -> float:
    """Widen the base by what the rows say that members have not seen: seen ones lie nearer.

    By a third of it, in logarithms: the mean of the members is wider than each of them already. By
    half of it intervals held some more than they should, without being likelier.
    """
    low, high, count = _WIDTHS
    widths = torch.logspace(math.log10(low), math.log10(high), count, dtype=torch.float64)
    with torch.no_grad():
        components = ensemble.encoded(rows.inputs[rows.held].double())
        z = components.latent(rows.u[rows.held].double().unsqueeze(-1))[0]
        tried = student_t_log_density(z / widths, components.df) - widths.log()
        figures = torch.stack([_mean(one, rows).mean() for one in tried.unbind(-1)])
        width = math.pow(float(widths[int(figures.argmax())]), _SHARE_WIDER)
        ensemble.width.fill_(width)
    return width
