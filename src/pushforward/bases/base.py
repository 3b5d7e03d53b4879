"""The contract of a base: a normalized density that can be scored and sampled."""

from __future__ import annotations

import abc
import math
import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError
from pushforward.spec import Part
from pushforward.transforms.domains import Domain, Everywhere
from pushforward.transforms.domains.box import per_feature
from pushforward.transforms.fused import Prepared

__all__ = ["Base", "Scored", "draw_components", "draw_counts", "per_feature", "sampled_shape"]


class Base(Part, nn.Module):
    """A density at the latent end.

    Shapes:
        z: ``(*batch, *event_shape)``; context: ``(*batch, context)``
        log_prob: ``(*batch,)``, nats, -inf outside the support
    """

    event_shape: tuple[int, ...]
    context: int = 0
    exactness: str = "exact"

    @property
    def support(self) -> Domain | None:
        """Where it has mass; None where that is not known."""
        return Everywhere(len(self.event_shape))

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

    def _in_a_row(self, z: Tensor) -> Prepared | None:
        """The log-density, without a context, for a kernel that computes it behind transforms.

        It stands for a step whose logdet it is, and that gives no z. None where no kernel can.
        """
        return None

    def settle(self, z: Tensor | None = None, context: Tensor | None = None) -> Base:
        """Set what evaluation needs to know after training; by default nothing."""
        return self


class Scored(NamedTuple):
    """A step behind those of a transform: it gives the log-density of what comes to it.

    Attributes:
        base: the density.
        context: what it is read with, for all that comes.
    """

    base: Any
    context: Tensor | None

    def take(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same z, and its log-density in the place of a logdet."""
        return z, self.base.log_prob(z, self.context)

    def in_a_row(self, z: Tensor, context: Tensor | None) -> Prepared | None:
        """What a kernel needs to compute it behind others, if it can."""
        plain = self.context is not None or not isinstance(self.base, Base)
        return None if plain else self.base._in_a_row(z)


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
    """Number of the component that each draw of a mixture comes from, of shape ``batch``.

    Args:
        logits: ``(components,)``, or shares of their own for rows of the batch, which they end in.
        batch: shape of the draws.
        generator: where they come from.
    """
    share = torch.softmax(logits.detach(), -1)
    rows = share.reshape(-1, share.shape[-1])
    count = math.prod(batch) // max(1, len(rows))
    if not len(rows) or not count:  # multinomial refuses to draw nothing
        return torch.zeros(batch, dtype=torch.long, device=logits.device)
    which = torch.multinomial(rows, count, replacement=True, generator=generator)
    return which.mT.reshape(batch)


LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
