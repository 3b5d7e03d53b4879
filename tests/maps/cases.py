"""One line a map. A map listed here gets every law of this folder."""

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
            little apart.
    """

    name: str
    build: Callable[[], maps.Map]
    outside: str = "line"
    double: float = 1e-12
    single: float = 3e-5
    ends: tuple[float, ...] = ()
    start: float = 1e-12


def _spline(**options) -> Callable[[], maps.Map]:
    return lambda: maps.RationalQuadratic(**{"bins": 8, "box": BOX, **options})


def _fitted() -> maps.Map:
    x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(5))
    return maps.RationalQuadratic(bins=8).bind(1).fit(x)


_ENDS = (-BOX, BOX)
_SPLINE = {"double": 1e-11, "single": 1e-3, "ends": _ENDS}  # 30 roundings, slopes down to 1/100

CASES = [
    Case("affine", maps.Affine),
    Case("affine-bounded", lambda: maps.Affine(bound=0.5)),
    Case("additive", maps.Additive),
    Case("gated", maps.Gated),
    Case("gated-half-open", lambda: maps.Gated(offset=0.0)),
    Case("spline-linear", _spline(), **_SPLINE),
    Case("spline-linear-one-bin", _spline(bins=1), **_SPLINE),
    Case("spline-linear-32-bins", _spline(bins=32), **_SPLINE),
    Case("spline-identity", _spline(tails="identity"), **_SPLINE),
    Case("spline-identity-one-bin", _spline(tails="identity", bins=1), **_SPLINE),
    Case("spline-circular", _spline(tails="circular"), outside="circle", **_SPLINE),
    Case("spline-circular-one-bin", _spline(tails="circular", bins=1), outside="circle", **_SPLINE),
    Case("spline-none", _spline(tails="none"), outside="nothing", **_SPLINE),
    Case("spline-none-one-bin", _spline(tails="none", bins=1), outside="nothing", **_SPLINE),
    Case("spline-fitted", _fitted, double=1e-11, single=1e-3),
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
