"""A flow in the clothes of a ``torch.distributions.Distribution``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

__all__ = ["FlowDistribution"]


class FlowDistribution(Distribution):
    """The density of a flow given a context, for Pyro, sbi and torch's own machinery.

    Args:
        flow: the flow.
        context: ``(*context_batch, context)``, or None; its batch is the ``batch_shape``.

    Example:
        >>> import pushforward as pf
        >>> pf.flows.realnvp(2).distribution().sample((5,)).shape
        torch.Size([5, 2])
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 - torch reads it from the class
    has_rsample = True

    def __init__(self, flow: Any, context: Any = None) -> None:
        self.flow = flow
        self.context = None if context is None else torch.as_tensor(context)
        batch = torch.Size(()) if self.context is None else self.context.shape[:-1]
        super().__init__(batch, torch.Size(flow.event_shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """All of space, as far as the flow knows."""
        return constraints.independent(constraints.real, len(self.event_shape))  # type: ignore[no-untyped-call]

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats; value and ``batch_shape`` broadcast, as everywhere in torch."""
        event = self.event_shape
        ahead = value.shape[: value.ndim - len(event)]
        batch = torch.broadcast_shapes(ahead, self.batch_shape)  # type: ignore[no-untyped-call]
        value = value.expand(*batch, *event)
        return self.flow.log_prob(value, self.context)  # type: ignore[no-any-return]

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws without gradients."""
        return self.flow.sample(self._ahead(sample_shape), self.context)  # type: ignore[no-any-return]

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draws with gradients."""
        return self.flow.rsample(self._ahead(sample_shape), self.context)  # type: ignore[no-any-return]

    def _ahead(self, sample_shape: Any) -> tuple[int, ...]:
        """What the flow is asked for: a context brings the batch with it."""
        own = () if self.context is not None else self.batch_shape
        return (*sample_shape, *own)

    def expand(self, batch_shape: Any, _instance: Any = None) -> FlowDistribution:
        """The same density for a larger batch."""
        if self.context is None:
            made = FlowDistribution(self.flow)
            made._batch_shape = torch.Size(batch_shape)
            return made
        return FlowDistribution(self.flow, self.context.expand(*batch_shape, -1))
