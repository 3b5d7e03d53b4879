"""Residual flows: a contraction added to the identity."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.errors import ArgumentError
from pushforward.networks.lipschitz_mlp import Linearization, LipschitzMLP
from pushforward.numerics.conditioning import reach
from pushforward.numerics.log_det import (
    log_det_one_plus,
    rademacher,
    roulette_series,
)
from pushforward.numerics.precision import full_precision
from pushforward.numerics.solvers.fixed_point import contraction_inverse
from pushforward.transforms.base import Transform, current_generator

__all__ = ["Contractive"]


class Contractive(Transform):
    r"""Residual transform ``z = x + g(x)`` with g a contraction, hence invertible.

        logdet = log det(I + J) = sum_k (-1)^(k+1) tr(J^k) / k,    J = dg/dx.

    g is a ``LipschitzMLP``, zero before training. Its Jacobian is known in closed form, as a
    product of matrices, so that a logdet can be exact: by the determinant, for few features. For
    many it is an unbiased estimate (``exactness`` says so): one random probe a row, and a series
    of which a row gets ``terms`` terms and then one more as long as chance lets it. Its gradient
    is unbiased too, and needs no more memory than a network (the Neumann series). ``Flow.estimate``
    gives it with its standard error. Chance ends the series where it will: an unbiased logdet
    can neither be compiled in one graph nor be mapped over with vmap.

    Args:
        features: width of x.
        hidden: widths of the hidden layers of g.
        coefficient: Lipschitz constant that g never exceeds, in (0, 1).
        context: width of the context that g reads besides.
        logdet: ``exact``; ``unbiased``; or ``auto``, exact up to ``exact_up_to`` features.
        exact_up_to: see there.
        terms: of the series of an unbiased logdet that every row gets.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``

    Raises:
        ArgumentError: an argument out of its range.
        InverseError: the inverse did not converge.

    Cost: forward ``features`` + 1 calls of g and a determinant; unbiased ``terms`` + 1 / (1 - r)
        + 2 calls, where J shortens by r. Inverse: a Banach iteration of about ten calls, or a few
        Newton steps where it is slow, and two of them for the gradient; where the logdet is
        unbiased, Banach's alone. What it solves is exact to rounding either way; beyond first
        derivatives of an unbiased logdet, and of an inverse beside it, nothing is promised.

    Source: Behrmann et al. 2019, arXiv:1811.00995; Chen et al. 2019, arXiv:1906.02735.
        Differs: exact singular values; exact Jacobians for few features and Newton steps with
        them; the chance of one more term is not 0.5, but what J shortens by.

    Example:
        >>> t = Contractive(2)
        >>> x = torch.tensor([[1e6, -3.0]])
        >>> torch.allclose(t.inverse(t(x)[0])[0], x)
        True
    """

    def __init__(
        self,
        features: int,
        *,
        hidden: Sequence[int] = (64, 64),
        coefficient: float = 0.97,
        context: int = 0,
        logdet: str = "auto",
        exact_up_to: int = 32,
        terms: int = 4,
    ) -> None:
        super().__init__()
        if logdet not in ("auto", "exact", "unbiased"):
            raise ArgumentError(
                f"Contractive: logdet is {logdet!r}, expected one of auto, exact, unbiased."
            )
        if terms < 1:
            raise ArgumentError(f"Contractive: terms is {terms}, expected at least 1.")
        self.event_shape = (features,)
        self.context = context
        self.network = LipschitzMLP(features, features, hidden, coefficient, context)
        self.exact = features <= exact_up_to if logdet == "auto" else logdet == "exact"
        self.exactness = "exact" if self.exact else "estimate"
        self.terms = terms

    @property
    def closed(self) -> tuple[bool, bool]:
        """The inverse is searched for; an estimate draws numbers."""
        return self.exact, False

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            g, jacobian = self._network(x, context)
            return x + g, self._logdet(x, jacobian)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            x = contraction_inverse(
                lambda x: self._network(x, context),
                z,
                rate=self.network.coefficient,
                newton=self.exact,
                who="Contractive.inverse",
            )
            return x, -self._logdet(x, self._network(x, context)[1])

    def _network(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Linearization]:
        return self.network.linearized(x, None if context is None else reach(context))

    def _logdet(self, x: Tensor, jacobian: Linearization) -> Tensor:
        if self.exact:
            return log_det_one_plus(jacobian.matrix())
        return self._estimate(x, jacobian)

    def _estimate(self, x: Tensor, jacobian: Linearization) -> Tensor:
        """An unbiased logdet whose gradient is unbiased: the value of one series with another's."""
        generator = current_generator()
        rows = x.shape[:-1].numel()
        probe = rademacher((rows, x.shape[-1]), generator, x)
        with torch.no_grad():
            flat = [slope.reshape(rows, slope.shape[-1]) for slope in jacobian.slopes]

            def pull(v: Tensor, some: slice | Tensor) -> Tensor:
                slopes = tuple(slope[some] for slope in flat)
                return Linearization(jacobian.weights, slopes).pull(v)

            value, solved = roulette_series(pull, probe, self.terms, generator)
        value, solved = value.reshape(x.shape[:-1]), solved.reshape(x.shape)
        # d log det(I + J) = tr((I + J)^-1 dJ) = E (I + J)^-T probe · dJ probe
        carrier = (jacobian.push(probe.reshape(x.shape)) * solved).sum(-1)
        return value + (carrier - carrier.detach())
