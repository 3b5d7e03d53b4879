"""The normal base with independent features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from pushforward.bases.base import LOG_SQRT_2PI
from pushforward.bases.location_scale import LocationScale
from pushforward.kernels.chain import LayerCall
from pushforward.kernels.dispatch import fixed, readable
from pushforward.kernels.originals import Methods
from pushforward.kernels.plan import ConstantPlan
from pushforward.transforms.fused import Prepared, Weights

__all__ = ["Normal"]


class Normal(LocationScale):
    """Normal density with independent features; ``MultivariateNormal`` has dependent ones.

    Args:
        features: width of z.
        loc: mean, a number or ``(features,)``.
        scale: standard deviation, a number or ``(features,)``.
        learn: whether mean and standard deviation are trained.
        context: width of a context; a network of it then moves both.
        hidden: widths of the hidden layers of that network.

    Shapes:
        z: ``(*batch, features)``; context: ``(*batch, context)``; log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: a scale that is not positive, or a wrong length.
        ContextError: no context for a base that reads one.

    Cost: a few elementwise operations a number, for a density or a draw; with a context one network
        call a row.

    Source: none

    Example:
        >>> Normal(2).log_prob(torch.zeros(2))
        tensor(-1.8379)
        >>> Normal(2, context=3).rsample(5, torch.zeros(4, 3)).shape
        torch.Size([5, 4, 2])
    """

    def __init__(
        self,
        features: int,
        loc: float | Tensor = 0.0,
        scale: float | Tensor = 1.0,
        learn: bool = False,
        context: int = 0,
        hidden: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__(features, loc, scale, learn, context, hidden)

    def _in_a_row(self, z: Tensor) -> Prepared | None:
        if self.network is not None or not _METHODS.are_those_of(self):
            return None
        loc, log_scale = self.loc, self.log_scale
        if z.shape[-1:] != self.event_shape or not z.numel():
            return None
        if not (fixed(self.event_shape, loc, log_scale) and readable((z, loc, log_scale))):
            return None

        def plain(z: Tensor, context: Tensor | None, none: Weights) -> tuple[Tensor, Tensor]:
            return z.new_empty(0), self._density(z, loc, log_scale)

        return Prepared(LayerCall(_plan(z.shape[-1]), plain, loc, log_scale, False), ())

    def _standard_log_prob(self, h: Tensor, *shape: Tensor) -> Tensor:
        return -0.5 * h.square() - LOG_SQRT_2PI

    def _standard_draws(
        self, like: Tensor, generator: torch.Generator | None, *shape: Tensor
    ) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


_METHODS = Methods(Normal, "log_prob", "_standard_log_prob", "_density", "_parameters_for")


@lru_cache(maxsize=256)
def _plan(features: int) -> ConstantPlan:
    return ConstantPlan(features, density=True)
