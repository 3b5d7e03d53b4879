"""Maps and layers that have a kernel, and numbers to try them on."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pushforward import kernels, maps
from pushforward import transforms as T

needs_kernels = pytest.mark.skipif(not kernels.available(), reason="the kernels are not compiled")

BOX = 3.0


@dataclass(frozen=True)
class MapCase:
    """A map that has a kernel.

    Attributes:
        name: what the tests are called by.
        build: makes it.
        inverse: whether its inverse has a kernel, too.
    """

    name: str
    build: Callable[[], maps.Map]
    inverse: bool = True

    @property
    def directions(self) -> tuple[str, ...]:
        return ("forward", "inverse") if self.inverse else ("forward",)


def _spline(bins: int, tails: str) -> MapCase:
    return MapCase(
        f"spline-{tails}-{bins}",
        lambda: maps.RationalQuadratic(bins=bins, box=BOX, tails=tails),
    )


MAPS = [
    MapCase("affine", maps.Affine),
    MapCase("affine-narrow", lambda: maps.Affine(bound=0.5)),
    *(_spline(bins, tails) for bins in (1, 2, 8) for tails in ("linear", "identity")),
    *(_spline(bins, tails) for bins in (1, 8) for tails in ("circular", "none")),
    MapCase(
        "spline-unequal-minima",
        lambda: maps.RationalQuadratic(5, BOX, min_width=0.1, min_height=0.02, min_slope=0.3),
    ),
    MapCase("mixture-1", lambda: maps.LogisticMixture(1), inverse=False),
    MapCase("mixture-8", lambda: maps.LogisticMixture(8), inverse=False),
]
MAPS_AND_DIRECTIONS = [
    pytest.param(case, direction, id=f"{case.name}-{direction}")
    for case in MAPS
    for direction in case.directions
]


def plain_numbers(map: maps.Map, rows: int, spread: float, dtype=torch.float64):
    """Random numbers and parameters, in the box and far beyond it."""
    generator = torch.Generator().manual_seed(rows)
    x = 2.0 * torch.randn(rows, 3, generator=generator, dtype=torch.float64)
    raw = spread * torch.randn(rows, 3, map.raw_width, generator=generator, dtype=torch.float64)
    return x.to(dtype), raw.to(dtype)


def extreme_numbers(map: maps.Map, dtype=torch.float64):
    """At the ends of the box, beside them, at knots, at 0, subnormal, far out."""
    places = [0.0, -0.0, 1e-42, BOX, -BOX, 4.0, -4.0, 1e4, -1e4]
    beside = [
        float(torch.nextafter(torch.tensor(at, dtype=dtype), torch.tensor(to, dtype=dtype)))
        for at in (BOX, -BOX)
        for to in (0.0, 9.0 * at)
    ]
    knots = (torch.arange(1, 8, dtype=torch.float64) / 4 * BOX - BOX).tolist()
    x = torch.tensor([*places, *beside, *knots], dtype=torch.float64).to(dtype)
    x = x.repeat(12)[:, None].expand(-1, 3).contiguous()
    generator = torch.Generator().manual_seed(1)
    raw = torch.randn(len(x), 3, map.raw_width, generator=generator, dtype=torch.float64)
    size = torch.tensor([0.0, 0.3, 1.0, 2.0, 3.0, 0.0], dtype=torch.float64)
    return x, (raw * size.repeat_interleave(len(x) // 6)[:, None, None]).to(dtype)


@dataclass(frozen=True)
class LayerCase:
    """A coupling or an autoregression that runs in one kernel, or a row of steps that do.

    Attributes:
        name: what the tests are called by.
        build: context -> the transform, of seven features.
    """

    name: str
    build: Callable[[int], T.Transform]


FEATURES = 7


def _coupling(map: maps.Map, hidden=(19, 40), **options) -> Callable[[int], T.Transform]:
    keep = [True, False, False, True, False, True, False]
    return lambda context: T.Coupling(
        FEATURES, map=map, keep=keep, hidden=hidden, context=context, **options
    )


def _autoregressive(map: maps.Map, hidden=(19, 40), **options) -> Callable[[int], T.Transform]:
    return lambda context: T.Autoregressive(
        FEATURES,
        map=map,
        order=[3, 0, 6, 2, 1, 5, 4],
        hidden=hidden,
        context=context,
        **options,
    )


def _spline_map() -> maps.Map:
    return maps.RationalQuadratic(bins=5, box=BOX)


LAYERS = [
    LayerCase("coupling-spline", _coupling(_spline_map())),
    LayerCase("coupling-affine", _coupling(maps.Affine())),
    LayerCase("coupling-additive", _coupling(maps.Additive())),
    LayerCase("coupling-mixture", _coupling(maps.LogisticMixture(4))),
    LayerCase("coupling-tanh", _coupling(maps.Affine(), activation="tanh")),
    LayerCase("coupling-elu", _coupling(_spline_map(), activation="elu")),
    LayerCase("coupling-silu", _coupling(_spline_map(), activation="silu")),
    LayerCase("coupling-residual", _coupling(_spline_map(), hidden=(24, 24, 24), residual=True)),
    LayerCase(
        "coupling-residual-silu",
        _coupling(maps.Affine(), hidden=(24, 24), residual=True, activation="silu"),
    ),
    LayerCase(
        "autoregressive-residual",
        _autoregressive(_spline_map(), hidden=(24, 24, 24), residual=True, activation="tanh"),
    ),
    LayerCase("autoregressive-spline", _autoregressive(_spline_map())),
    LayerCase("autoregressive-affine", _autoregressive(maps.Affine())),
    LayerCase("autoregressive-linear", _autoregressive(maps.Affine(), hidden=())),
    LayerCase("autoregressive-silu", _autoregressive(_spline_map(), activation="silu")),
]


def _row(*builds: Callable[[int], T.Transform]) -> Callable[[int], T.Transform]:
    """Steps that a kernel takes together."""
    return lambda context: T.Compose(*(build(context) for build in builds))


def _without_context(build: Callable[[int], T.Transform]) -> Callable[[int], T.Transform]:
    return lambda context: build(0)


def _triangles(**options) -> Callable[[int], T.Transform]:
    return lambda context: T.LU(FEATURES, **options)


def _scaling(context: int) -> T.Transform:
    made = T.Standardize(FEATURES)
    made.mean.copy_(torch.linspace(-1.0, 2.0, FEATURES))
    made.scale.copy_(torch.linspace(0.5, 1.5, FEATURES))
    return made


ROWS = [
    LayerCase(
        "row-couplings",
        _row(
            _coupling(_spline_map()), _coupling(maps.Affine()), _coupling(maps.LogisticMixture(3))
        ),
    ),
    LayerCase(
        "row-triangles",
        _row(_triangles(), _triangles(shift=False), _triangles(), _coupling(maps.Additive())),
    ),
    LayerCase(
        "row-triangles-couplings",
        _row(
            _triangles(),
            _coupling(_spline_map()),
            _triangles(shift=False),
            _coupling(maps.Affine()),
        ),
    ),
    LayerCase(
        "row-some-with-context",
        _row(
            _without_context(_coupling(_spline_map(), activation="silu")),
            _coupling(maps.Affine()),
            _coupling(_spline_map(), hidden=(24, 24), residual=True),
            _without_context(_coupling(maps.Affine())),
        ),
    ),
    LayerCase(
        "row-autoregressions",
        _row(_autoregressive(_spline_map()), _triangles(), _autoregressive(maps.Affine())),
    ),
    LayerCase(
        "row-scalings",
        _row(_scaling, _coupling(_spline_map()), _scaling, _triangles()),
    ),
]
STEPS = [*LAYERS, *ROWS]


def layer(case: LayerCase, context: int, dtype=torch.float64, spread: float = 0.3) -> T.Transform:
    """A layer with random weights."""
    generator = torch.Generator().manual_seed(3)
    made = case.build(context).to(dtype)
    with torch.no_grad():
        for parameter in made.parameters():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(spread * drawn)
    return made


def rows(count: int, width: int, dtype=torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (1.5 * torch.randn(count, width, generator=generator, dtype=torch.float64)).to(dtype)
