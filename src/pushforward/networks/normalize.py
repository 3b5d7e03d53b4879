"""The scaling of a context before any network sees it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pushforward.errors import ShapeError
from pushforward.numerics.sketches import Moments
from pushforward.spec import Part

__all__ = ["Normalize"]


class Normalize(Part, nn.Module):
    """Subtract a mean and divide by a standard deviation that ``fit`` reads off the data.

    It carries no logdet: it is for contexts, whose units do not enter a density.

    Args:
        features: width of the vectors.

    Shapes:
        input and output: ``(*batch, features)``

    Raises:
        ShapeError: the vectors have another width.

    Source: none

    Example:
        >>> scale = Normalize(1).fit(torch.tensor([[0.0], [10.0]]))
        >>> scale(torch.tensor([[5.0]]))
        tensor([[0.]])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def fit(self, x: Tensor) -> Normalize:
        """Read both off ``(n, features)``; a constant column keeps its unit."""
        moments = Moments(self.features).update(x.reshape(-1, self.features))
        spread = moments.variance.clamp_min(0.0).sqrt()
        spread = torch.where(spread > 0, spread, torch.ones_like(spread))
        self.mean.copy_(moments.mean)
        self.scale.copy_(spread)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Scale ``(*batch, features)``."""
        if x.shape[-1:] != (self.features,):  # a single number would broadcast to all features
            raise ShapeError(
                f"Normalize: context has shape {tuple(x.shape)}, expected (*batch, "
                f"{self.features})."
            )
        return (x - self.mean) / self.scale
