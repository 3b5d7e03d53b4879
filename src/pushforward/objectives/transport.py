"""Maximum likelihood along short and even paths, for continuous transforms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from pushforward.errors import ArgumentError
from pushforward.objectives.likelihood import Batch, MaximumLikelihood
from pushforward.transforms.continuous.energies import measuring

if TYPE_CHECKING:
    from pushforward.flows.flow import Flow

__all__ = ["RegularizedLikelihood"]


class RegularizedLikelihood(MaximumLikelihood):
    """Mean negative log-density, and in training the energies of the paths of continuous layers.

        loss = - log p(x) + kinetic * integral of |f|^2 + jacobian * integral of |df/dz|^2

    Of the many fields that give the same density this prefers one whose paths are straight and
    whose solver needs few steps. Density and energies come from the same solve. In evaluation the
    energies are left out, so that figures compare with those of other flows.

    Args:
        kinetic: weight of the kinetic energy.
        jacobian: weight of the energy of the Jacobian.
        smoothing: as in ``MaximumLikelihood``.

    Raises:
        ArgumentError: a weight is negative or not finite; or, when called, the flow holds no
            ``Continuous`` transform, or is compiled.

    Source: Finlay et al. 2020, arXiv:2002.02798. Differs: nothing is divided by the number of
        features.

    Example:
        >>> from pushforward import Flow, bases, transforms
        >>> flow = Flow(transforms.Continuous(2), bases.Normal(2))
        >>> RegularizedLikelihood(kinetic=0.01, jacobian=0.01)(flow, Batch(torch.zeros(4, 2)))
        tensor(1.8379, grad_fn=...)
    """

    def __init__(
        self,
        kinetic: float = 0.01,
        jacobian: float = 0.01,
        smoothing: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__(smoothing)
        for name, weight in (("kinetic", kinetic), ("jacobian", jacobian)):
            if not 0.0 <= weight < math.inf:
                raise ArgumentError(
                    f"RegularizedLikelihood: {name} is {weight}, expected a number from 0 up."
                )
        self.kinetic, self.jacobian = float(kinetic), float(jacobian)

    def __call__(self, flow: Flow, batch: Batch, generator: Generator | None = None) -> Tensor:
        """The penalized figure of ``batch``, a scalar in nats a row; see ``MaximumLikelihood``."""
        if not getattr(flow, "training", False):
            return super().__call__(flow, batch, generator)
        with measuring() as found:
            loss = super().__call__(flow, batch, generator)
        if not found:
            raise ArgumentError(
                "RegularizedLikelihood: no Continuous transform was measured; a flow without one "
                "takes MaximumLikelihood(), a compiled one compile=False."
            )
        for energies in found:
            penalty = self.kinetic * energies.kinetic + self.jacobian * energies.jacobian
            if batch.weights is not None:
                penalty = torch.where(batch.weights > 0.0, penalty, 0.0) * batch.weights
            loss = loss + penalty.mean()
        return loss

    def __repr__(self) -> str:
        likelihood = super().__repr__().removeprefix("MaximumLikelihood(").removesuffix(")")
        rest = f", {likelihood}" if likelihood else ""
        return f"RegularizedLikelihood(kinetic={self.kinetic}, jacobian={self.jacobian}{rest})"
