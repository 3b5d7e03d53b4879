"""Breaks of autoregressions along orders and graphs, and of the block network."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from tests.breaking import Break, replaced

from pushforward import transforms as T
from pushforward.maps.box import Boxed
from pushforward.networks import masked_mlp, stepwise
from pushforward.transforms.autoregressive import autoregressive, block

_TESTS = tuple(
    f"tests/transforms/test_{name}.py"
    for name in ("laws", "meaning", "autoregressive", "inverse_steps", "gradients")
)


def breaks() -> Iterator[Break]:
    """What only an autoregression can get wrong."""
    masked = {
        "hidden units see sets that overlap theirs": _overlapping,
        "hidden units see everything": _all_hidden,
        "a set of features without hidden units": _set_dropped,
        "the graph turned round": _graph_turned,
        "calls for the shortest path": _shortest,
        "a cycle let through": _cycle_through,
        "constants of other features": _other_constants,
        "hidden units known a step late": _late,
        "guesses taken unseen": _uncertified,
        "guesses where a gradient is wanted": _undifferentiated,
        "units dropped anew at every guess": _dropped_anew,
    }
    for name, apply in masked.items():
        yield Break("Autoregressive", name, apply, _TESTS, "autoregressive")
    network = {
        "weights within a block of either sign": _either_sign,
        "no linear term": _no_linear_term,
        "the slope of tanh forgotten": _no_bend,
        "gains forgotten in the slope": _no_gain,
        "later features seen": _later_seen,
        "the inverse in another order": _other_order,
        "one feature's solution dropped": _unsolved,
        "the context unread": _context_unread,
        "the linear term without bound": _unbounded,
        "what is no number spoils nothing": _nothing_lost,
    }
    for name, apply in network.items():
        yield Break("BlockAutoregressive", name, apply, _TESTS, "block")


def _overlapping() -> None:
    replaced(masked_mlp, "_within", lambda old: lambda a, b: (a.float() @ b.float().mT) > 0)


def _all_hidden() -> None:
    replaced(masked_mlp, "_within", lambda old: lambda a, b: torch.ones_like(old(a, b)))


def _set_dropped() -> None:
    replaced(masked_mlp, "_sets", lambda old: lambda *args: _all_but_one(old(*args)))


def _all_but_one(sets):
    return sets[:-1] if len(sets) > 1 else sets


def _graph_turned() -> None:
    for module in (masked_mlp, autoregressive):
        replaced(module, "dependence", lambda old: lambda *args: old(*args).mT)


def _shortest() -> None:
    def levels(old):
        def shorter(table):
            found = old(table)
            shallow = torch.where(table, found, len(table)).amin(1) + 1
            return torch.where(table.any(1), shallow, 0)

        return shorter

    replaced(masked_mlp, "levels", levels)


def _cycle_through() -> None:
    from pushforward.numerics import dependence

    replaced(dependence, "_cycle", lambda old: lambda table: [])


def _other_constants() -> None:
    def part(old):
        return lambda self, index: old(self, slice(0, 1) if isinstance(index, slice) else index)

    replaced(Boxed, "part", part)


def _late() -> None:
    """Each step's units are computed from what was known before the step."""

    def outputs(old):
        def late(self, x):
            usual, self._know = self._know, lambda layer, new: None
            held = list(self._known)
            self._know = lambda layer, new: held.__setitem__(layer, torch.cat((held[layer], new)))
            raw = old(self, x)
            self._know, self._known = usual, held
            return raw

        return late

    replaced(stepwise.Stepwise, "outputs", outputs)


def _uncertified() -> None:
    replaced(autoregressive, "swept", lambda old: lambda sweep, start, most: sweep(start))


def _undifferentiated() -> None:
    replaced(autoregressive, "may_sweep", lambda old: lambda x: True)


def _dropped_anew() -> None:
    def at_once(old):
        def forgetful(self, z, context):
            usual, self.network.dropout = self.network.dropout, 0.0
            try:
                return old(self, z, context)
            finally:
                self.network.dropout = usual

        return forgetful

    replaced(T.Autoregressive, "_all_at_once", at_once)


def _either_sign() -> None:
    def blocks(old):
        def signed(self):
            features = self.event_shape[0]
            result = []
            for weight, (inputs, outputs) in zip(self.weights, self.sizes, strict=True):
                whole = weight.reshape(features, outputs, features, inputs)
                own = whole.diagonal(dim1=0, dim2=2)
                whole = whole * self.before[:, None, :, None]
                result.append((whole + own.diag_embed(dim1=0, dim2=2), own.permute(2, 0, 1)))
            return result

        return signed

    replaced(T.BlockAutoregressive, "_blocks", blocks)


def _in_run(change: Callable) -> None:
    replaced(block, "_run", lambda old: lambda x, *args, **kwargs: change(old, x, *args, **kwargs))


def _no_linear_term() -> None:
    def run(old, x, layers, log_linear, states=None):
        value, log_slope = old(x, layers, log_linear, states)
        return value - log_linear.exp() * x, (log_slope.exp() - log_linear.exp()).log()

    _in_run(run)


def _no_bend() -> None:
    def run(old, x, layers, log_linear, states=None):
        value, _ = old(x, layers, log_linear, states)
        slope = torch.ones_like(x).unsqueeze(-1)
        for layer in layers:
            slope = torch.einsum("...fi,foi->...fo", slope, layer.own)
        return value, (log_linear.exp() + slope.squeeze(-1)).log()

    _in_run(run)


def _no_gain() -> None:
    def blocks(old):
        def ungained(self):
            pairs = zip(old(self), self.gains, strict=True)
            return [(whole, own / gain.exp().unsqueeze(-1)) for (whole, own), gain in pairs]

        return ungained

    replaced(T.BlockAutoregressive, "_blocks", blocks)


def _later_seen() -> None:
    replaced(block, "dependence", lambda old: lambda *args: torch.ones_like(old(*args)))


def _inverse_with(places: Callable) -> None:
    def inverse(old):
        def other(self, z, context):
            usual, self.places = self.places, places(self.places)
            try:
                return old(self, z, context)
            finally:
                self.places = usual

        return other

    replaced(T.BlockAutoregressive, "_inverse", inverse)


def _other_order() -> None:
    _inverse_with(lambda places: places.argsort())


def _unsolved() -> None:
    replaced(block, "increasing_root", lambda old: lambda f, goal, *, who, guess: guess)


def _context_unread() -> None:
    replaced(
        T.BlockAutoregressive,
        "_shifts",
        lambda old: lambda self, c: old(self, None if c is None else torch.zeros_like(c)),
    )


def _unbounded() -> None:
    block._BOUND = 1e9


def _nothing_lost() -> None:
    def inverse(old):
        return lambda self, z, context: old(self, z.nan_to_num(0.0), context)

    replaced(T.BlockAutoregressive, "_inverse", inverse)
