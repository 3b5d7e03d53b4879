"""Autoregression: each feature moves by a rule that the features before it choose."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

from pushforward.errors import InverseError, ShapeError
from pushforward.kernels.dispatch import eager
from pushforward.kernels.originals import Methods
from pushforward.kernels.plan import NetworkPlan
from pushforward.maps.base import Map, as_map
from pushforward.networks.masked_mlp import MaskedMLP
from pushforward.networks.stepwise import Stepwise
from pushforward.numerics.conditioning import reach
from pushforward.numerics.dependence import dependence
from pushforward.numerics.solvers.triangular import may_sweep, swept
from pushforward.transforms.fused import Prepared, Weights, call_with, fused, prepared
from pushforward.transforms.moving import Moving, entered, left

__all__ = ["Autoregressive"]

# Guessing all features at once is tried for this many numbers of z at most, if there are at least
# so many steps. One sweep then costs about what one step does, and a dozen of them are enough.
_STEPS = 24
_FEW = {"cpu": 2**12}  # measured
_FEW_ELSEWHERE = 2**16  # by reckoning with the cost of a launch


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
        dropout: dropout of the network. In training each call drops other units; the inverse is
            that of one thinned network, whose units are dropped once.
        adjacency: booleans ``(features, features)``, in the place of an order: the parameters of
            feature i depend on feature j where ``adjacency[i][j]``. The diagonal says nothing.
        residual: whether each hidden layer of the network after the first adds to the one before
            it; ``hidden`` then holds equal widths.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``

    Raises:
        ShapeError: ``adjacency`` is not square and boolean.
        ShapeError: in ``inverse``, a map with constants for each feature has no ``part``.
        ArgumentError: ``order`` is not a permutation, ``adjacency`` has a cycle, or both are given.

    Cost: forward one network call. The inverse takes ``features`` steps, with an adjacency as many
        as the longest path has features; each computes the hidden units that have become known,
        and the map for the features of the step, so that all together they multiply no more than
        one call. They are many small operations. Of few
        rows (at most 4 096 numbers on a CPU, and at least 24 steps) all features are guessed at
        once, up to half as often as there are steps, until nothing changes any more: the same
        numbers to rounding, for one row of 43 features 4 to 10 times sooner. Where a gradient is
        wanted it goes step by step. Exact in both directions.

    Source: Papamakarios, Pavlakou, Murray 2017, arXiv:1705.07057; adjacency: Wehenkel, Louppe 2021,
        arXiv:2006.02548; residual: Durkan, Nash 2019, arXiv:1904.05626; guessing all at once: Song
        et al. 2021, arXiv:2002.03629.
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
        residual: bool = False,
    ) -> None:
        super().__init__()
        allowed = dependence("Autoregressive", features, order, adjacency)
        self.event_shape = (features,)
        self.context = context
        self.map = as_map("Autoregressive", "map", map).bind(features)
        self.network = MaskedMLP(
            features,
            self.map.raw_width,
            order,
            context,
            hidden,
            activation,
            dropout,
            adjacency,
            residual,
        )
        self.register_buffer("allowed", allowed, persistent=False)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        found = fused(self._prepared(x, context, inverse=False), x, context) if eager() else None
        return self._plain(x, context, False) if found is None else found

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        # the kernel goes feature by feature, and has no gradient
        wants = torch.is_grad_enabled() and (
            z.requires_grad
            or any(p.requires_grad for p in self.network.parameters())
            or (context is not None and context.requires_grad)
        )
        found = None
        if not wants and eager():
            found = fused(self._prepared(z, context, inverse=True), z, context)
        return self._plain(z, context, True) if found is None else found

    def _prepared(self, x: Tensor, context: Tensor | None, inverse: bool) -> Prepared | None:
        if not _METHODS.are_those_of(self):
            return None
        return prepared(self, x, context, inverse=inverse)

    def _in_a_row(
        self, method: str, x: Tensor, context: Tensor | None, retraced: bool = False
    ) -> Prepared | None:
        inverse = method == "_inverse"
        if retraced or (inverse and torch.is_grad_enabled()):
            return None
        return self._prepared(x, context, inverse)

    def _plain(
        self, x: Tensor, context: Tensor | None, inverse: bool, weights: Weights | None = None
    ) -> tuple[Tensor, Tensor]:
        x, outside = entered(self.map, x, self.periodic)
        if inverse:
            z, logdet = self._inverted(x, context)
        else:
            z, log_derivative = self.map(x, self._raw(x, context, weights))
            logdet = log_derivative.sum(-1)
        return z, left(logdet, outside)

    def _inverted(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        rows = z.reshape(z.shape[:-1].numel(), z.shape[-1])
        if context is not None:
            context = reach(context).reshape(len(rows), self.context)
        x, log_derivative = self._all_at_once(rows, context) or self._step_by_step(rows, context)
        return x.reshape(z.shape), log_derivative.sum(-1).reshape(z.shape[:-1])

    def _all_at_once(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """Few rows, by guessing all features at once, again and again; None if that is no use."""
        few = z.numel() <= _FEW.get(z.device.type, _FEW_ELSEWHERE)
        steps = len(self.network.sizes)
        thinned = self.network.training and self.network.dropout > 0.0  # each time another network
        if not few or steps < _STEPS or thinned or not may_sweep(z):
            return None

        def sweep(x: Tensor) -> tuple[Tensor, Tensor]:
            return self.map.inverse(z, self.network(reach(x), context).to(z.dtype))

        with suppress(InverseError):  # a guess may lead where a numeric map has no inverse
            return swept(sweep, z, steps // 2)
        return None

    def _step_by_step(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Each feature as soon as those are known that its parameters depend on."""
        steps = Stepwise(self.network, z, context)
        sequence, sizes = self.network.sequence, self.network.sizes
        map = self.map.part(sequence)
        found: list[tuple[Tensor, Tensor]] = []
        first = 0
        for goal in torch.split(z.index_select(-1, sequence), sizes, -1):
            raw = steps.outputs(reach(found[-1][0]) if found else None).to(z.dtype)
            some = map.part(slice(first, first + goal.shape[-1]))
            found.append(_of_some(some, some.inverse(goal, raw), goal))
            first += goal.shape[-1]
        x, log_derivative = (torch.cat(parts, -1) for parts in zip(*found, strict=True))
        return x.index_select(-1, sequence.argsort()), log_derivative

    def _raw(self, x: Tensor, context: Tensor | None, weights: Weights | None = None) -> Tensor:
        seen = None if context is None else reach(context)
        return call_with(self.network, weights, reach(x), seen).to(x.dtype)  # type: ignore[no-any-return]

    def _plan_depends_on(self) -> tuple[Tensor, ...]:
        return tuple(b for b in self.network._buffers.values() if b is not None)

    def _plan(self, widths: Sequence[int]) -> NetworkPlan | None:
        assert self.map.formula is not None
        stairs = self.network.staircases()
        if stairs is None or any(
            stair.limit.shape != (width,) for stair, width in zip(stairs, widths[1:], strict=True)
        ):
            return None
        sequence = self.network.sequence
        return NetworkPlan(
            self.map.formula,
            len(sequence),
            seen=sequence,
            moved=sequence,
            kept=sequence[:0],
            context=self.context,
            context_first=True,
            box_by_feature=True,
            activation=self.network.activation,
            residual=self.network.residual,
            widths=widths,
            stairs=stairs,
        )

    @property
    def closed(self) -> tuple[bool, bool]:
        """The inverse calls the network for one feature after the other."""
        return True, False

    def influence(self) -> Tensor:
        """Each feature itself, and those that its parameters depend on."""
        return self.allowed.cpu() | torch.eye(self.event_shape[0], dtype=torch.bool)


_METHODS = Methods(Autoregressive, "_forward", "_inverse", "_plain", "_raw", "_inverted")


def _of_some(map: Map, found: tuple[Tensor, Tensor], goal: Tensor) -> tuple[Tensor, Tensor]:
    """What a map gave, if it is of the features that it was asked for."""
    if found[0].shape != goal.shape:
        raise ShapeError(
            f"Autoregressive.inverse: {type(map).__name__}.inverse gives shape "
            f"{tuple(found[0].shape)} for some of the features, expected {tuple(goal.shape)}; a "
            f"map with constants for each feature must say in part(index) which go along."
        )
    return found
