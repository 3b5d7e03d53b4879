"""How much a continuous flow moves the data, and how unevenly: what a penalty makes small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Energies", "measured", "measuring"]


class Energies(NamedTuple):
    """Two integrals along the path of each row from data to latent, or back.

    Attributes:
        kinetic: of ``|dz/dt|^2``, ``(*batch,)``. No path is shorter than the straight one, whose
            energy is the squared distance between its ends.
        jacobian: of ``|df/dz|^2``, the sum of the squares of all entries, ``(*batch,)``; with an
            estimated trace an unbiased estimate.
    """

    kinetic: Tensor
    jacobian: Tensor


_MEASURED: ContextVar[list[Energies] | None] = ContextVar("pushforward_energies", default=None)


@contextmanager
def measuring() -> Iterator[list[Energies]]:
    """Collect the energies of every continuous transform that runs within a ``with`` block.

    They are integrated together with z and logdet, at no further call of the network. The steps
    are those that z and logdet ask for, so neither changes. A compiled flow is not measured.
    """
    found: list[Energies] = []
    token = _MEASURED.set(found)
    try:
        yield found
    finally:
        _MEASURED.reset(token)


def measured() -> list[Energies] | None:
    """Where energies go at present; None if nobody asks for them."""
    if torch.compiler.is_compiling():  # which cannot follow a context variable
        return None
    return _MEASURED.get()
