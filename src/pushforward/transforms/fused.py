"""Layers that run in a kernel as wholes, where that computes just what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pushforward.kernels.chain import LayerCall
from pushforward.kernels.dispatch import readable
from pushforward.kernels.elementwise import fitting
from pushforward.kernels.formula import Formula
from pushforward.kernels.keeping import refuse_others
from pushforward.kernels.layer import run_layers
from pushforward.kernels.originals import Methods, altered
from pushforward.kernels.plan import NetworkPlan, chained_widths
from pushforward.maps.additive import Additive
from pushforward.maps.affine import Affine
from pushforward.maps.base import Map
from pushforward.maps.sigmoidal.logistic_mixture import LogisticMixture
from pushforward.maps.splines.rational_quadratic import RationalQuadratic

__all__ = [
    "FusedLayer",
    "Prepared",
    "Taken",
    "Weights",
    "call_with",
    "fused",
    "prepared",
]

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
    """A layer that a kernel can compute, and its parameters."""

    call: LayerCall
    weights: Sequence[Tensor]


class Taken(Protocol):
    """A step among others."""

    def take(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Apply it: what it gives, and its logdet."""

    def in_a_row(self, x: Tensor, context: Tensor | None) -> Prepared | None:
        """What a kernel needs to apply it among others, if it can."""


_MAPS: dict[type, Methods] = {
    kind: Methods(kind, "forward", "inverse")
    for kind in (Additive, Affine, LogisticMixture, RationalQuadratic)
}
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
    if formula is None or not formula.fits or map.outside != "line":
        return None
    methods = _MAPS.get(type(map))  # none of a map that was given a formula from outside
    if methods is None or altered(map) or not methods.are_those_of(map):
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
    if plan is None or x.shape[-1] != plan.features:
        return None
    if (0 if context is None else context.shape[-1]) != plan.context:
        return None
    if low is not None and not (low.ndim and fitting(formula, plan.boxes, low, high)):
        return None
    event = layer.event_shape
    facts = (map, network, network.activation, network.residual)

    def plain(x: Tensor, context: Tensor | None, weights: Weights) -> tuple[Tensor, Tensor]:
        refuse_others(map, low, high)
        now: Any = layer.network
        if (layer.map, now, now.activation, now.residual) != facts:
            raise RuntimeError(
                f"{type(layer).__name__}: its map or its network was replaced between forward and "
                f"backward; write `with pushforward.kernels.disabled():` around both."
            )
        shaped = x.reshape(*x.shape[:-1], *event)
        z, logdet = layer._plain(shaped, context, inverse, weights)
        return z.flatten(-len(event)), logdet

    return Prepared(LayerCall(plan, plain, low, high, inverse), weights)


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
    facts = (formula, network.activation, network.residual, [weight.shape for weight in weights])
    known = _PLANS.get(layer)
    if known is not None and known.facts == facts and known.holds(read):
        return known.plan
    widths = chained_widths(weights)
    plan = None if widths is None else layer._plan(widths)
    if plan is not None and not plan.consistent:
        plan = None
    _PLANS[layer] = _Known(facts, plan, [_Read(tensor) for tensor in read])
    return plan


class _Read:
    """A tensor that a plan was read off, as it was."""

    def __init__(self, tensor: Tensor) -> None:
        # the tensor itself, since addresses are used again
        self.tensor = tensor
        # what was made in inference mode does not count its changes
        self.copy = tensor.clone() if tensor.is_inference() else None
        self.changes = None if tensor.is_inference() else tensor._version

    def same(self, tensor: Tensor) -> bool:
        """Whether a tensor is this one, unchanged."""
        if tensor is not self.tensor:
            return False
        if self.copy is not None:
            return torch.equal(tensor, self.copy)
        return tensor._version == self.changes


class _Known(NamedTuple):
    """A plan, and what it was read off."""

    facts: tuple[Any, ...]
    plan: NetworkPlan | None
    read: list[_Read]

    def holds(self, read: Sequence[Tensor]) -> bool:
        """Whether it would be read off the same again."""
        return len(read) == len(self.read) and all(
            old.same(tensor) for old, tensor in zip(self.read, read, strict=True)
        )
