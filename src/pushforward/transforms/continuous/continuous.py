"""A differential equation takes data to latent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError
from pushforward.networks.given import made_network
from pushforward.networks.time_mlp import TimeMLP
from pushforward.numerics.conditioning import reach
from pushforward.numerics.precision import full_precision
from pushforward.numerics.solvers.runge_kutta import (
    TABLEAUS,
    Rates,
    integrate,
    integrate_in_steps,
    reachable,
)
from pushforward.transforms.base import Transform, current_generator
from pushforward.transforms.continuous.adjoint import integrate_with_adjoint
from pushforward.transforms.continuous.energies import Energies, measured, measuring
from pushforward.transforms.continuous.field import unit_directions, velocity

__all__ = ["Continuous"]

_SMALL = 8  # features up to which "auto" takes the exact trace
_TOLERANCE = {torch.float64: 1e-10}
_ROUGH = 1e-5  # in float32 and below


class Continuous(Transform):
    r"""Continuous transform: rows flow along ``dz/dt = f(z, t, context)``.

    Data is at t = 1, latent at t = 0, and along the way

        d log|det dz(t)/dx| / dt = trace df/dz.

    Every row takes steps of its own, so that rows do not see each other. With ``steps`` there is
    nothing adaptive: so it compiles in one graph, and maps over rows and weights.

    What is called exact is the trace. The answers are those of a solver: z and logdet are right to
    a few times ``tolerance`` (of 1 + their size), and a round trip comes back that exactly.
    Measured on fields as in the tests: 1e-9 in float64 and 1e-5 in float32 with the defaults.
    With ``steps`` the error falls with their number to the power of the order.

    Args:
        features: width of x.
        network: a function of (inputs, outputs) giving another network, of
            ``(x, context, t)`` side by side, with ``features + context + 1`` inputs. It must be
            smooth: no ``relu``.
        hidden: widths of the hidden layers of the default network.
        activation: of the default network: ``tanh``, ``softplus`` or ``silu``. With ``tanh`` no
            row can run away.
        context: width of the context, 0 for none.
        solver: ``dopri5`` (order 5) or ``bosh3`` (3); with ``steps`` also ``rk4``, ``midpoint``
            and ``euler``.
        tolerance: error allowed in a step, absolute and relative alike; by default 1e-5 in
            float32 and 1e-10 in float64. What the rounding of a dtype cannot reach is raised to
            eight roundings.
        steps: a fixed number of steps, in the place of a tolerance.
        gradient: ``direct`` differentiates the steps that were taken: exact for them, of any
            order. ``adjoint`` solves a second equation backwards (torchdiffeq): memory does not
            grow with the steps, the gradients are right up to the tolerance, there are no second
            derivatives, and the rows of a batch share their steps.
        trace: ``exact``, ``hutchinson`` (an unbiased estimate from one random direction a row,
            the same along the whole path) or ``auto``: exact up to 8 features.
        noise: of those directions, ``rademacher`` (signs) or ``normal``.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``

    Raises:
        ArgumentError: an option that does not exist or does not fit another one.
        InputTypeError: ``network`` is no function that gives a network.
        ShapeError: when called: the network gives another width than was asked for.
        InverseError: when called: the field changes too fast for the solver.

    Cost: ``evaluations`` network calls in either direction, 30 to 200 by the tolerance and the
        field. Each carries one direction along for an estimated trace, ``features`` for an exact
        one. Exact up to the tolerance.

    Source: Chen et al. 2018, arXiv:1806.07366; Grathwohl et al. 2018, arXiv:1810.01367.
        Differs: each row has its own steps; the network sees far values compressed to a logarithm;
        the flow starts at the identity.

    Example:
        >>> t = Continuous(2)
        >>> z, logdet = t(torch.ones(5, 2))
        >>> z.shape, logdet.shape, t.exactness
        (torch.Size([5, 2]), torch.Size([5]), 'exact')
    """

    def __init__(
        self,
        features: int,
        *,
        network: Callable[[int, int], nn.Module] | None = None,
        hidden: Sequence[int] = (64, 64),
        activation: str = "tanh",
        context: int = 0,
        solver: str = "dopri5",
        tolerance: float | None = None,
        steps: int | None = None,
        gradient: str = "direct",
        trace: str = "auto",
        noise: str = "rademacher",
    ) -> None:
        super().__init__()
        _one_of("gradient", gradient, ("direct", "adjoint"))
        _one_of("trace", trace, ("auto", "exact", "hutchinson"))
        _one_of("noise", noise, ("rademacher", "normal"))
        _check_solver(solver, tolerance, steps, gradient)
        self.event_shape = (features,)
        self.context = context
        # not `steps`, which every transform has as a method
        self.solver, self.tolerance, self.fixed_steps = solver, tolerance, steps
        self.gradient, self.noise = gradient, noise
        exact = trace == "exact" or (trace == "auto" and features <= _SMALL)
        self.trace = "exact" if exact else "hutchinson"
        self.exactness = "exact" if exact else "estimate"
        self._calls = [0]  # a list: a number would count as a setting, and differ after a save
        inputs = features + context + 1
        self.network = (
            TimeMLP(inputs, features, hidden, activation)
            if network is None
            else made_network("Continuous", network, inputs, features)
        )

    @property
    def evaluations(self) -> int:
        """Calls of the network in the last solve, each for many rows at once.

        With ``gradient="adjoint"`` those of the backward pass are added when it has run.
        """
        return self._calls[0]

    @property
    def closed(self) -> tuple[bool, bool]:
        """Both are solved for in steps."""
        return False, False

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._solve(x, context, 1.0, 0.0)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._solve(z, context, 0.0, 1.0)

    def energies(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Energies]:
        """Forward, and the energies of the paths, from the same solve."""
        with measuring() as found:
            z, logdet = self(x, context)
        return z, logdet, found[0]

    def _solve(
        self, x: Tensor, context: Tensor | None, start: float, end: float
    ) -> tuple[Tensor, Tensor]:
        """Flow from one time to another: the state there, and the logdet."""
        batch, features = x.shape[:-1], self.event_shape[0]
        x = x.reshape(-1, features)
        fine = x.isfinite().all(-1, keepdim=True)
        seen = None
        if context is not None:
            seen = reach(context.reshape(-1, self.context))
            fine = fine & seen.isfinite().all(-1, keepdim=True)
            seen = torch.where(fine, seen, 0.0)
        wanted = measured()
        blank = x.new_zeros(()).expand(len(x), 1 if wanted is None else 3)
        # Rows that are no numbers would stop the solver; they sit out and come back as nan.
        state = torch.cat((torch.where(fine, x, 0.0), blank), -1)
        with full_precision(x):
            state = self._integrate(state, seen, start, end)
        state = torch.where(fine, state, torch.nan).reshape(*batch, state.shape[-1])
        if wanted is not None:
            wanted.append(Energies(state[..., features + 1], state[..., features + 2]))
        return state[..., :features], state[..., features]

    def _integrate(self, state: Tensor, seen: Tensor | None, start: float, end: float) -> Tensor:
        features, tableau = self.event_shape[0], TABLEAUS[self.solver]
        x = state[:, :features]
        directions = unit_directions(x) if self.trace == "exact" else self._noise(x)
        self._calls[0] = 0

        def rates_of(rows: Tensor | None) -> Rates:
            some, context = directions, seen
            if rows is not None:
                some = directions[:, rows]
                context = None if seen is None else seen[rows]
            return lambda s, state: self._rates(s, state, context, some, start, end)

        if self.fixed_steps is not None:
            return integrate_in_steps(rates_of(None), state, tableau, self.fixed_steps)
        tolerance = self.tolerance or _TOLERANCE.get(state.dtype, _ROUGH)
        tolerance = reachable(tolerance, state.dtype)
        who, controlled = "Continuous", features + 1
        if self.gradient == "direct":
            return integrate(who, rates_of, state, tableau, tolerance, controlled)
        trained = [*self.network.parameters(), *([] if seen is None else [seen])]
        rates = rates_of(None)
        return integrate_with_adjoint(
            who, rates, state, self.solver, tolerance, controlled, trained
        )

    def _rates(
        self,
        s: Tensor,
        state: Tensor,
        seen: Tensor | None,
        directions: Tensor,
        start: float,
        end: float,
    ) -> Tensor:
        """The derivative of (z, logdet) and, where they are there, of the two energies.

        It is the one by s, which goes from 0 to 1 in either direction.
        """
        self._calls[0] += 1
        features, along = self.event_shape[0], end - start
        z = state[:, :features]
        f, products = velocity(self.network, start + along * s, z, seen, directions)
        trace = (directions * products).sum(-1).sum(0)
        parts = [along * f, along * trace[:, None]]
        if state.shape[-1] > features + 1:
            squares = products.square().sum(-1).sum(0)
            parts += [f.square().sum(-1, keepdim=True), squares[:, None]]
        return torch.cat(parts, -1)

    def _noise(self, x: Tensor) -> Tensor:
        """One direction a row, of mean zero and unit covariance."""
        generator = current_generator()
        shape = (1, *x.shape)
        if self.noise == "normal":
            return torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)
        signs = torch.randint(0, 2, shape, generator=generator, device=x.device)
        return (2 * signs - 1).to(x.dtype)

    def extra_repr(self) -> str:
        """How it is solved."""
        fixed = self.fixed_steps
        how = f"tolerance={self.tolerance}" if fixed is None else f"steps={fixed}"
        return f"solver={self.solver}, {how}, trace={self.trace}, gradient={self.gradient}"


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ArgumentError(
            f"Continuous: {name} is {value!r}, expected one of {', '.join(allowed)}."
        )


def _check_solver(solver: str, tolerance: float | None, steps: int | None, gradient: str) -> None:
    _one_of("solver", solver, tuple(TABLEAUS))
    if tolerance is not None and not 0.0 < tolerance < 1.0:
        raise ArgumentError(
            f"Continuous: tolerance is {tolerance}, expected a number between 0 and 1."
        )
    if steps is None:
        if TABLEAUS[solver].error is None:
            raise ArgumentError(
                f"Continuous: solver {solver!r} cannot choose its steps; write steps=20, or take "
                f"dopri5 or bosh3."
            )
        return
    if steps < 1:
        raise ArgumentError(f"Continuous: steps is {steps}, expected at least 1.")
    if tolerance is not None:
        raise ArgumentError(
            "Continuous: got a tolerance and a number of steps; leave one of them out."
        )
    if gradient == "adjoint":
        raise ArgumentError(
            'Continuous: gradient="adjoint" chooses its steps by a tolerance; leave steps out, or '
            'write gradient="direct".'
        )
