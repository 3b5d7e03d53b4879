"""Layers whose network and map run in one kernel, where that computes just what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.func import functional_call

from pushforward.kernels.dispatch import fused_way
from pushforward.kernels.elementwise import fitting, refuse_others
from pushforward.kernels.formula import Formula
from pushforward.kernels.layer import Plan, chained_widths, run_layer
from pushforward.maps.base import Map
from pushforward.networks.mlp import altered

__all__ = ["FusedLayer", "Weights", "call_with", "fused"]

Weights = Sequence[Tensor]


class FusedLayer(Protocol):
    """What a layer offers that may run in one kernel."""

    map: Map

    @property
    def network(self) -> nn.Module:
        """Gives the parameters of the map."""

    event_shape: tuple[int, ...]

    def _plan(self, widths: Sequence[int]) -> Plan | None:
        """The layer as the kernels know it, with a network of these widths; None if they do not."""

    def _plan_depends_on(self) -> tuple[Tensor, ...]:
        """Tensors that a plan was read off."""

    def _plain(
        self, x: Tensor, context: Tensor | None, inverse: bool, weights: Weights | None
    ) -> tuple[Tensor, Tensor]:
        """The layer in plain PyTorch, with its own weights or others."""


_PLANS: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()


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
    if formula is None or not formula.fits or map.outside != "line" or altered(map):
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
    plan = _plan_of(layer, formula, weights) if fused_way(*read) else None
    if plan is None or (
        low is not None and not (low.ndim and fitting(formula, plan.boxes, low, high))
    ):
        return None
    event = layer.event_shape

    def plain(x: Tensor, context: Tensor | None, weights: Weights) -> tuple[Tensor, Tensor]:
        refuse_others(map, low, high)
        shaped = x.reshape(*x.shape[:-1], *event)
        z, logdet = layer._plain(shaped, context, inverse, weights)
        return z.flatten(-len(event)), logdet

    return run(plan, plain, x, context, weights, low, high, inverse=inverse)


def call_with(network: nn.Module, weights: Weights | None, *inputs: Any) -> Any:
    """What a network gives, with its own weights or with others, in the order of its parameters."""
    if weights is None:
        return network(*inputs)
    named = (name for name, _ in network.named_parameters())
    return functional_call(network, dict(zip(named, weights, strict=True)), inputs)


def _plan_of(layer: FusedLayer, formula: Formula, weights: Weights) -> Plan | None:
    """The plan of a layer, made again where what it was read off is not the same any more."""
    read = layer._plan_depends_on()
    network: Any = layer.network
    facts = (
        formula,
        network.activation,
        network.residual,
        tuple(weight.shape for weight in weights),
        # tensors made in inference mode do not count their changes: nobody may change them
        tuple(0 if tensor.is_inference() else tensor._version for tensor in read),
    )
    known = _PLANS.get(layer)
    if known is not None and known.facts == facts and all(map(is_, known.read, read)):
        return known.plan
    widths = chained_widths(weights)
    plan = None if widths is None else layer._plan(widths)
    if plan is not None and not plan.consistent:
        plan = None
    _PLANS[layer] = _Known(read, facts, plan)
    return plan


class _Known(NamedTuple):
    """A plan, and what it was read off: the tensors themselves, since addresses are used again."""

    read: tuple[Tensor, ...]
    facts: tuple[Any, ...]
    plan: Plan | None
