"""Layers whose network and map run in one kernel, where that computes just what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.func import functional_call

from pushforward.kernels.dispatch import fused_way
from pushforward.kernels.layer import Plan, run_layer
from pushforward.maps.base import Map

__all__ = ["FusedLayer", "Weights", "call_with", "fused"]

Weights = Sequence[Tensor]


class FusedLayer(Protocol):
    """What a layer offers that may run in one kernel."""

    map: Map

    @property
    def network(self) -> nn.Module:
        """Gives the parameters of the map."""

    def _plan(self) -> Plan | None:
        """The layer as the kernels know it; None where they do not."""

    def _plan_depends_on(self) -> tuple[Tensor, ...]:
        """Tensors that a plan was read off."""

    def _plain(
        self, x: Tensor, context: Tensor | None, inverse: bool, weights: Weights | None
    ) -> tuple[Tensor, Tensor]:
        """The layer in plain PyTorch, with its own weights or others."""


_PLANS: WeakKeyDictionary[Any, tuple[tuple[int, ...], Plan | None]] = WeakKeyDictionary()


def fused(
    layer: FusedLayer,
    x: Tensor,
    context: Tensor | None,
    *,
    inverse: bool,
    run: Callable[..., tuple[Tensor, ...]] = run_layer,
) -> Any:
    """What a kernel gives for a whole layer, or None where it must be computed in parts.

    Args:
        layer: a coupling or an autoregression, whose network is a perceptron without hooks.
        x: ``(*batch, features)``.
        context: ``(*batch, context)`` or None.
        inverse: which direction.
        run: ``run_layer`` for z and logdet, ``retrace_layer`` for where it began, besides.
    """
    map, network = layer.map, layer.network
    formula = map.formula
    if formula is None or not formula.fits or map.outside != "line":
        return None
    if not formula.closed and (inverse or run is not run_layer):
        return None
    list_tensors = getattr(network, "linear_tensors", None)
    weights = None if list_tensors is None else list_tensors()
    if weights is None or x.numel() == 0:
        return None
    low, high = map.constants
    read = [x, *weights]
    read += [tensor for tensor in (context, low, high) if tensor is not None]
    plan = _plan_of(layer) if fused_way(*read) else None
    if plan is None:
        return None

    def plain(x: Tensor, context: Tensor | None, weights: Weights) -> tuple[Tensor, Tensor]:
        return layer._plain(x, context, inverse, weights)

    return run(plan, plain, x, context, weights, low, high, inverse=inverse)


def call_with(network: nn.Module, weights: Weights | None, *inputs: Any) -> Any:
    """What a network gives, with its own weights or with others, in the order of its parameters."""
    if weights is None:
        return network(*inputs)
    named = (name for name, _ in network.named_parameters())
    return functional_call(network, dict(zip(named, weights, strict=True)), inputs)


def _plan_of(layer: FusedLayer) -> Plan | None:
    """The plan of a layer, made again where what it was read off has changed."""
    key = tuple(n for t in layer._plan_depends_on() for n in (t.data_ptr(), t._version))
    known = _PLANS.get(layer)
    if known is None or known[0] != key:
        known = _PLANS[layer] = (key, layer._plan())
    return known[1]
