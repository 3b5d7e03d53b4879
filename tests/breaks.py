"""Breaks of every family: wrong in the same way in both directions, so that no round trip sees it.

Each is applied to the classes in memory, in a process of its own, by ``tests/mutations.py``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from tests import particular
from tests.bases import cases as base_cases
from tests.breaking import Break, both, one, replaced, stretched, summed, surplus
from tests.maps import cases as map_cases
from tests.transforms import cases as transform_cases
from torch import Tensor

from pushforward import bases, maps, networks
from pushforward import transforms as T
from pushforward.flows import Flow
from pushforward.maps.splines import rational_quadratic
from pushforward.networks import stepwise

# ---------------------------------------------------------------- what is done to (state, logdet)

VALUES = {
    "logdet halved": lambda z, logdet: (z, logdet * 0.5),
    "logdet's sign flipped": lambda z, logdet: (z, -logdet),
    "logdet summed over the batch": lambda z, logdet: (z, logdet.sum().expand(logdet.shape)),
    "logdet rounded to float32": lambda z, logdet: (z, logdet.float().to(logdet.dtype)),
}
ALWAYS = {
    "logdet fallen to float32": lambda z, logdet: (z, logdet.float()),
    "state rounded to float32": lambda z, logdet: (z.float().to(z.dtype), logdet),
}
INVERSE = {
    "inverse shifted by 1e-6": lambda z, logdet: (z + 1e-6, logdet),
    "inverse scaled by 1 + 1e-6": lambda z, logdet: (z * (1.0 + 1e-6), logdet),
    "inverse gives the logdet of forward": lambda z, logdet: (z, -logdet),
}
KEEP_VOLUME = {
    "Permutation",
    "Reverse",
    "Orthogonal",
    "Additive",
    "Circle",
}  # half of zero is no break

SUMS = (
    "_scaled",
    "_unscaled",
    "_multiplied",
    "_solved",
    "_plain",
    "_forward",
    "_inverse",
    "_move",
    "_rates",
    "_there",
    "_back",
)  # methods that sum log-derivatives

TRANSFORM_TESTS = tuple(
    f"tests/transforms/test_{name}.py"
    for name in ("laws", "meaning", "gradients", "extremes", "start")
)
FLOW_TESTS = tuple(f"tests/flows/test_{name}.py" for name in ("laws", "exactness", "flow"))
MAP_TESTS = ("tests/maps",)
BASE_TESTS = ("tests/bases",)


def _listed(room: Any, cases: Sequence[Any], build: Callable[[Any], object]) -> dict[type, str]:
    """The public classes of a room, each with the names of its cases, as an expression."""
    names: dict[type, list[str]] = {}
    for case in cases:
        names.setdefault(type(build(case)), []).append(re.escape(case.name))
    public = {getattr(room, name) for name in room.__all__}
    return {cls: f"^({'|'.join(found)})$" for cls, found in names.items() if cls in public}


def all_breaks() -> Iterator[Break]:
    """Every break of every family."""
    transforms = _listed(T, transform_cases.CASES, lambda case: case.build(3, 0))
    for cls, key in transforms.items():
        place = (TRANSFORM_TESTS, key)
        yield from _of_a_map(cls, ("_forward", "_inverse"), place)
        no_sum = issubclass(cls, T.Compose | T.Inverse | T.ImageCoupling | T.Contractive | T.Radial)
        if not no_sum and cls.__name__ not in KEEP_VOLUME:
            for how, name in (("mean", "mean for sum"), ("lost", "a term dropped")):
                owner = sys.modules[cls.__module__] if cls is T.Standardize else cls
                breaking = functools.partial(summed, owner, SUMS, how)
                yield Break(cls.__name__, name, breaking, *place)
    for cls, key in _listed(maps, map_cases.CASES, lambda case: case.build()).items():
        yield from _of_a_map(cls, ("forward", "inverse"), (MAP_TESTS, key))
    for cls, key in _listed(bases, base_cases.CASES, lambda case: case.build(2)).items():
        yield from _of_a_base(cls, (BASE_TESTS, key))
    yield from _particular()
    for module in pkgutil.iter_modules(particular.__path__):
        yield from importlib.import_module(f"{particular.__name__}.{module.name}").breaks()
    yield from _of_flow((FLOW_TESTS, "realnvp"))


def _of_a_map(cls: type, names: tuple[str, str], place: tuple) -> Iterator[Break]:
    changes = ALWAYS if cls.__name__ in KEEP_VOLUME else {**VALUES, **ALWAYS}
    for name, change in changes.items():
        yield Break(cls.__name__, name, functools.partial(both, cls, change, names), *place)
    for name, change in INVERSE.items():
        if name.endswith("of forward") and cls.__name__ in KEEP_VOLUME:
            continue
        yield Break(cls.__name__, name, functools.partial(one, cls, change, names), *place)
    yield Break(cls.__name__, "a term too many", functools.partial(surplus, cls, names), *place)
    yield Break(cls.__name__, "another map", functools.partial(stretched, cls, names), *place)


def _of_a_base(cls: type, place: tuple) -> Iterator[Break]:
    densities = {
        "log_prob halved": lambda value: value * 0.5,
        "log_prob not normalized": lambda value: value + 0.01,
        "log_prob summed over the batch": lambda value: value.sum().expand(value.shape),
        "log_prob fallen to float32": lambda value: value.float(),
    }
    draws = {
        "draws scaled by 1.1": lambda z: z * 1.1,
        "draws shifted by 0.1": lambda z: z + 0.1,
        "draws fallen to float32": lambda z: z.float(),
        "draws all the same": lambda z: z[..., :1, :].expand(z.shape) if z.ndim > 1 else z,
        "draws without gradient": lambda z: z.detach(),
    }
    if not any(True for _ in _example(cls).parameters()):
        draws.pop("draws without gradient")
    for method, changes in (("log_prob", densities), ("rsample", draws)):
        for name, change in changes.items():
            yield Break(cls.__name__, name, functools.partial(_result, cls, method, change), *place)
    if cls not in (bases.Mixture, bases.Resampled):  # these sum over no features
        for how, name in (("mean", "mean for sum"), ("lost", "a term dropped")):
            method = "_joint" if cls is bases.GaussianMixture else "log_prob"
            owner = next(kind for kind in cls.__mro__ if method in vars(kind))
            breaking = functools.partial(summed, owner, (method, "_density"), how)
            yield Break(cls.__name__, name, breaking, *place)


def _example(cls: type) -> bases.Base:
    if cls is bases.Mixture:
        return bases.Mixture(bases.Normal(2, learn=True), bases.Normal(2))
    if cls is bases.GaussianMixture:
        return bases.GaussianMixture(2, 2)
    if cls is bases.Resampled:
        return bases.Resampled(bases.Normal(2, learn=True))
    if cls in (bases.Logistic, bases.MultivariateNormal):
        return cls(2, learn=True)
    if cls is bases.Wrapped:
        return bases.as_base(torch.distributions.Laplace(torch.zeros(2), torch.ones(2)))
    return cls(2)


def _result(cls: type, method: str, change: Callable[[Tensor], Tensor]) -> None:
    replaced(cls, method, lambda old: lambda *args, **kwargs: change(old(*args, **kwargs)))


# ---------------------------------------------------------------- breaks of one family alone


def _particular() -> Iterator[Break]:
    """What only this family can get wrong; most of it consistently, as another valid transform."""
    laws = lambda key: (TRANSFORM_TESTS, key)
    spline = (("tests/maps",), "spline")
    yield Break("Compose", "steps in the other order", _compose_reversed, *laws("compose"))
    yield Break("Compose", "the first logdet dropped", _compose_forgets, *laws("compose"))
    yield Break("Inverse", "not turned round", _inverse_not_turned, *laws("inverse"))
    yield Break(
        "Permutation",
        "order and its inverse exchanged",
        _permutation_exchanged,
        *laws("linear-permutation"),
    )
    yield Break("Reverse", "the identity", _reverse_nothing, *laws("linear-reverse"))
    yield Break("Autoregressive", "one step short", _one_step_short, *laws("autoregressive"))
    yield Break("Autoregressive", "a feature sees itself", _sees_itself, *laws("autoregressive"))
    yield Break("Standardize", "variance for deviation", _variance, *laws("linear-standardize"))
    yield Break("RationalQuadratic", "a square dropped", _square_dropped, *spline)
    yield Break("RationalQuadratic", "the neighbouring bin", _next_bin, *spline)
    yield Break("RationalQuadratic", "root off before the last step", _root_off, *spline)
    yield Break("RationalQuadratic", "tails without logdet", _tails_free, *spline)
    yield Break(
        "Affine", "the bound forgotten in logdet", _bound_forgotten, ("tests/maps",), "affine"
    )
    mixture = (("tests/bases",), "mixture")
    yield Break("Mixture", "weights forgotten", _weights_forgotten, *mixture)
    yield Break("Mixture", "the largest for the sum", _largest_for_sum, *mixture)
    lumps = (("tests/bases",), "gaussian-components")
    yield Break("GaussianMixture", "weights forgotten", _lump_weights_forgotten, *lumps)
    yield Break("GaussianMixture", "covariances transposed", _whitening_transposed, *lumps)
    yield Break("GaussianMixture", "components without heights", _heights_dropped, *lumps)


def _compose_reversed() -> None:
    T.Compose._all = lambda self: list(reversed(self.transforms))
    T.Compose._forward = lambda self, x, c: _chain(reversed(self.transforms), "_forward", x, c)
    T.Compose._inverse = lambda self, x, c: _chain(self.transforms, "_inverse", x, c)


def _compose_forgets() -> None:
    T.Compose._forward = lambda self, x, c: _chain(self.transforms, "_forward", x, c, forget=0)
    T.Compose._inverse = lambda self, x, c: _chain(
        reversed(self.transforms), "_inverse", x, c, forget=len(self.transforms) - 1
    )


def _chain(steps, method, x, context, forget=None):
    total = x.new_zeros(x.shape[:-1])
    for i, step in enumerate(steps):
        x, logdet = getattr(step, method)(x, context if step.context else None)
        total = total if i == forget else total + logdet
    return x, total


def _inverse_not_turned() -> None:
    T.Inverse._forward = lambda self, x, c: self.transform._forward(x, c)
    T.Inverse._inverse = lambda self, z, c: self.transform._inverse(z, c)


def _permutation_exchanged() -> None:
    T.Permutation._forward, T.Permutation._inverse = T.Permutation._inverse, T.Permutation._forward


def _reverse_nothing() -> None:
    nothing = lambda self, x, c: (x.clone(), x.new_zeros(x.shape[:-1]))
    T.Reverse._forward = T.Reverse._inverse = nothing


def _one_step_short() -> None:
    def short(old):
        def outputs(self, x):
            last = self._step + 2 == len(self._network.sizes)
            return old(self, torch.zeros_like(x) if last and x is not None else x)

        return outputs

    replaced(stepwise.Stepwise, "outputs", short)


def _sees_itself() -> None:
    seeing = lambda old: lambda self, x, c: old(self, x, c) + 0.1 * x.unsqueeze(-1)
    replaced(networks.MaskedMLP, "forward", seeing)


def _variance() -> None:
    def fit(old):
        def fitted(self, x, context=None):
            old(self, x, context)
            self.scale.square_()
            return self

        return fitted

    replaced(T.Standardize, "fit", fit)


def _square_dropped() -> None:
    cls = maps.RationalQuadratic
    source = textwrap.dedent(inspect.getsource(cls._log_derivative))
    if source.count("ratio * ratio") != 1:
        raise LookupError("RationalQuadratic no longer squares a ratio: find the square to drop")
    source = source.replace("@staticmethod\n", "").replace("ratio * ratio", "ratio")
    scope = dict(vars(rational_quadratic))
    exec("from __future__ import annotations\n" + source, scope)
    cls._log_derivative = staticmethod(scope["_log_derivative"])


def _next_bin() -> None:
    def find(old):
        signature = inspect.signature(old)

        def found(*args):
            given = signature.bind(*args)
            if given.arguments["axis"] == 1:  # only the inverse looks along y
                given.arguments["u"] = (given.arguments["u"] + 0.02).clamp(max=1.0)
            return old(*given.args)

        return found

    replaced(maps.RationalQuadratic, "_find", find)


def _root_off() -> None:
    replaced(
        rational_quadratic, "_root", lambda old: lambda *abc: (old(*abc) + 1e-3).clamp(0.0, 1.0)
    )


def _tails_free() -> None:
    for name in ("forward", "inverse"):

        def free(old):
            def freed(self, x, raw):
                z, log_derivative = old(self, x, raw)
                inside = (x >= self.low) & (x <= self.high)
                return z, torch.where(inside, log_derivative, torch.zeros_like(log_derivative))

            return freed

        replaced(maps.RationalQuadratic, name, free)


def _bound_forgotten() -> None:
    for name, sign in (("forward", 1.0), ("inverse", -1.0)):

        def unbounded(old, sign=sign):
            return lambda self, x, raw: (old(self, x, raw)[0], sign * raw[..., 0])

        replaced(maps.Affine, name, unbounded)


def _weights_forgotten() -> None:
    def joint(self, z, context):
        parts = [part.log_prob(z, context if part.context else None) for part in self.components]
        return torch.stack(parts, -1) - torch.tensor(float(len(parts))).log()

    bases.Mixture._joint = joint


def _largest_for_sum() -> None:
    bases.Mixture.log_prob = lambda self, z, context=None: self._joint(z, context).amax(-1)


def _lump_weights_forgotten() -> None:
    def joint(old):
        def changed(self, z):
            flat = -torch.tensor(float(len(self.logits))).log()
            return old(self, z) - torch.log_softmax(self.logits, -1) + flat

        return changed

    replaced(bases.GaussianMixture, "_joint", joint)


def _whitening_transposed() -> None:
    replaced(bases.GaussianMixture, "_whitening", lambda old: lambda self: old(self).mT)


def _heights_dropped() -> None:
    def joint(old):
        return lambda self, z: old(self, z) - self.log_diagonal.sum(-1)

    replaced(bases.GaussianMixture, "_joint", joint)


# ---------------------------------------------------------------- Flow


def _of_flow(place: tuple) -> Iterator[Break]:
    combine = {
        "logdet halved": lambda base, logdet: base + 0.5 * logdet,
        "logdet's sign flipped": lambda base, logdet: base - logdet,
        "logdet dropped": lambda base, logdet: base + 0.0 * logdet,
        "logdet summed over the batch": lambda base, logdet: base + logdet.sum(),
        "base halved": lambda base, logdet: 0.5 * base + logdet,
        "a term too many": lambda base, logdet: base + logdet + 0.01,
        "fallen to float32": lambda base, logdet: (base + logdet).float(),
        "rounded to float32": lambda base, logdet: (base + logdet).float().to(base.dtype),
    }
    for name, change in combine.items():
        yield Break("Flow", name, functools.partial(_combined, change), *place)
    yield Break("Flow", "samples shifted", _samples_shifted, *place)
    yield Break("Flow", "the generator ignored", _generator_ignored, *place)
    yield Break("Flow", "the embedding skipped", _embedding_skipped, *place)
    yield Break("Flow", "states without the last step", _states_short, *place)
    yield Break("Flow", "a bound takes the mean", functools.partial(_exactness, "estimate"), *place)
    yield Break(
        "Flow", "an estimate taken for a bound", functools.partial(_exactness, "bound"), *place
    )


def _combined(change: Callable[[Tensor, Tensor], Tensor]) -> None:
    def log_prob(self, x, e):
        z, logdet = self.transform(x, e if self.transform.context else None)
        return change(self._base_log_prob(z, e), logdet)

    def drawn(self, n=(), context=None, *, generator=None):
        e = self._embedded("rsample_and_log_prob", context)
        x, z, logdet = self._generate(n, e, generator)
        return x, change(self._base_log_prob(z, e), -logdet)

    Flow._log_prob, Flow.rsample_and_log_prob = log_prob, drawn


def _samples_shifted() -> None:
    def generate(old):
        def generated(self, *args):
            x, z, logdet = old(self, *args)
            return x + 0.2, z, logdet

        return generated

    replaced(Flow, "_generate", generate)


def _generator_ignored() -> None:
    replaced(Flow, "_generate", lambda old: lambda self, n, e, generator: old(self, n, e, None))


def _embedding_skipped() -> None:
    def embedded(old):
        def skipped(self, method, context):
            embed, self.embed = self.embed, None
            try:
                return old(self, method, context)
            finally:
                self.embed = embed

        return skipped

    replaced(Flow, "_embedded", embedded)


def _states_short() -> None:
    replaced(Flow, "states", lambda old: lambda self, x, context=None: old(self, x, context)[:-1])


def _exactness(kind: str) -> None:
    old = Flow.exactness.fget
    Flow.exactness = property(lambda self: kind if old(self) != "exact" else "exact")
