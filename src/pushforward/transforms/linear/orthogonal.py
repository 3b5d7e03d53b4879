"""A rotation."""

from __future__ import annotations

from torch import Tensor

from pushforward.transforms.linear.matrix import Linear, apply_matrix, whole
from pushforward.transforms.linear.rotations import ROTATIONS, raw_shape

__all__ = ["Orthogonal"]


class Orthogonal(Linear):
    """Rotation ``z = Q x``; volume is kept.

    With A antisymmetric and v any vectors, Q is

        exponential    exp(A)
        cayley         (I - A) (I + A)^-1
        householder    the product of reflections I - 2 v v^T / |v|^2

    The identity before training; every rotation can be reached, by ``cayley`` all but those that
    turn something by half a circle. Reflections start in pairs of equals, which undo each
    other and which training parts; an odd number of them is completed by one that stays fixed, so
    that Q is never a reflection.

    Args:
        features: width of x.
        method: ``exponential``, ``cayley`` or ``householder``.
        reflections: number of reflections, for ``householder``; by default ``features``, which
            reach every rotation; fewer are cheaper to build.
        context: width of the context; with one, a network gives each row its own rotation.
        hidden: widths of the hidden layers of that network.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``, zero

    Raises:
        ArgumentError: ``features`` or ``reflections`` is below 1, ``method`` is unknown, or
            ``reflections`` is given for a method that has none.

    Cost: ``features``^2 a row in either direction, and a call (a row with a context) a matrix
        exponential, a solve of ``features``^3, or ``reflections`` times ``features``^2; exact.

    Source: Golinski, Lezcano-Casado, Rainforth 2019 (ICML workshop INNF), "Improving normalizing
        flows via better orthogonal parameterizations"; Householder: Tomczak, Welling 2016,
        arXiv:1611.09630.
        Differs: one Newton step leaves Q orthogonal to rounding even where A is large.

    Example:
        >>> import torch
        >>> turn = Orthogonal(2)
        >>> _ = turn.generator.data.copy_(torch.tensor([[0.0, 0.0], [torch.pi / 2, 0.0]]))
        >>> turn(torch.tensor([1.0, 0.0]))[0].detach().round(decimals=4).abs()
        tensor([0., 1.])
    """

    def __init__(
        self,
        features: int,
        method: str = "exponential",
        reflections: int | None = None,
        context: int = 0,
        hidden: tuple[int, ...] = (128, 128),
    ) -> None:
        super().__init__()
        n = whole("Orthogonal", "features", features)
        self.method = method
        self._name = "vectors" if method == "householder" else "generator"
        shape = raw_shape("Orthogonal", n, method, reflections)
        self._declare(n, context, hidden, **{self._name: shape})

    def _matrix(self, x: Tensor, context: Tensor | None) -> Tensor:
        return ROTATIONS[self.method](self._raw(x, context)[self._name])

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return apply_matrix(x, self._matrix(x, context)), x.new_zeros(x.shape[:-1])

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return apply_matrix(z, self._matrix(z, context).mT), z.new_zeros(z.shape[:-1])
