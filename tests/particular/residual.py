"""Breaks of residual transforms: constraints forgotten, branches taken wrongly, terms lost."""

import functools
from collections.abc import Iterator

import torch
from tests.breaking import Break, replaced

from pushforward import networks
from pushforward import transforms as T
from pushforward.transforms.residual import contractive, planar, radial, sylvester

LAWS = tuple(
    f"tests/transforms/test_{name}.py"
    for name in ("laws", "meaning", "gradients", "extremes", "start")
)
OWN = {"Contractive": "tests/transforms/test_contractive.py"}


def breaks() -> Iterator[Break]:
    """Those of one class after the other."""
    for family, name, apply in _all():
        own = OWN.get(family, "tests/transforms/test_residual.py")
        yield Break(family, name, apply, (*LAWS, own), f"residual-{family.lower()}")


def _all():
    for module in (planar, sylvester):
        family = module.__name__.rsplit(".", 1)[-1].capitalize()
        yield family, "u not bent", functools.partial(_replace, module, "shrink", torch.ones_like)
        yield (
            family,
            "the constraint forgotten in logdet",
            functools.partial(_replace, module, "above_minus_one", lambda a: a),
        )
        yield (
            family,
            "the slope of tanh not squared",
            functools.partial(_replace, module, "tanh_slope", lambda a: 1.0 - torch.tanh(a).abs()),
        )
        yield family, "the root half a step off", functools.partial(_root_off, module)
    yield "Sylvester", "R~ read for R", _factors_exchanged
    yield (
        "Sylvester",
        "a frame that is not orthonormal",
        functools.partial(_replace, sylvester, "exponential", lambda raw: raw),
    )
    yield "Radial", "beta below -alpha", functools.partial(_replace, radial, "above_minus_one", _id)
    yield (
        "Radial",
        "a norm without a guard",
        functools.partial(_replace, radial, "_length", _sqrt),
    )
    yield "Radial", "mean for sum", functools.partial(_replace, radial, "_length", _mean)
    yield "Radial", "squares overflow", functools.partial(_replace, radial, "_length", _unscaled)
    yield "Radial", "features for features - 1", _one_term_more
    yield "Radial", "the other root of the quadratic", _other_root
    yield "Contractive", "weights not bounded", _not_bounded
    yield "Contractive", "the steepest slope forgotten", _steep
    yield "Contractive", "the context not read", _context_unread
    yield "Contractive", "the trace for the determinant", _trace
    yield "Contractive", "an estimate without its gradient", _no_gradient
    yield "Contractive", "the series cut short", _chances_forgotten
    yield "Contractive", "a series of one sign", _one_sign
    yield "Contractive", "the generator ignored", _generator_ignored
    yield "Contractive", "an estimate called exact", _called_exact


def _id(a):
    return a


def _sqrt(away):
    return away.square().sum(-1).sqrt()


def _mean(away):
    return away.square().mean(-1).clamp_min(1e-30).sqrt()


def _unscaled(away):
    return away.square().sum(-1).clamp_min(1e-30).sqrt()


def _replace(module, name, new) -> None:
    replaced(module, name, lambda old: new)


def _root_off(module) -> None:
    off = lambda old: lambda *args, **named: old(*args, **named) + 1e-5
    replaced(module, "tanh_root", off)


def _factors_exchanged() -> None:
    def read(old):
        def exchanged(self, x, context):
            frame, outer, inner, b, product = old(self, x, context)
            return frame, inner, outer, b, product

        return exchanged

    replaced(T.Sylvester, "_read", read)


def _one_term_more() -> None:
    def logdet(old):
        def more(self, r, alpha, stretch):
            return old(self, r, alpha, stretch) + torch.log1p(stretch * alpha / (alpha + r))

        return more

    replaced(T.Radial, "_logdet", logdet)


def _other_root() -> None:
    """The form that is right beyond alpha + beta, everywhere."""
    replaced(
        radial.torch,
        "where",
        lambda old: (
            lambda test, a, b: (
                old(torch.zeros_like(test), a, b)
                if torch.is_tensor(a) and torch.is_tensor(b)
                else old(test, a, b)
            )
        ),
    )


def _not_bounded() -> None:
    networks.LipschitzMLP._weights = lambda self: tuple(layer.weight for layer in self.layers)


def _steep() -> None:
    from pushforward.networks import lipschitz_mlp

    lipschitz_mlp._STEEPEST = 1.0


def _context_unread() -> None:
    replaced(
        networks.LipschitzMLP,
        "linearized",
        lambda old: lambda self, x, c=None: old(self, x, None if c is None else 0.0 * c),
    )


def _trace() -> None:
    trace = lambda jacobian: torch.log1p(jacobian.diagonal(dim1=-2, dim2=-1).sum(-1))
    _replace(contractive, "log_det_one_plus", trace)


def _no_gradient() -> None:
    replaced(T.Contractive, "_estimate", lambda old: lambda self, x, j: old(self, x, j).detach())


def _chances_forgotten() -> None:
    """Every row gets as many terms as are certain, as if the series ended there."""
    keep = lambda old: (
        lambda pull, probe, certain, generator: old(
            lambda v, some: pull(v, some) if isinstance(some, slice) else 0.0 * v,
            probe,
            certain,
            generator,
        )
    )
    replaced(contractive, "roulette_series", keep)


def _one_sign() -> None:
    def series(old):
        return lambda pull, *rest: old(lambda v, some: -pull(v, some), *rest)

    replaced(contractive, "roulette_series", series)


def _generator_ignored() -> None:
    _replace(contractive, "current_generator", lambda: None)


def _called_exact() -> None:
    def init(old):
        def made(self, *args, **named):
            old(self, *args, **named)
            self.exactness = "exact"

        return made

    replaced(T.Contractive, "__init__", init)
