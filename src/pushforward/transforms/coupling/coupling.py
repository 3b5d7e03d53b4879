"""Coupling: some features stay and choose how the others move."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError
from pushforward.maps.base import Map
from pushforward.networks.mlp import MLP
from pushforward.numerics.conditioning import reach
from pushforward.transforms.base import Transform

__all__ = ["Coupling"]


class Coupling(Transform):
    r"""Coupling transform.

    With k the kept features and m the moved ones,

        z_k = x_k,    z_m = h(x_m; network(x_k, context)),
        logdet = sum over m of log |dh/dx_m|.

    Args:
        features: width of x.
        map: the map h, which is copied. ``maps.Affine()`` gives RealNVP, ``maps.Additive()`` NICE.
        keep: for each feature, True if it stays as it is and feeds the network; by default the
            first half stays.
        hidden: widths of the hidden layers of the default network.
        network: a function of (inputs, outputs) giving another network.
        context: width of the context, 0 for none.
        activation: activation of the default network.
        dropout: dropout of the default network.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``

    Raises:
        ArgumentError: ``keep`` has the wrong length or keeps everything.

    Cost: one network call in either direction; exact.

    Source: Dinh, Krueger, Bengio 2014, arXiv:1410.8516; Dinh, Sohl-Dickstein, Bengio 2016,
        arXiv:1605.08803.
        Differs: the network sees far values compressed to a logarithm, so that a row far away
        cannot overflow.

    Example:
        >>> from pushforward import maps
        >>> t = Coupling(3, map=maps.Affine(), keep=[True, True, False])
        >>> z, logdet = t(torch.zeros(5, 3))
        >>> z.shape, logdet.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    kept: Tensor
    moved: Tensor
    order: Tensor

    def __init__(
        self,
        features: int,
        *,
        map: Map,
        keep: Sequence[bool] | None = None,
        hidden: Sequence[int] = (128, 128),
        network: Callable[[int, int], nn.Module] | None = None,
        context: int = 0,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        flags = [i < features // 2 for i in range(features)] if keep is None else _flags(keep)
        if len(flags) != features or all(flags):
            raise ArgumentError(
                f"Coupling: keep is {flags}, expected {features} booleans, at least one of them "
                f"False."
            )
        self.event_shape = (features,)
        self.context = context
        kept = [i for i, flag in enumerate(flags) if flag]
        moved = [i for i, flag in enumerate(flags) if not flag]
        self.register_buffer("kept", torch.tensor(kept, dtype=torch.long))
        self.register_buffer("moved", torch.tensor(moved, dtype=torch.long))
        # where each feature stands in (kept, moved)
        self.register_buffer("order", torch.tensor(kept + moved, dtype=torch.long).argsort())
        self.map = map.bind(len(moved))
        inputs, outputs = len(kept) + context, len(moved) * self.map.raw_width
        self.network = (
            MLP(inputs, outputs, hidden, activation, dropout)
            if network is None
            else network(inputs, outputs)
        )

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._move(x, context, self.map.forward)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._move(z, context, self.map.inverse)

    def _move(
        self,
        x: Tensor,
        context: Tensor | None,
        apply: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        kept, moved = x.index_select(-1, self.kept), x.index_select(-1, self.moved)
        raw = self.network(reach(kept if context is None else torch.cat((kept, context), -1)))
        raw = raw.unflatten(-1, (len(self.moved), self.map.raw_width)).to(x.dtype)
        moved, log_derivative = apply(moved, raw)
        z = torch.cat((kept, moved), -1).index_select(-1, self.order)
        return z, log_derivative.sum(-1)

    def influence(self) -> Tensor:
        """Each feature itself, and what is kept all that is moved."""
        seen = torch.eye(self.event_shape[0], dtype=torch.bool)
        seen[self.moved.cpu()[:, None], self.kept.cpu()] = True
        return seen

    def fit(self, x: Tensor, context: Tensor | None = None) -> Coupling:
        """Let the map read its constants off the moved features."""
        self.map.fit(x.index_select(-1, self.moved))
        return self

    def extra_repr(self) -> str:
        """What stays."""
        return f"features={self.event_shape[0]}, kept={self.kept.tolist()}"


def _flags(keep: Sequence[bool] | Tensor) -> list[bool]:
    values = keep.tolist() if isinstance(keep, Tensor) else list(keep)
    if any(not isinstance(value, bool) for value in values):
        raise ArgumentError(f"Coupling: keep is {values}, expected booleans (True = stays).")
    return values
