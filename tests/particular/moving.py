"""Breaks of where features that maps move may be, and of what says so of a composition."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tests.breaking import Break, replaced

from pushforward import bases, maps
from pushforward import transforms as T
from pushforward.transforms import elementwise, moving
from pushforward.transforms.autoregressive import autoregressive
from pushforward.transforms.base import Transform
from pushforward.transforms.coupling import coupling
from pushforward.transforms.domains import Angles, Everywhere, PartOf, Shares, together
from pushforward.transforms.linear import permutation

PLACE = (
    (
        "tests/transforms/test_domains.py",
        "tests/flows/test_supports.py",
        "tests/maps/test_rational_quadratic.py",
    ),
    "support",
)


def breaks() -> Iterator[Break]:
    """What may lie where, carried through the wrong way."""
    named = {
        ("Elementwise", "finite beside its box"): lambda: _nothing_lost(elementwise),
        ("Coupling", "finite beside its boxes"): lambda: _nothing_lost(coupling),
        ("Autoregressive", "finite beside its box"): lambda: _nothing_lost(autoregressive),
        ("Autoregressive", "shown what lies outside"): lambda: _not_pulled_in(autoregressive),
        ("Coupling", "shown what lies outside"): lambda: _not_pulled_in(coupling),
        ("Coupling", "lives everywhere"): lambda: _everywhere(T.Coupling),
        ("Autoregressive", "lives everywhere"): lambda: _everywhere(T.Autoregressive),
        ("Coupling", "says nothing of what it keeps"): _nothing_of_the_kept,
        ("Coupling", "moves what it keeps"): _kept_moved,
        ("Additive", "does not take angles"): _no_turn,
        ("Affine", "takes angles to angles"): _all_turn,
        ("Permutation", "domains left in place"): _domains_stay,
        ("Permutation", "domains put the other way"): _domains_back,
        ("Permutation", "shares taken apart"): _apart,
        ("Columns", "each domain the whole"): _own_domains,
        ("Columns", "all codomains from parts"): _own_codomains,
        ("Compose", "looks one step back"): _one_step_back,
        ("Angles", "a box anywhere for the circle"): _any_box,
        ("Angles", "turned ones come back"): _always_wrapped,
        ("Coupling", "numbers seen as angles"): _seen_turning,
        ("Coupling", "the period of radians always"): _radians,
        ("Autoregressive", "numbers seen as angles"): _ordered_angles,
        ("PartOf", "what may be is"): _may_be,
        ("Domain", "a surface taken for a volume"): _no_surface,
        ("Mixture", "the support of its first"): _of_the_first,
        ("Resampled", "support everywhere"): _resampled_everywhere,
        ("Uniform", "draws its ends"): _ends_drawn,
        ("Inverse", "carries the way it came"): _not_turned,
        ("Transform", "all of its codomain from a part"): _all_of_it,
        ("Product", "only groups have domains"): _groups_only,
        ("Product", "a part for the whole"): _part_for_whole,
    }
    for (family, name), apply in named.items():
        yield Break(family, name, apply, *PLACE)


def _nothing_lost(module) -> None:
    module.left = lambda logdet, outside: logdet


def _not_pulled_in(module) -> None:
    replaced(module, "entered", lambda old: lambda map, x: (x, old(map, x)[1]))


def _everywhere(cls) -> None:
    cls.domain = property(lambda self: Everywhere(len(self.event_shape)))


def _nothing_of_the_kept() -> None:
    replaced(T.Coupling, "image", lambda old: lambda self, given: old(self, Everywhere()))


def _kept_moved() -> None:
    replaced(coupling, "image_of", lambda old: lambda map, given: given)


def _no_turn() -> None:
    maps.Additive.shifts = property(lambda self: False)


def _all_turn() -> None:
    maps.Affine.shifts = property(lambda self: True)


def _domains_stay() -> None:
    permutation.reordered = lambda domain, order: domain


def _domains_back() -> None:
    def make(old):
        return lambda domain, order: old(domain, torch.tensor(list(order)).argsort().tolist())

    replaced(permutation, "reordered", make)


def _apart() -> None:
    permutation.groups = lambda domain, features: [(domain, 1)] * features


def _own_domains() -> None:
    T.Columns.preimage = lambda self, taken: self.domain


def _own_codomains() -> None:
    T.Columns.image = lambda self, given: self.codomain


def _one_step_back() -> None:
    T.Compose.domain = property(lambda self: self._all()[0].domain)


def _any_box() -> None:
    def holds(self, other):
        low, high = other.bounds()
        same = isinstance(other, Angles) or not (high - low > self.period * 1.00001).any()
        return bool(same)

    Angles.holds = holds


def _always_wrapped() -> None:
    moving.Angles = lambda period, wrapped=True: Angles(period)


def _seen_turning() -> None:
    T.Coupling._stays = lambda self, kept, seen_turning: kept


def _radians() -> None:
    coupling._period = lambda map, given: 2.0 * torch.pi


def _ordered_angles() -> None:
    T.Autoregressive.periodic = True


def _may_be() -> None:
    PartOf.holds = lambda self, other: self.whole.holds(other)


def _no_surface() -> None:
    Shares.thin = False


def _of_the_first() -> None:
    bases.Mixture.support = property(lambda self: self.components[0].support)


def _resampled_everywhere() -> None:
    bases.Resampled.support = property(lambda self: Everywhere())


def _ends_drawn() -> None:
    def rsample(self, n=(), context=None, *, generator=None):
        return torch.lerp(self.low, self.high, torch.rand((n, *self.event_shape)))

    bases.Uniform.rsample = rsample


def _not_turned() -> None:
    T.Inverse.image = lambda self, given: self.transform.image(given)


def _all_of_it() -> None:
    Transform.image = lambda self, given: self.codomain


def _groups_only() -> None:
    def part(self, start, stop):
        begin = 0
        for one, width in zip(self.parts, self.widths, strict=True):
            if (start, stop) == (begin, begin + width):
                return one
            begin += width
        return None

    together.Product.part = part


def _part_for_whole() -> None:
    def make(old):
        def joined(parts, widths):
            whole = [part.whole if isinstance(part, PartOf) else part for part in parts]
            return old(whole, widths)

        return joined

    replaced(together, "side_by_side", make)
