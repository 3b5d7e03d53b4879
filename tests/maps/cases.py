"""One line a map. A map listed here gets every law of this folder."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward import maps

BOX = 3.5


@dataclass(frozen=True)
class Case:
    """A map and what may be asked of it.

    Attributes:
        name: what the tests are called by.
        build: makes the map.
        outside: beyond ``[-BOX, BOX]`` it goes on along a ``line``, round a ``circle``, or there is
            ``nothing``.
        double: largest error of a round trip in float64, for slopes between 1/30 and 30.
        single: the same in float32.
        ends: where its formula changes: value and slope must go on there.
        start: how far raw = 0 is from the identity, in z and in the log-derivative. Where all
            terms of a sum would be equal at the identity, and so would stay equal, they begin a
            little apart. None where the family holds no identity.
        smooth: whether its slope has no jumps.
        fixed: whether raw has nothing to choose: one bin with both end slopes held at 1.
    """

    name: str
    build: Callable[[], maps.Map]
    outside: str = "line"
    double: float = 1e-12
    single: float = 3e-5
    ends: tuple[float, ...] = ()
    start: float | None = 1e-12
    smooth: bool = True
    fixed: bool = False


def _spline(cls: type[maps.Map] = maps.RationalQuadratic, **options) -> Callable[[], maps.Map]:
    return lambda: cls(**{"bins": 8, "box": BOX, **options})


def _fitted() -> maps.Map:
    x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(5))
    return maps.RationalQuadratic(bins=8).bind(1).fit(x)


_ENDS = (-BOX, BOX)
_SPLINE = {"double": 1e-11, "single": 1e-3, "ends": _ENDS}  # 30 roundings, slopes down to 1/100
_FLAT = {"single": 3e-4, "ends": _ENDS}  # a few roundings, slopes down to 1/100
_OUTSIDE = {"linear": "line", "identity": "line", "circular": "circle", "none": "nothing"}


def _splines(name: str, cls: type[maps.Map], **facts) -> list[Case]:
    """A spline with every kind of tails."""
    return [
        Case(
            f"{name}-{tails}", _spline(cls, tails=tails), **{**_SPLINE, "outside": outside, **facts}
        )
        for tails, outside in _OUTSIDE.items()
    ]


def _one_bin(name: str, cls: type[maps.Map], *fixed: str) -> list[Case]:
    """The same with one bin; with some tails it has nothing left to choose."""
    return [
        dataclasses.replace(
            case,
            name=f"{case.name}-one-bin",
            build=_spline(cls, tails=tails, bins=1),
            fixed=tails in fixed,
        )
        for tails, case in zip(_OUTSIDE, _splines(name, cls), strict=True)
    ]


CASES = [
    Case("affine", maps.Affine),
    Case("affine-bounded", lambda: maps.Affine(bound=0.5)),
    Case("additive", maps.Additive),
    Case("gated", maps.Gated),
    Case("gated-half-open", lambda: maps.Gated(offset=0.0)),
    # slopes to 1/5000: exp(-l r) for tails l to 0.6 at numbers far down a steep side
    Case("pareto", maps.GeneralizedPareto, start=None),
    Case("pareto-heavy", lambda: maps.GeneralizedPareto(tail=0.5), start=None),
    Case("spline-linear", _spline(), **_SPLINE),
    Case("spline-linear-one-bin", _spline(bins=1), **_SPLINE),
    Case("spline-linear-32-bins", _spline(bins=32), **_SPLINE),
    Case("spline-identity", _spline(tails="identity"), **_SPLINE),
    Case("spline-identity-one-bin", _spline(tails="identity", bins=1), **_SPLINE, fixed=True),
    Case("spline-circular", _spline(tails="circular"), outside="circle", **_SPLINE),
    Case("spline-circular-one-bin", _spline(tails="circular", bins=1), outside="circle", **_SPLINE),
    Case("spline-none", _spline(tails="none"), outside="nothing", **_SPLINE),
    Case("spline-none-one-bin", _spline(tails="none", bins=1), outside="nothing", **_SPLINE),
    Case("spline-fitted", _fitted, double=1e-11, single=1e-3),
    Case("logistic-mixture", maps.LogisticMixture, start=0.04),
    Case("logistic-mixture-one", lambda: maps.LogisticMixture(components=1)),
    Case("deep-sigmoidal", maps.DeepSigmoidal, start=0.04),
    Case("deep-sigmoidal-layers", lambda: maps.DeepSigmoidal(units=4, layers=2), start=0.14),
    Case("dense-sigmoidal", maps.DenseSigmoidal, start=0.13),
    Case("dense-sigmoidal-layers", lambda: maps.DenseSigmoidal(units=2, layers=3), start=0.2),
    Case("integral", lambda: maps.Integral(box=BOX), ends=_ENDS),
    Case("sum-of-squares", lambda: maps.SumOfSquares(box=BOX), start=0.1, **_FLAT),
    Case("sum-of-squares-one", lambda: maps.SumOfSquares(1, degree=2, box=BOX), **_FLAT),
    Case("bernstein", lambda: maps.Bernstein(box=BOX), ends=_ENDS),
    Case("bernstein-line", lambda: maps.Bernstein(degree=1, box=BOX), ends=_ENDS),
    *_splines("linear-rational", maps.LinearRational),
    *_one_bin("linear-rational", maps.LinearRational, "identity"),
    *_splines("piecewise-linear", maps.Linear, smooth=False),
    *_splines("piecewise-quadratic", maps.Quadratic),
    *_one_bin("piecewise-quadratic", maps.Quadratic, "identity", "circular"),
    *_splines("cubic", maps.Cubic),
    *_one_bin("cubic", maps.Cubic, "identity", "circular"),
    Case("sinh-arcsinh", maps.SinhArcsinh, double=1e-11),
    Case("sinh-arcsinh-narrow", lambda: maps.SinhArcsinh(power=1.2, bound=0.5)),
    Case("yeo-johnson", maps.YeoJohnson),
    Case("yeo-johnson-narrow", lambda: maps.YeoJohnson(reach=0.3, bound=1.0)),
]


def raws(
    map: maps.Map, rows: int, spread: float = 0.7, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Parameters for ``rows`` numbers, away from zero, where the map is the identity."""
    generator = torch.Generator().manual_seed(11)
    shape = (rows, 1, map.raw_width)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * spread).to(dtype)


def numbers(case: Case, rows: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers where the map is invertible, ``(rows, 1)``, evenly spaced and in no order."""
    reach = 6.0 if case.outside == "line" else 0.999 * BOX
    line = torch.linspace(-reach, reach, rows, dtype=torch.float64)
    return line[torch.randperm(rows, generator=torch.Generator().manual_seed(12)), None].to(dtype)
