"""Parameters that are trained directly, and moved by a context where there is one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from pushforward.networks.mlp import MLP
from pushforward.numerics.conditioning import reach
from pushforward.transforms.base import Transform

__all__ = ["Conditioned"]


class Conditioned(Transform):
    """A transform of vectors with one vector of parameters, ``raw``.

    A network of the context adds to it. Both are needed: a network is zero before training, and
    from parameters that are all zero some of these transforms cannot learn.
    """

    def _condition(self, raw: Tensor, features: int, context: int, hidden: Sequence[int]) -> None:
        self.event_shape = (features,)
        self.context = context
        self.raw = nn.Parameter(raw)
        self.network = MLP(context, len(raw), hidden) if context else None

    def _parameters_for(self, x: Tensor, context: Tensor | None) -> Tensor:
        """``(count,)``, or ``(*batch, count)`` where there is a context."""
        if self.network is None:
            return self.raw.to(x.dtype)
        assert context is not None
        moved: Tensor = self.network(reach(context)).to(x.dtype)
        return self.raw.to(x.dtype) + moved
