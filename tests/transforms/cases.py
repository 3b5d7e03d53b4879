"""One line a transform. A transform listed here gets every law of this folder."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pushforward import maps
from pushforward import transforms as T
from pushforward.networks import MLP

BOX = 3.5
HIDDEN = (16,)
SPLINE = 3e-4  # 30 operations, slopes down to 1/100
DEEP = 2e-3  # each step amplifies the rounding of those before by its own slopes


def _anywhere(numbers: Tensor) -> Tensor:
    return numbers


@dataclass(frozen=True)
class Case:
    """A transform and what may be asked of it.

    Attributes:
        name: what the tests are called by.
        build: (features, context) -> the transform; it may leave the context unread.
        conditional: whether it reads a context.
        outside: beyond ``[-BOX, BOX]`` it goes on along a ``line``, round a ``circle``, or there is
            ``nothing``: the density is zero.
        double: largest error of a round trip in float64. Every inverse here is closed: about a
            hundred roundings of 1e-16, amplified by slopes up to about 100.
        single: the same in float32, whose rounding is 6e-8: for a few operations on numbers
            below 10 in the default, for a spline in ``SPLINE``, for several steps in ``DEEP``.
        start: how far it is from the identity before training; None where it is no identity:
            fitted to data, reordering, or between two supports.
        data: takes any numbers ``(*batch, *event_shape)`` to where x may be; by default everywhere.
        latent: takes any numbers ``(*batch, *latent_shape)`` to where z may be.
        reach: the largest x, and z, in size, at which everything is finite in float32.
        far: whether a row a million away comes back.
        sees_rows: whether rows see each other in training mode, as in batch normalization.
        adaptive: whether its steps depend on the numbers it gets, as those of an adaptive solver:
            it can then neither be compiled in one graph nor be mapped over with vmap.
    """

    name: str
    build: Callable[[int, int], T.Transform]
    conditional: bool = True
    outside: str = "line"
    double: float = 1e-11
    single: float = 1e-5
    start: float | None = 1e-12
    data: Callable[[Tensor], Tensor] = _anywhere
    latent: Callable[[Tensor], Tensor] = _anywhere
    reach: float = 1e6
    far: bool = True
    sees_rows: bool = False
    adaptive: bool = False

    def end(self, direction: str) -> Callable[[Tensor], Tensor]:
        """Where the numbers may be that a direction takes."""
        return self.data if direction == "forward" else self.latent


def _keep(features: int) -> list[bool]:
    """Every other feature, ending with one that moves: 7 features have four that move."""
    return [(features - i) % 2 == 0 for i in range(features)]


def _coupling(map: maps.Map) -> Callable[[int, int], T.Transform]:
    return lambda features, context: T.Coupling(
        features, map=map, keep=_keep(features), hidden=HIDDEN, context=context
    )


def _autoregressive(map: maps.Map, turned: bool = False) -> Callable[[int, int], T.Transform]:
    return lambda features, context: T.Autoregressive(
        features,
        map=map,
        order=list(reversed(range(features))) if turned else None,
        hidden=HIDDEN,
        context=context,
    )


def _elementwise(map: maps.Map) -> Callable[[int, int], T.Transform]:
    return lambda features, context: T.Elementwise(
        features, map=map, context=context, hidden=HIDDEN
    )


def _spline(tails: str = "linear") -> maps.Map:
    return maps.RationalQuadratic(bins=5, box=BOX, tails=tails)


def _rows(features: int) -> Tensor:
    """Data to fit: every column with a mean and a scale of its own."""
    rows = torch.randn(100, features, generator=torch.Generator().manual_seed(7))
    return rows * torch.linspace(0.8, 2.0, features) + torch.linspace(-1.0, 1.0, features)


def _other_network(features: int, context: int) -> T.Transform:
    network = partial(MLP, hidden=(8, 8), activation="tanh")
    return T.Coupling(features, map=maps.Affine(), network=network, context=context)


def _several(features: int, context: int) -> T.Transform:
    return T.Compose(
        T.Standardize(features).fit(_rows(features)),
        _coupling(_spline())(features, context),
        T.LU(features),
        T.Inverse(_autoregressive(maps.Affine())(features, context)),
        T.Compose(T.Reverse(features), _coupling(maps.Affine())(features, 0)),
    )


FIXED: dict[str, Any] = {"conditional": False, "start": None}

CASES = [
    Case("coupling-additive", _coupling(maps.Additive())),
    Case("coupling-affine", _coupling(maps.Affine())),
    Case("coupling-spline-linear", _coupling(_spline()), single=SPLINE),
    Case("coupling-spline-identity", _coupling(_spline("identity")), single=SPLINE),
    Case("coupling-other-network", _other_network),
    Case("autoregressive-affine", _autoregressive(maps.Affine())),
    Case("autoregressive-spline", _autoregressive(_spline(), turned=True), single=DEEP),
    Case("elementwise-affine", _elementwise(maps.Affine())),
    Case("elementwise-spline-linear", _elementwise(_spline()), single=SPLINE),
    Case("elementwise-spline-identity", _elementwise(_spline("identity")), single=SPLINE),
    Case(
        "elementwise-spline-circular",
        _elementwise(_spline("circular")),
        outside="circle",
        single=SPLINE,
    ),
    Case(
        "elementwise-spline-none", _elementwise(_spline("none")), outside="nothing", single=SPLINE
    ),
    Case("linear-diagonal", lambda n, _: T.Diagonal(n), conditional=False),
    Case("linear-lu", lambda n, _: T.LU(n), conditional=False),
    Case("linear-lu-unshifted", lambda n, _: T.LU(n, shift=False), conditional=False),
    Case("linear-orthogonal", lambda n, _: T.Orthogonal(n), conditional=False),
    Case("linear-permutation", lambda n, _: T.Permutation(n, seed=3), **FIXED),
    Case("linear-reverse", lambda n, _: T.Reverse(n), **FIXED),
    Case("linear-standardize", lambda n, _: T.Standardize(n).fit(_rows(n)), **FIXED),
    Case("linear-actnorm", lambda n, _: T.ActNorm(n).fit(_rows(n)), **FIXED),
    Case("compose", _several, single=DEEP, start=None),
    Case("inverse-autoregressive", lambda n, c: T.Inverse(_autoregressive(maps.Affine())(n, c))),
    Case(
        "inverse-coupling-spline", lambda n, c: T.Inverse(_coupling(_spline())(n, c)), single=SPLINE
    ),
    Case("inverse-lu", lambda n, _: T.Inverse(T.LU(n)), conditional=False),
]


def made(
    case: Case,
    features: int = 3,
    context: int = 0,
    dtype: torch.dtype = torch.float64,
    spread: float = 0.4,
) -> T.Transform:
    """The transform, its parameters drawn away from the identity, where every law holds.

    A spread of 0.4 gives slopes between about 1/30 and 30: far from the identity, and still so
    well conditioned that a round trip in float32 keeps three digits and more.
    """
    torch.manual_seed(1)
    transform = case.build(features, context if case.conditional else 0).to(dtype)
    scatter(transform, spread)
    return transform


def scatter(module: nn.Module, spread: float) -> None:
    """Draw every parameter anew; of a wide matrix smaller ones, so that what it gives is alike."""
    generator = torch.Generator().manual_seed(2)
    for parameter in module.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        width = parameter.shape[-1] if parameter.ndim == 2 else 1
        parameter.data.copy_(noise * spread / max(1.0, width / 4.0) ** 0.5)


def points(
    case: Case,
    transform: T.Transform,
    batch: tuple[int, ...] = (4,),
    dtype: torch.dtype = torch.float64,
    direction: str = "forward",
) -> tuple[Tensor, Tensor | None]:
    """Points that a direction takes, where it is invertible, and the context for them."""
    generator = torch.Generator().manual_seed(3)
    event = transform.event_shape if direction == "forward" else transform.latent_shape
    shape = (*batch, *event)
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * 1.5
    if case.outside != "line":  # there is nothing, or the same again, beyond the box
        x = torch.rand(shape, generator=generator, dtype=torch.float64) * (1.98 * BOX) - 0.99 * BOX
    x = case.end(direction)(x)
    c = torch.randn((*batch, transform.context), generator=generator, dtype=torch.float64)
    return x.to(dtype), (c.to(dtype) if transform.context else None)
