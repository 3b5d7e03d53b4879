"""The Laplace base: tails that fall as an exponential."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.bases.location_scale import LocationScale

__all__ = ["Laplace"]


class Laplace(LocationScale):
    """Laplace density with independent features, ``exp(-|z - loc| / scale) / (2 scale)``.

    Args:
        features: width of z.
        loc: median, a number or ``(features,)``.
        scale: mean distance from the median, a number or ``(features,)``.
        learn: whether both are trained.
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
        >>> Laplace(1).log_prob(torch.zeros(1)).exp()
        tensor(0.5000)
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

    def _standard_log_prob(self, h: Tensor, *shape: Tensor) -> Tensor:
        return -h.abs() - math.log(2.0)

    def _standard_draws(
        self, like: Tensor, generator: torch.Generator | None, *shape: Tensor
    ) -> Tensor:
        share = torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)
        side = 2.0 * share - 1.0  # from -1, where the logarithm would be infinite, to below 1
        far = side.abs().clamp_max(1.0 - 0.5 * torch.finfo(like.dtype).eps)
        return torch.log1p(-far).copysign(side)
