"""Planar flows, both ways."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.numerics.solvers.tanh_root import tanh_root, tanh_slope
from pushforward.transforms.residual.conditioned import Conditioned
from pushforward.transforms.residual.constraint import above_minus_one, shrink

__all__ = ["Planar"]

_TINY = 1e-30  # of |w|^2; below, what is bent along w is zero to all digits


class Planar(Conditioned):
    r"""Planar transform: layers of space slide along one direction.

        z = x + u tanh(w·x + b),    logdet = log(1 + w·u (1 - tanh^2(w·x + b))).

    It is increasing along w, hence invertible, as long as w·u > -1; the u that is learned is bent
    along w so that this always holds. The identity before training.

    The inverse is as exact as ``forward``: with a = w·x, one number a row solves
    ``a + w·u tanh(a + b) = w·z``, and then ``x = z - u tanh(a + b)``.

    The paper writes its formula for the way from latent to data; that is ``Inverse(Planar(...))``.
    Here it is ``forward``, so that the density of data is the cheap one.

    Args:
        features: width of x.
        context: width of the context; with one, a network moves u, w and b.
        hidden: widths of the hidden layers of that network.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``

    Raises:
        InverseError: the inverse did not converge, which finite weights do not make happen.

    Cost: forward two products of a row; inverse a few times that, and about six Newton steps for
        one number a row; both exact.

    Source: Rezende, Mohamed 2015, arXiv:1505.05770.
        Differs: the constraint is w·u > -0.999 by a smooth function that leaves u = 0 and w = 0
        what they are, not ``-1 + softplus(w·u)``; the directions are exchanged.

    Example:
        >>> t = Planar(2)
        >>> x = torch.tensor([[1e6, -3.0]])
        >>> torch.allclose(t.inverse(t(x)[0])[0], x)
        True
    """

    def __init__(self, features: int, context: int = 0, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        w, b = torch.randn(features), torch.randn(1)
        self._condition(torch.cat((torch.zeros(features), w, b)), features, context, hidden)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        u, w, b, along = self._read(x, context)
        s = (w * x).sum(-1) + b
        z = x + u * torch.tanh(s).unsqueeze(-1)
        return z, torch.log1p(along * tanh_slope(s))

    @property
    def closed(self) -> tuple[bool, bool]:
        """The inverse is searched for."""
        return True, False

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        u, w, b, along = self._read(z, context)

        one = torch.ones_like(along)
        s = tanh_root((w * z).sum(-1), along, one, b, along, who="Planar.inverse") + b
        x = z - u * torch.tanh(s).unsqueeze(-1)
        return x, -torch.log1p(along * tanh_slope(s))

    def _read(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """U bent along w, w, b, and w·u."""
        n = self.event_shape[0]
        u, w, b = torch.split(self._parameters_for(x, context), [n, n, 1], -1)
        dot = (w * u).sum(-1, keepdim=True)
        bend = (shrink(dot) - 1.0) * dot / (w * w).sum(-1, keepdim=True).clamp_min(_TINY)
        return u + bend * w, w, b.squeeze(-1), above_minus_one(dot).squeeze(-1)
