"""The logistic base, the prior of NICE."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.bases.location_scale import LocationScale

__all__ = ["Logistic"]


class Logistic(LocationScale):
    """Logistic density with independent features.

    With h = (z - loc) / scale, ``log p = log sigmoid(h) + log sigmoid(-h) - log scale``.

    Args:
        features: width of z.
        loc: mean, a number or ``(features,)``.
        scale: a number or ``(features,)``; the standard deviation is 1.814 times it.
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

    Source: Dinh, Krueger, Bengio 2014, arXiv:1410.8516 sec. 3.4

    Example:
        >>> Logistic(1).log_prob(torch.zeros(1)).exp()
        tensor(0.2500)
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
        # softplus of PyTorch is wrong by 2e-9 beyond 20; logsigmoid is not
        return functional.logsigmoid(h) + functional.logsigmoid(-h)

    def _standard_draws(
        self, like: Tensor, generator: torch.Generator | None, *shape: Tensor
    ) -> Tensor:
        share = torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)
        share = share.clamp_min(0.25 * torch.finfo(like.dtype).eps)  # 0 has no logarithm
        return share.log() - torch.log1p(-share)
