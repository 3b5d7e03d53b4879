"""Breaks that only the flow of a differential equation can have."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tests.breaking import Break, replaced

from pushforward import transforms as T
from pushforward.networks import TimeMLP
from pushforward.numerics.solvers import runge_kutta
from pushforward.transforms.continuous import continuous, field

LAWS = ("tests/transforms/test_continuous.py", "tests/transforms/test_laws.py")


def breaks() -> Iterator[Break]:
    """Most of them leave a valid flow behind: another one, or a rougher one."""
    place = (LAWS, "continuous")
    yield Break("Continuous", "time runs the other way", _time_turned, *place)
    yield Break("Continuous", "the compression without its slope", _slope_forgotten, *place)
    yield Break("Continuous", "the context dropped", _context_dropped, *place)
    yield Break("Continuous", "a direction drawn anew at each call", _drawn_anew, *place)
    yield Break("Continuous", "directions of the wrong size", _directions_doubled, *place)
    yield Break("Continuous", "rougher than asked for", _rough, *place)
    yield Break("Continuous", "steps chosen for the whole batch", _steps_shared, *place)
    yield Break("Continuous", "rows left behind before they arrive", _left_early, *place)
    yield Break("Continuous", "energies signed like the time", _energies_signed, *place)
    yield Break("Continuous", "the adjoint does not see the context", _context_unseen, *place)
    yield Break("Continuous", "a weight of the solver off", _weight_off, *place)
    yield Break("Continuous", "the time left out of the derivative", _gate_forgotten, *place)


def _velocity(change) -> None:
    replaced(
        continuous, "velocity", lambda old: lambda net, t, z, c, v: old(net, *change(t, z, c, v))
    )


def _time_turned() -> None:
    _velocity(lambda t, z, c, v: (1.0 - t, z, c, v))


def _slope_forgotten() -> None:
    field.reach_slope = torch.ones_like


def _context_dropped() -> None:
    _velocity(lambda t, z, c, v: (t, z, None if c is None else 0.0 * c, v))


def _drawn_anew() -> None:
    _velocity(lambda t, z, c, v: (t, z, c, v if len(v) > 1 else v * torch.randn_like(v).sign()))


def _directions_doubled() -> None:
    replaced(T.Continuous, "_noise", lambda old: lambda self, x: 2.0 * old(self, x))


def _rough() -> None:
    replaced(continuous, "reachable", lambda old: lambda tol, dtype: 1e4 * old(tol, dtype))


def _steps_shared() -> None:
    def shared(old):
        return lambda *args: old(*args).amax().expand(len(args[1]))

    replaced(runge_kutta, "_ratio", shared)


def _left_early() -> None:
    def stepped(old):
        def step(rates, time, state, step, first, tableau):
            late = torch.where(time > 0.9, 0.5 * step, step)
            return old(rates, time, state, late, first, tableau)

        return step

    replaced(runge_kutta, "_step", stepped)


def _energies_signed() -> None:
    def rates(old):
        def signed(self, s, state, seen, directions, start, end):
            found = old(self, s, state, seen, directions, start, end)
            own = self.event_shape[0] + 1
            return torch.cat((found[:, :own], (end - start) * found[:, own:]), -1)

        return signed

    replaced(T.Continuous, "_rates", rates)


def _context_unseen() -> None:
    def unseen(old):
        return lambda *args: old(*args[:-1], [t for t in args[-1] if t.is_leaf])

    replaced(continuous, "integrate_with_adjoint", unseen)


def _weight_off() -> None:
    for name in ("dopri5", "bosh3"):
        tableau = runge_kutta.TABLEAUS[name]
        last = tableau.stages[-1]
        stages = (*tableau.stages[:-1], (last[0] + 1e-3, *last[1:-1], last[-1] - 1e-3))
        runge_kutta.TABLEAUS[name] = tableau._replace(stages=stages)


def _gate_forgotten() -> None:
    def push(old):
        def pushed(self, x, tangents):
            value, products = old(self, x, tangents)
            gate = self._layers()[-1](
                value.new_zeros(self._layers()[-1].linear.in_features), x[..., -1:]
            )[1]
            return value, products / gate

        return pushed

    replaced(TimeMLP, "push", push)
