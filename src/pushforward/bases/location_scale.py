"""Densities of independent features with a location and a scale; each may follow a context."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.bases.base import Base, per_feature, sampled_shape
from pushforward.errors import ArgumentError
from pushforward.networks.mlp import MLP
from pushforward.numerics.conditioning import reach
from pushforward.transforms.base import admit_context

__all__ = ["LocationScale"]

_BOUND = 3.0  # the largest factor by which a context changes a scale is exp(3)


class LocationScale(Base):
    """A standard density, shifted and scaled in each feature.

    A density writes ``_standard_log_prob`` and ``_standard_draws``. With a context, a network of it
    adds to the parameters: to the location as it is, to all others, which are logarithms, at most 3
    either way. The network starts at zero, so that the base starts as it is without a context.

    Args:
        features: width of z.
        loc: location, a number or ``(features,)``.
        scale: a number or ``(features,)``.
        learn: whether location, scale and shape are trained.
        context: width of the context, 0 for none.
        hidden: widths of the hidden layers of the network, where there is a context.
        shape: further parameters by name, ``(features,)`` each, as logarithms.
    """

    loc: Tensor
    log_scale: Tensor

    def __init__(
        self,
        features: int,
        loc: float | Tensor,
        scale: float | Tensor,
        learn: bool,
        context: int,
        hidden: Sequence[int],
        shape: dict[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.event_shape = (features,)
        who = type(self).__name__
        width = per_feature(who, "scale", scale, features)
        if not bool((width > 0).all()):
            raise ArgumentError(f"{who}: scale is {width.tolist()}, expected positive numbers.")
        values = {"loc": per_feature(who, "loc", loc, features), "log_scale": width.log()}
        values |= shape or {}
        self._names = tuple(values)
        for name, value in values.items():
            if learn:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        self.context, self.learn = context, learn
        self.network = MLP(context, len(values) * features, hidden) if context else None

    @abc.abstractmethod
    def _standard_log_prob(self, h: Tensor, *shape: Tensor) -> Tensor:
        """Log-density of each number at location 0 and scale 1."""

    @abc.abstractmethod
    def _standard_draws(
        self, like: Tensor, generator: torch.Generator | None, *shape: Tensor
    ) -> Tensor:
        """Differentiable draws at location 0 and scale 1, of the shape of ``like``."""

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats."""
        return self._density(z, *self._parameters_for("log_prob", z.shape[:-1], context))

    def _density(self, z: Tensor, loc: Tensor, log_scale: Tensor, *shape: Tensor) -> Tensor:
        each = self._standard_log_prob((z - loc) * (-log_scale).exp(), *shape)
        return each.sum(-1) - log_scale.sum(-1)

    def rsample(
        self,
        n: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws, ``(*n, *context_batch, features)``, with gradients to every parameter."""
        batch = () if context is None else tuple(context.shape[:-1])
        loc, log_scale, *shape = self._parameters_for("rsample", batch, context)
        like = self.loc.new_empty(sampled_shape(n, context, self.event_shape))
        return torch.addcmul(loc, self._standard_draws(like, generator, *shape), log_scale.exp())

    def _parameters_for(
        self, method: str, batch: tuple[int, ...], context: Tensor | None
    ) -> list[Tensor]:
        """Location, log-scale and shape: ``(features,)``, or ``(*batch, features)`` by context."""
        own: list[Tensor] = [getattr(self, name) for name in self._names]
        if self.network is None:
            return own
        who = f"{type(self).__name__}.{method}"
        context = admit_context(who, "z", batch, context, self.context)
        raw = self.network(reach(context)).unflatten(-1, (len(own), -1)).to(self.loc.dtype)
        moves = [raw[..., 0, :], *(_BOUND * torch.tanh(raw[..., 1:, :] / _BOUND)).unbind(-2)]
        return [value + move for value, move in zip(own, moves, strict=True)]

    def extra_repr(self) -> str:
        """Sizes."""
        context = f", context={self.context}" if self.context else ""
        return f"features={self.event_shape[0]}{context}"
