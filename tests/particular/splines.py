"""What the closed maps of one number can get wrong, most of it consistently in both directions."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Iterator
from types import ModuleType

from tests.breaking import Break, replaced

from pushforward import maps
from pushforward.maps import power, sinh_arcsinh
from pushforward.maps.splines import (
    cubic,
    linear,
    linear_rational,
    quadratic,
    rational_quadratic,
    spline,
)

# family, name, where, function, what it says, what it says instead
EDITS = (
    (
        *("LinearRational", "the midpoint in the middle", linear_rational, "LinearRational._knots"),
        *("torch.sigmoid(raw[..., -k:])", "0.5 + 0.0 * raw[..., -k:]"),
    ),
    (
        *("LinearRational", "a square dropped", linear_rational, "LinearRational._rise"),
        *(".square()", ""),
    ),
    (
        *("LinearRational", "the slope of the other end", linear_rational, "_side"),
        *("(left, b.slope, b.next_slope)", "(left, b.next_slope, b.slope)"),
    ),
    (
        *("LinearRational", "an arithmetic mean of slopes", linear_rational, "_side"),
        *("(b.slope.sqrt() * b.next_slope.sqrt())", "(0.5 * (b.slope + b.next_slope))"),
    ),
    (
        *("LinearRational", "reckoned from the far end", linear_rational, "LinearRational._run"),
        *("near = from_middle < from_end", "near = from_middle < 0.0"),
    ),
    (
        *("RationalQuadratic", "a gradient lost to a rounding", rational_quadratic),
        *("RationalQuadratic._run", "xi = closed(xi - gap / torch.maximum(steep, least))"),
        "xi = (xi - gap / torch.maximum(steep, least)).clamp(0.0, 1.0)",
    ),
    (
        *("RationalQuadratic", "the ends counted twice", spline, "Spline._enter"),
        *(
            "torch.where(x == at, 0.0, x - at)",
            "(x - self.high).clamp(min=0.0) + (x - self.low).clamp(max=0.0)",
        ),
    ),
    (
        *("Cubic", "the outer slopes exchanged", spline, "Spline._leave"),
        *(
            "(over > 0, slopes[..., -1], slopes[..., 0])",
            "(over < 0, slopes[..., -1], slopes[..., 0])",
        ),
    ),
    ("Linear", "the least height forgotten", linear, "Linear._knots", "+ self.min_height", ""),
    (
        *("Linear", "tails without a slope", linear, "Linear._knots"),
        *('self.tails == "linear"', "False"),
    ),
    (
        *("Quadratic", "slopes that do not fill the box", quadratic, "_dealt"),
        *("torch.softmax(free + feet.log(), -1) / feet", "torch.exp(free)"),
    ),
    (
        *("Quadratic", "feet forgotten", quadratic, "_dealt"),
        *("torch.softmax(free + feet.log(), -1)", "torch.softmax(free, -1)"),
    ),
    (
        *("Quadratic", "ends scaled with the others", quadratic, "Quadratic._scaled"),
        *(
            "return torch.cat((left, inner, right), -1)",
            "return torch.cat((left, inner, left), -1)",
        ),
    ),
    (
        *("Quadratic", "root from the steep end", quadratic, "Quadratic._run"),
        *("b.next_slope < b.slope", "b.next_slope > b.slope"),
    ),
    (
        *("Cubic", "Steffen's limit forgotten", cubic, "_steffen"),
        *("torch.minimum(parabola, 2.0 * torch.minimum(before, after))", "parabola"),
    ),
    (
        *("Cubic", "no room beside the tails", cubic, "Cubic._beside"),
        *("torch.maximum(third, least[..., :2])", "least[..., :2]"),
    ),
    ("Cubic", "no Newton step", cubic, "Cubic._run", "range(2)", "range(0)"),
    ("Cubic", "one Newton step", cubic, "Cubic._run", "range(2)", "range(1)"),
    (
        *("Cubic", "another root of three", cubic, "_root"),
        *("torch.cos(angle / 3.0)", "torch.cos((angle + 2.0 * torch.pi) / 3.0)"),
    ),
    (
        *("SinhArcsinh", "the skew after the power", sinh_arcsinh, "SinhArcsinh.forward"),
        *("(far + skew) * log_power.exp()", "far * log_power.exp() + skew"),
    ),
    (
        *("SinhArcsinh", "a power without bound", sinh_arcsinh, "SinhArcsinh._read"),
        *("most * torch.tanh(raw[..., 3] / most)", "raw[..., 3]"),
    ),
    (
        *("SinhArcsinh", "log cosh by the size", sinh_arcsinh, "_log_cosh"),
        *("v + functional.softplus(-2.0 * v", "v.abs() + functional.softplus(-2.0 * v.abs()"),
    ),
    (
        *("YeoJohnson", "one power for both sides", power, "YeoJohnson._power"),
        *("torch.where(right, away, -away)", "away"),
    ),
    (
        *("YeoJohnson", "a size without a slope at 0", power, "YeoJohnson.forward"),
        *("torch.where(right, t, -t).log1p()", "t.abs().log1p()"),
    ),
    (
        *("YeoJohnson", "a power without bound", power, "YeoJohnson._power"),
        *("self.reach * torch.tanh(raw[..., 2] / self.reach)", "raw[..., 2]"),
    ),
)
KEYS = {
    "RationalQuadratic": "spline",
    "LinearRational": "linear-rational",
    "Linear": "piecewise-linear",
    "Quadratic": "piecewise-quadratic",
    "Cubic": "cubic",
    "SinhArcsinh": "sinh-arcsinh",
    "YeoJohnson": "yeo-johnson",
}


def breaks() -> Iterator[Break]:
    """Of each class its own, and of all splines what they share."""
    for family, name, module, where, old, new in EDITS:
        edit = functools.partial(_edited, module, where, old, new)
        yield Break(family, name, edit, ("tests/maps",), KEYS[family])
    shared = (("tests/maps",), "cubic")
    yield Break("Cubic", "the seam of another slope", _torn, *shared)
    yield Break("Cubic", "a box not closed", _not_clamped, *shared)


def _edited(module: ModuleType, where: str, old: str, new: str) -> None:
    """Replace a piece of the source of a function, or of a method of a class."""
    *owners, name = where.split(".")
    owner = functools.reduce(getattr, owners, module)
    function = inspect.getattr_static(owner, name)
    static = isinstance(function, staticmethod)
    source = textwrap.dedent(inspect.getsource(function.__func__ if static else function))
    if source.count(old) != 1:
        raise LookupError(f"{where} no longer says {old!r} once: this list must follow")
    source = source.replace("@staticmethod\n", "").replace(old, new)
    scope = vars(module)
    kept = scope.get(name)
    exec("from __future__ import annotations\n" + source, scope)
    made = scope.pop(name) if kept is None or owners else scope[name]
    if owners:
        setattr(owner, name, staticmethod(made) if static else made)


def _torn() -> None:
    def find(old):
        return lambda self, *args: old(self, *args)._replace(next_slope=old(self, *args).slope)

    replaced(maps.Cubic, "_find", find)


def _not_clamped() -> None:
    def enter(old):
        def entered(self, x):
            return (x - self.low) / (self.high - self.low), old(self, x)[1]

        return entered

    replaced(maps.Cubic, "_enter", enter)
