"""The velocity of a continuous flow, with its divergence and its energies."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pushforward.networks.given import shaped_output
from pushforward.numerics.conditioning import reach, reach_slope

__all__ = ["unit_directions", "velocity"]


def velocity(
    network: nn.Module, t: Tensor, z: Tensor, context: Tensor | None, directions: Tensor
) -> tuple[Tensor, Tensor]:
    """The velocity f at (t, z), and the products of its Jacobian J with directions.

    A network with a method ``push`` gives ``J v``, any other one ``J^T v`` by autograd: for the
    trace ``v^T J v`` and for the energy ``|J v|^2``, on average over v, it is the same.

    Args:
        network: a module of ``(z, context, t)`` side by side.
        t: time of each row, ``(*batch,)``.
        z: ``(*batch, features)``.
        context: ``(*batch, context)``, compressed already, or None.
        directions: ``(k, *batch, features)``.
    """
    beside = [t[..., None]] if context is None else [context, t[..., None]]
    if hasattr(network, "push"):
        tangents = directions * reach_slope(z)
        if context is not None:
            blank = context.new_zeros(()).expand(len(directions), *context.shape)
            tangents = torch.cat((tangents, blank), -1)
        return network.push(torch.cat((reach(z), *beside), -1), tangents)  # type: ignore

    def speed(z: Tensor) -> Tensor:
        given = network(torch.cat((reach(z), *beside), -1))
        return shaped_output("Continuous", network, given, tuple(z.shape))

    value, pull, *_ = torch.func.vjp(speed, z)
    return value, torch.func.vmap(lambda v: pull(v)[0])(directions)


def unit_directions(z: Tensor) -> Tensor:
    """One direction a feature, the same for all rows: ``(features, *batch, features)``."""
    features = z.shape[-1]
    eye = torch.eye(features, dtype=z.dtype, device=z.device)
    return eye.reshape(features, *(1,) * (z.ndim - 1), features).expand(features, *z.shape)
