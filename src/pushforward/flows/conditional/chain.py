"""The density of several numbers given others, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError, ShapeError
from pushforward.flows.conditional.components import Components
from pushforward.flows.conditional.drawn import Drawn
from pushforward.flows.conditional.ensemble import Ensemble
from pushforward.numerics.tails.student_t_curves import student_t_quantile

__all__ = ["Chain"]

_EDGE = 1e-6  # of the levels of the points in the place of draws, which touch 0 and 1 otherwise


class Chain(Drawn):
    """``p(y | context)`` of several numbers, as ``p(y1 | context) p(y2 | context, y1)`` and so on.

    Args:
        steps: an ``Ensemble`` for each number; each takes the context and the numbers before its
            own.

    Attributes:
        targets: how many numbers.

    Shapes:
        y: ``(*batch, targets)``; context: ``(*batch, features)``; log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: no step, or one that takes another number of inputs.
        ShapeError: a y of another width.

    Source: none

    Example:
        >>> from pushforward.networks import Ramps
        >>> first = Ensemble(Ramps([{"value": "number"}], [0]), members=2, hidden=(8,))
        >>> second = Ensemble(Ramps([{"value": "number"}] * 2, [0, 0]), members=2, hidden=(8,))
        >>> chain = Chain([first, second])
        >>> chain.log_prob(torch.zeros(5, 2), torch.zeros(5, 1)).shape
        torch.Size([5])
        >>> chain.sample(3, torch.zeros(5, 1)).shape
        torch.Size([3, 5, 2])
    """

    def __init__(self, steps: Sequence[Ensemble]) -> None:
        super().__init__()
        self.targets = len(steps)
        if not steps:
            raise ArgumentError("Chain: got no steps, expected at least one.")
        takes = [int(step.embed.features) for step in steps]
        if takes != list(range(takes[0], takes[0] + len(takes))):
            raise ArgumentError(
                f"Chain: the steps take {takes} inputs, expected each to take one more than the "
                f"one before it."
            )
        self.steps = nn.ModuleList(steps)
        self.features = takes[0]

    def step(self, place: int) -> Ensemble:
        """The density of one number given those before it."""
        return self.steps[place]  # type: ignore[return-value]

    def log_prob(self, y: Tensor, context: Tensor) -> Tensor:
        """Log-density of y given the context, nats, ``(*batch,)``."""
        if y.shape != (*context.shape[:-1], self.targets):
            raise ShapeError(
                f"Chain: y has shape {tuple(y.shape)} and context {tuple(context.shape)}, expected "
                f"(*batch, {self.targets}) and (*batch, {self.features})."
            )
        total = context.new_zeros((), dtype=torch.float64)
        for i in range(self.targets):
            seen = torch.cat((context, y[..., :i].to(context)), -1)
            total = total + self.step(i).log_prob(y[..., i], seen)
        return total

    def rsample(
        self,
        n: int | Sequence[int],
        context: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws with gradients, ``(*n, *batch, targets)``."""
        shape = (n,) if isinstance(n, int) else tuple(n)
        seen = context.double().expand(*shape, *context.shape)
        for i in range(self.targets):
            drawn = self.step(i).rsample((), seen, generator)
            seen = torch.cat((seen, drawn[..., None]), -1)
        return seen[..., self.features :]

    def marginal(self, place: int, context: Tensor, points: int = 64) -> Components:
        """The density of one number whatever those before it are, given contexts ``(n, features)``.

        That of the first is exact. For the others the numbers before are averaged over, at points
        in the place of draws, the same for all rows: what comes out for a row does not depend on
        those beside it.

        Args:
            place: of the number, from 0.
            context: the rows.
            points: how many.
        """
        if place == 0:
            return self.step(0).given(context)
        n, uniform = len(context), _points(points, place).to(context.device)
        seen = context.double().expand(points, *context.shape)
        for i in range(place):
            step = self.step(i)
            components = step.given(seen.reshape(points * n, -1))
            which = (uniform[:, i, 0] * step.members).long()
            z = student_t_quantile(uniform[:, i, 1], step.df[which])
            spread = [part.repeat_interleave(n)[None] for part in (which, z)]
            drawn = components.pick(*spread).reshape(points, n, 1)
            seen = torch.cat((seen, drawn), -1)
        last = self.step(place)
        own = last.given(seen.reshape(points * n, -1))
        raw = own.raw.reshape(last.members * points, n, -1)
        df = last.df.repeat_interleave(points)
        return Components(own.map, raw, df, own.center, own.scale, own.width)


def _points(count: int, numbers: int) -> Tensor:
    """Evenly spread points in (0, 1), ``(count, numbers, 2)``: for the member and its latent."""
    sobol: Any = torch.quasirandom.SobolEngine  # which says nothing of types
    drawn = sobol(2 * numbers, scramble=True, seed=0).draw(count, dtype=torch.float64)
    drawn = drawn.reshape(count, numbers, 2)
    return torch.clamp(drawn, _EDGE, 1.0 - _EDGE)
