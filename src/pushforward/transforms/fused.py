"""Layers whose network and map run in one kernel, where that computes just what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.func import functional_call

from pushforward.kernels.dispatch import readable
from pushforward.kernels.elementwise import fitting, refuse_others
from pushforward.kernels.formula import Formula
from pushforward.kernels.layer import LayerCall, run_layers
from pushforward.kernels.plan import NetworkPlan, chained_widths
from pushforward.maps.base import Map
from pushforward.networks.mlp import altered

__all__ = ["FusedLayer", "Prepared", "Weights", "call_with", "fused", "own", "prepared"]

Weights = Sequence[Tensor]


class FusedLayer(Protocol):
    """What a layer offers that may run in one kernel."""

    map: Map

    @property
    def network(self) -> nn.Module:
        """Gives the parameters of the map."""

    event_shape: tuple[int, ...]

    def _plan(self, widths: Sequence[int]) -> NetworkPlan | None:
        """The layer as the kernels know it, with a network of these widths; None if they do not."""

    def _plan_depends_on(self) -> tuple[Tensor, ...]:
        """Tensors that a plan was read off."""

    def _plain(
        self, x: Tensor, context: Tensor | None, inverse: bool, weights: Weights | None
    ) -> tuple[Tensor, Tensor]:
        """The layer in plain PyTorch, with its own weights or others."""


class Prepared(NamedTuple):
    """A layer that a kernel can compute, and the weights of its network."""

    call: LayerCall
    weights: Sequence[Tensor]


_PLANS: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()


def prepared(
    layer: FusedLayer,
    x: Tensor,
    context: Tensor | None,
    *,
    inverse: bool,
    retraced: bool = False,
) -> Prepared | None:
    """A layer as a kernel may compute it, or None where it must be computed in parts.

    Whether kernels may be used at all, ``dispatch.eager`` says.

    Args:
        layer: a coupling or an autoregression, whose network is a perceptron without hooks.
        x: ``(*batch, features)``.
        context: ``(*batch, context)`` or None.
        inverse: which direction.
        retraced: whether it is to be taken back from its end.
    """
    map, network = layer.map, layer.network
    formula = map.formula
    if formula is None or not formula.fits or map.outside != "line" or altered(map):
        return None
    if not formula.closed and (inverse or retraced):
        return None
    list_tensors = getattr(network, "linear_tensors", None)
    weights = None if list_tensors is None else list_tensors()
    if weights is None or x.numel() == 0:
        return None
    low, high = map.constants
    read = [x, *weights]
    read += [tensor for tensor in (context, low, high) if tensor is not None]
    plan = _plan_of(layer, formula, weights) if readable(read) else None
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

    return Prepared(LayerCall(plan, plain, low, high, inverse), weights)


def own(layer: Any, method: str, methods: Mapping[str, Any]) -> bool:
    """Whether a method of a layer is that of its class, and nobody has put another in its place."""
    return getattr(getattr(layer, method), "__func__", None) is methods[method]


def fused(
    layer: Prepared | None, x: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    """What a kernel gives for a layer, if it can compute it."""
    return None if layer is None else run_layers([layer.call], x, context, layer.weights)


def call_with(network: nn.Module, weights: Weights | None, *inputs: Any) -> Any:
    """What a network gives, with its own weights or with others, in the order of its parameters."""
    if weights is None:
        return network(*inputs)
    named = (name for name, _ in network.named_parameters())
    return functional_call(network, dict(zip(named, weights, strict=True)), inputs)


def _plan_of(layer: FusedLayer, formula: Formula, weights: Weights) -> NetworkPlan | None:
    """The plan of a layer, made again where what it was read off is not the same any more."""
    read = layer._plan_depends_on()
    network: Any = layer.network
    # tensors made in inference mode do not count their changes: nobody may change them
    changes = [-1 if tensor.is_inference() else tensor._version for tensor in read]
    shapes = [tensor.shape for tensor in weights]
    facts = (formula, network.activation, network.residual, shapes, changes)
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
    plan: NetworkPlan | None
