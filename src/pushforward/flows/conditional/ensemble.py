"""The density of one number given others: several conditional flows side by side, averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError, ShapeError
from pushforward.flows.conditional.components import LEAST_LEVEL, Components
from pushforward.flows.conditional.drawn import Drawn
from pushforward.maps import RationalQuadratic
from pushforward.networks.side_by_side import SideBySideMLP
from pushforward.numerics.conditioning import reach

__all__ = ["Ensemble"]

_NEAR = 8.0  # deviations within which a context is shown as it is
_FARTHEST = 1e100  # beyond, squares would overflow
_DF = 8.0  # where degrees of freedom begin, above the least


class Ensemble(Drawn):
    """The mean of several conditional densities of one number y.

    Each member is a flow: location, scale and a monotone spline, all read off the context by a
    network, take y to a Student-t base whose degrees of freedom it has for itself. The densities
    are averaged, so that the whole is wider where the members differ: where they have seen no rows.
    It computes in float64.

    Args:
        embed: a module that the context passes first, once for all members; it says how many
            ``features`` it takes and ``outputs`` it gives, such as ``networks.Ramps``.
        members: number of densities.
        hidden: widths of the hidden layers of each network.
        bins: of the splines.
        box: half width of the splines' box, in units of the scale that a member reads off the
            context.

    Attributes:
        center, scale: y is standardized by them; training sets them.
        width: of the base; above 1 it makes all members wider.

    Shapes:
        y: ``(*batch,)``; context: ``(*batch, features)``

    Raises:
        ArgumentError: no member, or a module that does not say its widths.
        ShapeError: y and context that do not fit each other.

    Source: Durkan et al. 2019, arXiv:1906.04032; Lakshminarayanan, Pritzel, Blundell 2017,
        arXiv:1612.01474.
        Differs: densities of any shape in the place of normal ones; no adversarial rows.

    Example:
        >>> from pushforward.networks import Ramps
        >>> ensemble = Ensemble(Ramps([{"value": "number"}], [0]), members=2, hidden=(8,))
        >>> context = torch.zeros(3, 1)
        >>> ensemble.log_prob(torch.zeros(3), context).shape
        torch.Size([3])
        >>> ensemble.quantile(torch.tensor([0.05, 0.95]), context).shape
        torch.Size([3, 2])
    """

    embed: Any
    center: Tensor
    scale: Tensor
    width: Tensor

    def __init__(
        self,
        embed: Any,
        members: int = 5,
        hidden: Sequence[int] = (128, 128),
        bins: int = 6,
        box: float = 4.0,
    ) -> None:
        super().__init__()
        if members < 1:
            raise ArgumentError(f"Ensemble: members is {members}, expected at least 1.")
        if not isinstance(embed, nn.Module) or not hasattr(embed, "outputs"):
            raise ArgumentError(
                f"Ensemble: embed is a {type(embed).__name__}, expected a module with features and "
                f"outputs, such as networks.Ramps."
            )
        self.members, self.embed = members, embed
        self.map = RationalQuadratic(bins=bins, box=box).bind(1)
        self.network = SideBySideMLP(members, self.embed.outputs, 2 + self.map.raw_width, hidden)
        self.raw_df = nn.Parameter(torch.full((members, 1), math.log(_DF)))
        for name, value in (("center", 0.0), ("scale", 1.0), ("width", 1.0)):
            self.register_buffer(name, torch.tensor(value))
        self.double()

    @property
    def df(self) -> Tensor:
        """Degrees of freedom of each member, above 1, so that means exist."""
        return self.raw_df.squeeze(-1).exp() + 1.0

    def encoded(self, inputs: Tensor) -> Components:
        """The densities given contexts that were embedded: ``(n, outputs)`` or one each member."""
        return Components(
            self.map, self.network(inputs), self.df, self.center, self.scale, self.width
        )

    def given(self, context: Tensor) -> Components:
        """The densities given contexts ``(n, features)``."""
        return self.encoded(self.embedded(context.to(self.scale)).to(self.scale))

    def embedded(self, context: Tensor) -> Tensor:
        """What the networks see of contexts ``(n, features)``: of far ones their logarithm.

        A number some thousand deviations away would be taken to a location and a scale without
        any sense, and one yet farther to no number at all.
        """
        seen: Tensor = self.embed(context)
        near = seen.clamp(-_NEAR, _NEAR)
        return near + reach(seen.clamp(-_FARTHEST, _FARTHEST) - near)

    def log_prob(self, y: Tensor, context: Tensor) -> Tensor:
        """Log-density of y given the context, nats, ``(*batch,)``."""
        flat, rows = self._flat(y, context)
        return self.given(rows).log_prob(flat[:, None]).reshape(y.shape)

    def cdf(self, y: Tensor, context: Tensor) -> Tensor:
        """Probability below y given the context, ``(*batch,)``; without a gradient."""
        flat, rows = self._flat(y, context)
        return self.given(rows).cdf(flat[:, None]).reshape(y.shape)

    def quantile(self, levels: Tensor, context: Tensor) -> Tensor:
        """The numbers that probabilities ``(q,)`` lie below, ``(*batch, q)``.

        Without a gradient.
        """
        inside = (levels >= LEAST_LEVEL) & (levels <= 1.0 - LEAST_LEVEL)
        if levels.dim() != 1 or not bool(inside.all()):
            raise ArgumentError(
                f"Ensemble.quantile: levels is {levels!r:.100}, expected numbers between 0 and 1, "
                f"at least {LEAST_LEVEL} away from both."
            )
        rows = context.reshape(-1, context.shape[-1])
        return self.given(rows).quantile(levels).reshape(*context.shape[:-1], len(levels))

    def mean(self, context: Tensor) -> Tensor:
        """The mean given the context, ``(*batch,)``; without a gradient."""
        return self.given(context.reshape(-1, context.shape[-1])).mean().reshape(context.shape[:-1])

    def rsample(
        self,
        n: int | Sequence[int],
        context: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws with gradients, ``(*n, *batch)``.

        Args:
            n: a number, or a shape.
            context: ``(*batch, features)``.
            generator: where draws come from; None is torch's own.
        """
        shape = (n,) if isinstance(n, int) else tuple(n)
        components = self.given(context.reshape(-1, context.shape[-1]))
        size = (math.prod(shape), components.raw.shape[1])
        which = torch.randint(self.members, size, generator=generator, device=context.device)
        df = self.df[which]
        noise = torch.randn(size, generator=generator, dtype=df.dtype, device=df.device)
        gamma = torch._standard_gamma(0.5 * df, generator=generator)
        z = noise * (0.5 * df / gamma.clamp_min(torch.finfo(df.dtype).tiny)).sqrt()
        return components.pick(which, z).reshape(*shape, *context.shape[:-1])

    def _flat(self, y: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        if context.shape[:-1] != y.shape:
            raise ShapeError(
                f"Ensemble: y has shape {tuple(y.shape)} and context {tuple(context.shape)}, "
                f"expected (*batch,) and (*batch, {self.embed.features})."
            )
        return y.to(self.scale).reshape(-1), context.reshape(-1, context.shape[-1])
