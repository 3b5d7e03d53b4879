"""The contract of a base: a normalized density that can be scored and sampled."""

from __future__ import annotations

import abc
import math
import operator
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError
from pushforward.spec import Part

__all__ = ["Base", "draw_components", "draw_counts", "per_feature", "sampled_shape"]


class Base(Part, nn.Module):
    """A density at the latent end.

    Shapes:
        z: ``(*batch, *event_shape)``; context: ``(*batch, context)``
        log_prob: ``(*batch,)``, nats, -inf outside the support
    """

    event_shape: tuple[int, ...]
    context: int = 0
    exactness: str = "exact"

    @abc.abstractmethod
    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density of z in nats, ``(*batch,)``."""

    @abc.abstractmethod
    def rsample(
        self,
        n: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Differentiable draws, ``(*n, *context_batch, *event_shape)``."""


def draw_counts(n: Any) -> tuple[int, ...]:
    """How many draws along each dimension, checked: a whole number or a tuple of them.

    Example:
        >>> draw_counts(3), draw_counts((2, 3))
        ((3,), (2, 3))
    """
    ahead = n if isinstance(n, tuple | list | torch.Size) else (n,)
    if any(isinstance(k, bool) or not hasattr(k, "__index__") or int(k) < 0 for k in ahead):
        raise ArgumentError(
            f"sample: n is {n!r}, expected a number of draws from 0 up, or a tuple of such."
        )
    return tuple(operator.index(k) for k in ahead)


def sampled_shape(
    n: int | tuple[int, ...], context: Tensor | None, event: tuple[int, ...]
) -> tuple[int, ...]:
    """Shape of draws: ``(*n, *context_batch, *event)``."""
    return (*draw_counts(n), *(() if context is None else context.shape[:-1]), *event)


def draw_components(
    logits: Tensor, batch: tuple[int, ...], generator: torch.Generator | None
) -> Tensor:
    """Number of the component that each draw of a mixture comes from, of shape ``batch``."""
    count = math.prod(batch)
    share = torch.softmax(logits.detach(), -1)
    # multinomial refuses to draw nothing
    which = torch.multinomial(share, max(1, count), replacement=True, generator=generator)
    return which[:count].reshape(batch)


def per_feature(who: str, name: str, value: float | Tensor, features: int) -> Tensor:
    """A number or one number for each feature, as ``(features,)``."""
    given = torch.as_tensor(value)
    given = given if given.is_floating_point() else given.to(torch.get_default_dtype())
    if given.ndim > 1 or (given.ndim == 1 and len(given) != features):
        raise ArgumentError(
            f"{who}: {name} has shape {tuple(given.shape)}, expected a number or ({features},)."
        )
    if not bool(torch.isfinite(given).all()):
        raise ArgumentError(f"{who}: {name} is {given.tolist()}, expected finite numbers.")
    return given.detach().expand(features).clone()


LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
