"""Networks that others wrote: made of a function that is given, and held to the promised shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pushforward.errors import InputTypeError, ShapeError

__all__ = ["made_network", "shaped_output"]


def made_network(
    who: str, make: Callable[[int, int], nn.Module], inputs: int, outputs: int
) -> nn.Module:
    """What an argument ``network`` makes of two widths.

    Args:
        who: who asks, for messages.
        make: the argument, a function of (inputs, outputs).
        inputs: what the network reads.
        outputs: what it gives.

    Raises:
        InputTypeError: the argument is no such function, or gives no network.
    """
    if isinstance(make, nn.Module) or not callable(make):
        kind = type(make).__name__
        raise InputTypeError(
            f"{who}: network is a {kind}, expected a function of (inputs, outputs) that gives a "
            f"network; write networks.MLP, or lambda inputs, outputs: …"
        )
    made: Any = make(inputs, outputs)
    if not callable(made):
        raise InputTypeError(
            f"{who}: network({inputs}, {outputs}) gives a {type(made).__name__}, expected a module."
        )
    return made  # type: ignore[no-any-return]


def shaped_output(who: str, network: nn.Module, given: Any, want: tuple[int, ...]) -> Tensor:
    """What a network gave, if it is a tensor of the shape that was asked for.

    Raises:
        InputTypeError: it is no tensor.
        ShapeError: it has another shape.
    """
    name = type(network).__name__
    if not isinstance(given, Tensor):
        raise InputTypeError(
            f"{who}: the network, {name}, gives a {type(given).__name__}, expected a tensor."
        )
    if tuple(given.shape) != want:
        raise ShapeError(
            f"{who}: the network, {name}, gives shape {tuple(given.shape)}, expected {want}; "
            f"build it for the (inputs, outputs) that network= is called with."
        )
    return given
