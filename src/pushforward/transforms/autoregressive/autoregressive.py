"""Autoregression: each feature moves by a rule that the features before it choose."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.kernels.layer import Plan
from pushforward.maps.base import Map, as_map
from pushforward.networks.masked_mlp import MaskedMLP
from pushforward.numerics.conditioning import reach
from pushforward.numerics.dependence import dependence, levels
from pushforward.transforms.fused import Weights, call_with, fused
from pushforward.transforms.moving import Moving, entered, left

__all__ = ["Autoregressive"]


class Autoregressive(Moving):
    r"""Autoregressive transform, ``z_i = h(x_i; network(x_before_i, context)_i)``.

    Its Jacobian is triangular: ``logdet = sum over i of log |dh/dx_i|``. What comes before a
    feature is said by an order or, where more is known of how the features hang together, by a
    directed graph without cycles.

    Args:
        features: width of x.
        map: the map h, which is copied. ``maps.Affine()`` gives MAF. The network sees angles as
            numbers: of a circular map there is one period around zero, as ``Circle`` gives it.
        order: position of each feature, a permutation of ``range(features)``; default: as given.
        hidden: widths of the hidden layers of the masked network.
        context: width of the context, 0 for none.
        activation: activation of the network.
        dropout: dropout of the network.
        adjacency: booleans ``(features, features)``, in the place of an order: the parameters of
            feature i depend on feature j where ``adjacency[i][j]``. The diagonal says nothing.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``

    Raises:
        ShapeError: ``adjacency`` is not square and boolean.
        ArgumentError: ``order`` is not a permutation, ``adjacency`` has a cycle, or both are given.

    Cost: forward one network call; inverse ``features`` calls, with an adjacency as many as the
        longest path has features. Exact in both directions.

    Source: Papamakarios, Pavlakou, Murray 2017, arXiv:1705.07057; adjacency: Wehenkel, Louppe 2021,
        arXiv:2006.02548.
        Differs: the network sees far values compressed to a logarithm.

    Example:
        >>> from pushforward import maps
        >>> t = Autoregressive(3, map=maps.Affine(), order=[2, 1, 0])
        >>> x, logdet = t.inverse(torch.zeros(5, 3))
        >>> x.shape, logdet.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    ordered = True
    periodic = False  # its network sees numbers
    places: Tensor
    known: Tensor
    allowed: Tensor

    def __init__(
        self,
        features: int,
        *,
        map: Map,
        order: Sequence[int] | None = None,
        hidden: Sequence[int] = (128, 128),
        context: int = 0,
        activation: str = "relu",
        dropout: float = 0.0,
        adjacency: Sequence[Sequence[bool]] | Tensor | None = None,
    ) -> None:
        super().__init__()
        allowed = dependence("Autoregressive", features, order, adjacency)
        self.event_shape = (features,)
        self.context = context
        self.map = as_map("Autoregressive", "map", map).bind(features)
        self.network = MaskedMLP(
            features, self.map.raw_width, order, context, hidden, activation, dropout, adjacency
        )
        places = levels(allowed)  # for an order the order itself
        self.register_buffer("places", places)
        self.register_buffer("allowed", allowed, persistent=False)
        # known[i]: the features that are known before step i of the inverse
        steps = torch.arange(int(places.max()) + 1)
        self.register_buffer("known", places[None, :] < steps[:, None])

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        found = self._fused(x, context, inverse=False)
        return self._plain(x, context, False) if found is None else found

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        # the kernel goes feature by feature, and has no gradient
        wants = torch.is_grad_enabled() and (
            z.requires_grad
            or any(p.requires_grad for p in self.network.parameters())
            or (context is not None and context.requires_grad)
        )
        found = None if wants else self._fused(z, context, inverse=True)
        return self._plain(z, context, True) if found is None else found

    def _fused(
        self, x: Tensor, context: Tensor | None, inverse: bool
    ) -> tuple[Tensor, Tensor] | None:
        return fused(self, x, context, inverse=inverse) if type(self) is Autoregressive else None

    def _plain(
        self, x: Tensor, context: Tensor | None, inverse: bool, weights: Weights | None = None
    ) -> tuple[Tensor, Tensor]:
        x, outside = entered(self.map, x, self.periodic)
        if inverse:
            z, log_derivative = self._feature_by_feature(x, context)
        else:
            z, log_derivative = self.map(x, self._raw(x, context, weights))
        return z, left(log_derivative.sum(-1), outside)

    def _feature_by_feature(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x, log_derivative = z, z
        for known in self.known:
            # Features not known yet are set to zero: their guesses could overflow, and a masked
            # weight times infinity is nan.
            x = torch.where(known, x, torch.zeros_like(x))
            x, log_derivative = self.map.inverse(z, self._raw(x, context))
        return x, log_derivative

    def _raw(self, x: Tensor, context: Tensor | None, weights: Weights | None = None) -> Tensor:
        seen = None if context is None else reach(context)
        return call_with(self.network, weights, reach(x), seen).to(x.dtype)  # type: ignore[no-any-return]

    def _plan_depends_on(self) -> tuple[Tensor, ...]:
        return self.places, *self.network.buffers()

    def _plan(self) -> Plan | None:
        assert self.map.formula is not None
        sequence = self.places.argsort()
        stairs = self.network.staircases(sequence)
        if stairs is None:
            return None
        return Plan(
            self.map.formula,
            len(sequence),
            seen=sequence,
            moved=sequence,
            kept=sequence[:0],
            context=self.context,
            context_first=True,
            box_by_feature=True,
            activation=self.network.activation,
            widths=self.network.widths,
            stairs=stairs,
        )

    @property
    def closed(self) -> tuple[bool, bool]:
        """The inverse calls the network for one feature after the other."""
        return True, False

    def influence(self) -> Tensor:
        """Each feature itself, and those that its parameters depend on."""
        return self.allowed.cpu() | torch.eye(self.event_shape[0], dtype=torch.bool)
