"""What only these bases, and the tail transform, can get wrong."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import torch
from tests.breaking import Break, replaced

from pushforward import bases, maps
from pushforward.bases import resampled, student_t
from pushforward.bases.location_scale import LocationScale
from pushforward.maps import generalized_pareto
from pushforward.numerics.tails import normal as normal_tails

BASES, MAPS = ("tests/bases",), ("tests/maps",)


def breaks() -> Iterator[Break]:
    """Every break of this family."""
    # one class stands for the four that share these methods
    yield Break("Normal", "scale without its term", _scale_free, BASES, "normal")
    yield Break("Normal", "the context not read", _deaf, BASES, "normal")
    yield Break("Normal", "one context for all rows", _one_context, BASES, "normal")
    yield Break("Laplace", "draws on one side", _one_sided, BASES, "laplace")
    yield Break("Logistic", "softplus of PyTorch", _softplus, BASES, "logistic")
    yield Break("StudentT", "difference of lgamma", _lgamma, BASES, "student")
    yield Break("StudentT", "df and df + 1 exchanged", _other_power, BASES, "student")
    yield Break("StudentT", "a small shape not raised back", _not_raised, BASES, "student")
    yield Break("StudentT", "fit forgets the scale", _scale_not_placed, BASES, "student")
    yield Break("MultivariateNormal", "factor transposed", _transposed, BASES, "multivariate")
    yield Break("MultivariateNormal", "without its determinant", _no_height, BASES, "multivariate")
    for name, change in (
        ("a context turns draws the other way", lambda loc, matrix: (loc, matrix.mT)),
        ("a context moves no draws", lambda loc, matrix: (0.0 * loc, matrix)),
        ("a context stretches no draws", lambda loc, matrix: (loc, 0.0 * matrix + torch.eye(2))),
    ):
        apply = functools.partial(_moved, change)
        yield Break("MultivariateNormal", name, apply, BASES, "multivariate")
    yield Break("Mixture", "shares deaf to the context", _deaf_shares, BASES, "mixture")
    yield Break("Mixture", "always exact", _always_exact, BASES, "mixture")
    yield Break("Resampled", "Z forgotten", _without_z, BASES, "resampled")
    yield Break("Resampled", "truncation forgotten", _without_truncation, BASES, "resampled")
    yield Break("Resampled", "one draw more", _one_draw_more, BASES, "resampled")
    yield Break("Resampled", "every draw accepted", _all_accepted, BASES, "resampled")
    yield Break("Resampled", "Z deaf to the proposal", _z_without_gradient, BASES, "resampled")
    yield Break("Resampled", "a settled Z outlives training", _stale, BASES, "resampled")
    yield Break("GeneralizedPareto", "tails exchanged", _tails_exchanged, MAPS, "pareto")
    yield Break("GeneralizedPareto", "the line begins nowhere", _no_line, MAPS, "pareto")
    yield Break("GeneralizedPareto", "tails not read off", _tails_not_read, MAPS, "pareto")
    yield Break("GeneralizedPareto", "one step of Newton", _one_step, MAPS, "pareto")


def _scale_free() -> None:
    def log_prob(self, z, context=None):
        loc, log_scale, *shape = self._parameters_for("log_prob", z.shape[:-1], context)
        return self._standard_log_prob((z - loc) * (-log_scale).exp(), *shape).sum(-1)

    LocationScale.log_prob = log_prob


def _moved(change) -> None:
    def moves(old):
        def other(self, method, batch, context):
            found = old(self, method, batch, context)
            return change(*found) if found is not None and method == "rsample" else found

        return other

    replaced(bases.MultivariateNormal, "_moves", moves)


def _deaf() -> None:
    LocationScale._parameters_for = lambda self, *_: [getattr(self, name) for name in self._names]


def _one_context() -> None:
    def parameters(old):
        def first(self, method, batch, context):
            if context is not None and context.ndim > 1 and len(context):
                context = context[:1].expand(context.shape)
            return old(self, method, batch, context)

        return first

    replaced(LocationScale, "_parameters_for", parameters)


def _one_sided() -> None:
    replaced(
        bases.Laplace,
        "_standard_draws",
        lambda old: lambda self, *given: old(self, *given).abs(),
    )


def _softplus() -> None:
    soft = torch.nn.functional.softplus
    bases.Logistic._standard_log_prob = lambda self, h: -soft(h) - soft(-h)


def _lgamma() -> None:
    student_t.log_gamma_ratio = lambda a: (
        torch.lgamma(a + 0.5) - torch.lgamma(a) - 0.5 * torch.log(a)
    )


def _other_power() -> None:
    replaced(
        bases.StudentT,
        "_standard_log_prob",
        lambda old: lambda self, h, raw: old(self, h, raw) * (1 + 1 / (1 + raw.exp())),
    )


def _not_raised() -> None:
    def draws(self, like, generator, raw):
        half = (0.5 * (raw.exp() + 0.1)).expand(like.shape)
        noise = torch.randn(like.shape, generator=generator, dtype=like.dtype)
        return noise * (half / torch._standard_gamma(half + 1.0, generator=generator)).sqrt()

    bases.StudentT._standard_draws = draws


def _scale_not_placed() -> None:
    def fit(old):
        def fitted(self, z, context=None):
            before = self.log_scale.detach().clone()
            old(self, z, context)
            self.log_scale.data.copy_(before)
            return self

        return fitted

    replaced(bases.StudentT, "fit", fit)


def _transposed() -> None:
    old = bases.MultivariateNormal.scale_tril.fget
    bases.MultivariateNormal.scale_tril = property(lambda self: old(self).mT)


def _no_height() -> None:
    replaced(
        bases.MultivariateNormal,
        "log_prob",
        lambda old: lambda self, z, c=None: old(self, z, c) + self.log_diagonal.sum(),
    )


def _deaf_shares() -> None:
    bases.Mixture._logits = lambda self, context: self.logits


def _always_exact() -> None:
    bases.Mixture.exactness = "exact"


def _without_z() -> None:
    bases.Resampled._log_z = lambda self: self.kept[0] * 0.0 - math.log(2.0)


def _without_truncation() -> None:
    def log_prob(self, z, context=None):
        return self.base.log_prob(z) + self._log_chance(z) - self._log_z()

    bases.Resampled.log_prob = log_prob


def _one_draw_more() -> None:
    def rsample(old):
        def more(self, *args, **options):
            self.truncation += 1
            try:
                return old(self, *args, **options)
            finally:
                self.truncation -= 1

        return more

    replaced(bases.Resampled, "rsample", rsample)


def _all_accepted() -> None:
    bases.Resampled.rsample = lambda self, n=(), context=None, *, generator=None: self.base.rsample(
        n, context, generator=generator
    )


def _z_without_gradient() -> None:
    replaced(
        bases.Resampled,
        "_log_z",
        lambda old: lambda self: old(self) if self.settled else _still(old, self),
    )


def _still(old, self):
    wanted = [p.requires_grad for p in self.base.parameters()]
    self.base.requires_grad_(False)
    value = old(self)
    for p, want in zip(self.base.parameters(), wanted, strict=True):
        p.requires_grad_(want)
    return value


def _stale() -> None:
    bases.Resampled.train = resampled.nn.Module.train


def _tails_exchanged() -> None:
    side = generalized_pareto._side
    generalized_pareto._side = lambda y, tails: side(y, tails.flip(-1))


def _no_line() -> None:
    generalized_pareto._end = lambda tail: torch.full_like(tail, 1e30)


def _tails_not_read() -> None:
    def fit(old):
        def fitted(self, x):
            before = self.tails.clone()
            old(self, x)
            self.tails.copy_(before)
            return self

        return fitted

    replaced(maps.GeneralizedPareto, "fit", fit)


def _one_step() -> None:
    def inverse(e):
        with torch.no_grad():
            z = normal_tails.rarity_inverse(e.detach())
        return z + (e - normal_tails.rarity(z)) * (-normal_tails.log_hazard(z)).exp()

    generalized_pareto.rarity_inverse = inverse
