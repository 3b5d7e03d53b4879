"""The normal base with independent features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pushforward.bases.base import LOG_SQRT_2PI, Base, per_feature, sampled_shape
from pushforward.errors import ArgumentError

__all__ = ["Normal"]


class Normal(Base):
    """Normal density with independent features.

    Args:
        features: width of z.
        loc: mean, a number or ``(features,)``.
        scale: standard deviation, a number or ``(features,)``.
        learn: whether mean and standard deviation are trained.

    Shapes:
        z: ``(*batch, features)``; log_prob: ``(*batch,)``, nats

    Raises:
        ArgumentError: a scale that is not positive, or a wrong length.

    Source: none

    Example:
        >>> Normal(2).log_prob(torch.zeros(2))
        tensor(-1.8379)
    """

    loc: Tensor
    log_scale: Tensor

    def __init__(
        self,
        features: int,
        loc: float | Tensor = 0.0,
        scale: float | Tensor = 1.0,
        learn: bool = False,
    ) -> None:
        super().__init__()
        self.event_shape = (features,)
        width = per_feature("Normal", "scale", scale, features)
        if not bool((width > 0).all()):
            raise ArgumentError(f"Normal: scale is {width.tolist()}, expected positive numbers.")
        values = {"loc": per_feature("Normal", "loc", loc, features), "log_scale": width.log()}
        for name, value in values.items():
            if learn:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats."""
        standard = (z - self.loc) * (-self.log_scale).exp()
        constant = self.log_scale.sum() + self.event_shape[0] * LOG_SQRT_2PI
        return -0.5 * standard.square().sum(-1) - constant

    def rsample(
        self,
        n: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws, ``(*n, *context_batch, features)``."""
        shape = sampled_shape(n, context, self.event_shape)
        noise = torch.randn(
            shape, generator=generator, dtype=self.loc.dtype, device=self.loc.device
        )
        return torch.addcmul(self.loc, noise, self.log_scale.exp())
