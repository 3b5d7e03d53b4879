"""Breaks of the maps without a closed inverse."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Iterator
from types import FunctionType, ModuleType

from tests.breaking import Break

from pushforward import maps
from pushforward.maps import numeric
from pushforward.maps.sigmoidal import mixture
from pushforward.numerics.solvers import root_finding

CHANGES = {
    ("LogisticMixture", "weights forgotten"): ("log_softmax(logits,", "log_softmax(0.0 * logits,"),
    ("LogisticMixture", "the scale without logdet"): ("log_slope + scale.log()", "log_slope"),
    ("LogisticMixture", "scales for slopes"): ("(-log_scales)", "(log_scales)"),
    ("DeepSigmoidal", "weights forgotten"): ("log_softmax(logits,", "log_softmax(0.0 * logits,"),
    ("DeepSigmoidal", "the slope of the last layer alone"): ("rise * step", "step"),
    ("DeepSigmoidal", "all sigmoids begin equal"): ("- self.slopes * self.places", "+ 0.0"),
    ("DenseSigmoidal", "derivatives not mixed"): ("in (h, rise))", "in (h, h * 0 + 1))"),
    ("DenseSigmoidal", "the slope of the last layer alone"): ("(slope * rise)", "(slope)"),
    ("DenseSigmoidal", "no unit prefers its own"): ("+ self.own", "+ 0.0 * self.own"),
    ("Bernstein", "coefficients that fall"): ("functional.softplus(", "1.0 + ("),
    ("Bernstein", "binomials forgotten"): ("* self.choose_below", "* 1.0"),
    ("Bernstein", "tails without bound"): ("_TAIL * torch.tanh(", "_TAIL * ("),
    ("SumOfSquares", "cubes for squares"): (".square().sum(-2)", ".abs().pow(3).sum(-2)"),
    ("SumOfSquares", "coefficients without bound"): ("(_NORM + size)", "(_NORM + 1 + 0 * size)"),
    ("SumOfSquares", "one point too few"): ("weights).sum(-1)", "weights)[..., 1:].sum(-1)"),
    ("Integral", "the derivative of the quadrature"): ("end = t.detach()", "end = t"),
    ("Integral", "half of the last step"): ("gap * f_rest.mean(-1)", "gap * f_rest[..., 0]"),
}  # fmt: skip
NETWORK = {
    ("Integral", "weights without bound"): ("_WEIGHT * torch.tanh(weight / _WEIGHT)", "weight"),
    ("Integral", "slopes without bound"): ("_BOUND * torch.tanh(g / _BOUND)", "g"),
}
PLACES = {
    "LogisticMixture": "logistic-mixture",
    "DeepSigmoidal": "deep-sigmoidal",
    "DenseSigmoidal": "dense-sigmoidal",
    "Integral": "integral",
    "SumOfSquares": "sum-of-squares",
    "Bernstein": "bernstein",
}
LOGIT = {
    "the left side's slope on both": ("right = z > 0.0", "right = z > 1e9"),
    "sigmoids that saturate": ("logsigmoid(u)", "logsigmoid(u.clamp(-80, 80))"),
    "1 - S by subtraction": ("log_down = log_up - u", "log_down = (-log_up.exp()).log1p()"),
}  # fmt: skip


def breaks() -> Iterator[Break]:
    """Every one of them."""
    for changes, boxed, line in ((CHANGES, "on_box", "curve"), (NETWORK, "_network", "_network")):
        for (family, name), (old, new) in changes.items():
            cls = getattr(maps, family)
            method = boxed if boxed in vars(cls) else line
            yield _break(family, name, cls, method, old, new)
    for name, (old, new) in LOGIT.items():
        users = _users(mixture.logit_of_mixture)
        yield _break("DeepSigmoidal", name, mixture, "logit_of_mixture", old, new, users)
    for family in ("Integral", "SumOfSquares", "Bernstein"):
        line = functools.partial(_break, family, cls=numeric.BoxedNumericMap, method="curve")
        yield line(name="tails of slope 1", old="log_slope.exp()", new="1.0")
        yield line(name="tails that are missing", old="+ shift + tail", new="+ shift")
    yield _break(
        "LogisticMixture",
        "the solver clips at 10",
        root_finding,
        "increasing_root",
        "root = torch.where(done, root, torch.nan).detach()",
        "root = torch.where(done, root, torch.nan).detach().clamp(-10.0, 10.0)",
        [numeric],
    )


def _break(family, name, cls, method, old, new, users=()) -> Break:
    apply = functools.partial(_rewritten, cls, method, old, new, users)
    return Break(family, name, apply, ("tests/maps",), PLACES[family])


def _users(function: FunctionType) -> list[ModuleType]:
    """The modules that imported a function by its name."""
    modules = [inspect.getmodule(getattr(maps, family)) for family in PLACES]
    return [module for module in modules if hasattr(module, function.__name__)]


def _rewritten(owner, name: str, old: str, new: str, users) -> None:
    """Change a function's text, where it is defined and where it was imported."""
    function = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(function))
    if old not in source:
        raise LookupError(f"{name} no longer says {old!r}: find what to break")
    scope = dict(function.__globals__)
    exec("from __future__ import annotations\n" + source.replace(old, new), scope)
    for place in (owner, *users):
        setattr(place, name, scope[name])
