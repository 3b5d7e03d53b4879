"""One line a transform. A transform listed here gets every law of this folder."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pushforward import maps
from pushforward import transforms as T
from pushforward.networks import MLP, MixedEncoding
from pushforward.spec import Part
from pushforward.transforms.coupling import keeps

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
        sees_rows: whether rows see each other in training mode, as in batch normalization: the
            laws are then asked of it in evaluation.
        tangent: for events with more numbers than freedom: takes one x to a matrix, (numbers of x,
            numbers of z), whose columns are the directions in which x can move. Together they make
            the unit of volume that logdet counts by.
        adaptive: whether its steps depend on the numbers it gets, as those of an adaptive solver:
            it can then neither be compiled in one graph nor be mapped over with vmap.
        brief: makes the same of fewer steps, to be compiled: every one is a part of the graph.
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
    tangent: Callable[[Tensor], Tensor] | None = None
    brief: Callable[[int, int], T.Transform] | None = None

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


def _coupling_of_angles(features: int, context: int) -> T.Transform:
    return T.Coupling(
        features,
        map=maps.Affine(),
        keep=_keep(features),
        hidden=HIDDEN,
        context=context,
        periodic=[i % 3 > 0 for i in range(features)],
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


def _rotation(method: str) -> Callable[[int, int], T.Transform]:
    return lambda features, context: T.Orthogonal(
        features, method=method, context=context, hidden=HIDDEN
    )


def _given(features: int, context: int) -> T.Transform:
    """One more feature, which stays."""
    inner = _autoregressive(_spline())(features, 1 + context)
    return T.Given(1, inner, context=context)


def _given_embedded(features: int, context: int) -> T.Transform:
    """Two more features, which stay: a number and an angle."""
    embed = MixedEncoding([{"value": "number"}, {"value": "angle"}])
    inner = _autoregressive(maps.Affine())(features, embed.outputs + context)
    return T.Given(2, inner, embed, context=context)


def _low_rank(features: int, context: int) -> T.Transform:
    return T.LowRank(features, rank=min(2, features), context=context, hidden=HIDDEN)


def _convolution(**options: Any) -> Callable[[int, int], T.Transform]:
    return lambda features, _: T.Convolution1x1((features, 2, 1), **options)


def _sylvester(kind: str, less: int = 0) -> Callable[[int, int], T.Transform]:
    return lambda features, context: T.Sylvester(
        features, max(1, features - less), kind, context=context, hidden=HIDDEN
    )


def _rows(features: int) -> Tensor:
    """Data to fit: every column with a mean and a scale of its own."""
    rows = torch.randn(100, features, generator=torch.Generator().manual_seed(7))
    return rows * torch.linspace(0.8, 2.0, features) + torch.linspace(-1.0, 1.0, features)


def _other_network(features: int, context: int) -> T.Transform:
    network = partial(MLP, hidden=(8, 8), activation="tanh")
    return T.Coupling(features, map=maps.Affine(), network=network, context=context)


def _several(features: int, context: int, memory: str = "store") -> T.Transform:
    return T.Compose(
        T.Standardize(features).fit(_rows(features)),
        _coupling(_spline())(features, context),
        T.LU(features),
        T.Inverse(_autoregressive(maps.Affine())(features, context)),
        T.Compose(T.Reverse(features), _coupling(maps.Affine())(features, 0)),
        memory=memory,
    )


def _coupling_of_maps(features: int, context: int) -> T.Transform:
    return T.Coupling(
        features,
        map=_spline(),
        kept_map=_spline(),
        keep=_keep(features),
        hidden=HIDDEN,
        context=context,
    )


def _pixels(features: int, context: int) -> T.Transform:
    event = (features, 2, 2)
    keep = keeps.checkerboard(event)
    return T.Coupling(event, map=maps.Affine(), keep=keep, hidden=HIDDEN, context=context)


class Convolution(Part, nn.Conv2d):
    """A network of images that can be saved."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=3, padding=1)


def _image(features: int, context: int) -> T.Transform:
    event = (features, 2, 2)
    keep = keeps.checkerboard(event)
    return T.ImageCoupling(
        event, map=maps.Affine(), keep=keep, network=Convolution, context=context
    )


def _graph(features: int, context: int) -> T.Transform:
    """Two chains, of the even and of the odd features, that meet in the last one."""
    adjacency = torch.eye(features, dtype=torch.bool).roll(2, 0).tril()
    adjacency[-1] = True
    return T.Autoregressive(
        features, map=maps.Affine(), adjacency=adjacency, hidden=HIDDEN, context=context
    )


def _residual(features: int, context: int) -> T.Transform:
    order = [(i + 2) % features for i in range(features)]
    return T.Autoregressive(
        features,
        map=_spline(),
        order=order,
        hidden=(9, 9, 9),
        residual=True,
        activation="silu",
        context=context,
    )


def _block(features: int, context: int, hidden: tuple[int, ...] = (6, 4)) -> T.Transform:
    order = [(i + 1) % features for i in range(features)]
    return T.BlockAutoregressive(
        features, order=order, hidden=hidden, context=context, context_hidden=HIDDEN
    )


def _continuous(**options: Any) -> Callable[[int, int], T.Transform]:
    own = {} if "network" in options else {"hidden": HIDDEN}
    return lambda features, context: T.Continuous(
        features, context=context, trace="exact", **own, **options
    )


SMOOTH = partial(MLP, hidden=(8, 8), activation="tanh")  # differentiated by autograd
# A solver comes back to a few times its tolerance, 1e-10; or to what its steps leave over.
SOLVED: dict[str, Any] = {"double": 1e-8, "single": 1e-4}

FIXED: dict[str, Any] = {"conditional": False, "start": None}

# ---------------------------------------------------------------- between two supports


def _interval(low: float, high: float) -> Callable[[Tensor], Tensor]:
    """Any numbers to an interval; the largest to its ends, which do not belong to it."""
    return lambda t: low + (high - low) * torch.sigmoid(t)


def _lower(t: Tensor) -> Tensor:
    """Any numbers below 1.5: of (0, 1) in float32 the upper end has few digits."""
    return 1.5 - torch.nn.functional.softplus(1.5 - t)


def _lower_share(t: Tensor) -> Tensor:
    """Any numbers to (0, 0.93)."""
    return torch.special.ndtr(_lower(t))


def _unit(t: Tensor) -> Tensor:
    """Any numbers to a vector of length one; zeros to the first axis."""
    size = t.double() / t.double().abs().amax(-1, keepdim=True).clamp_min(1e-300)
    first = (torch.arange(t.shape[-1]) == 0).double()
    size = torch.where(size.abs().amax(-1, keepdim=True) > 0, size, first)
    return (size / size.norm(dim=-1, keepdim=True)).to(t.dtype)


def _shares(t: Tensor) -> Tensor:
    return torch.softmax(t.double(), -1).to(t.dtype)


def _angle_and_heights(t: Tensor) -> Tensor:
    return torch.tanh(t) * torch.tensor([3.1] + [0.95] * (t.shape[-1] - 1), dtype=t.dtype)


def _to_last(x: Tensor) -> Tensor:
    """Directions within the simplex that leave the last share to make up for the others."""
    return torch.cat((torch.eye(len(x) - 1), -torch.ones(1, len(x) - 1))).to(x)


def _orthonormal(x: Tensor) -> Tensor:
    """Directions along the sphere, at right angles and of length one."""
    return torch.linalg.svd(x[:, None]).U[:, 1:]


def _mixed(features: int, context: int) -> T.Transform:
    """Positive columns, then one in an interval; a single column may be anything."""
    if features == 1:
        return T.Columns(T.Diagonal(1))
    parts = [T.Log(features - 1), T.Logit(1, -1.0, 2.0)]
    return T.Columns(*parts)


def _mixed_data(t: Tensor) -> Tensor:
    if t.shape[-1] == 1:
        return t
    return torch.cat((t[..., :-1].clamp(max=80.0).exp(), _interval(-1.0, 2.0)(t[..., -1:])), -1)


POSITIVE = lambda t: t.clamp(max=80.0).exp()  # below the largest number of float32
LINES: dict[str, Any] = {"conditional": False, "start": None, "far": False}
# Numbers up to about 6 are rounded to 6e-8 of the interval where its slope is down to 1/400.
TO_END = 5e-5

SUPPORTS = [
    Case(
        "support-sigmoid",
        lambda n, _: T.Sigmoid(n),
        latent=_interval(0.0, 1.0),
        single=TO_END,
        **LINES,
    ),
    Case(
        "support-sigmoid-of-a-box",
        lambda n, _: T.Sigmoid(n, -torch.arange(1.0, n + 1), 3.0),
        latent=_interval(-0.9, 2.9),
        single=TO_END,
        **LINES,
    ),
    Case(
        "support-logit",
        lambda n, _: T.Logit(n, -1.0, 0.0),
        data=_interval(-1.0, 0.0),
        single=TO_END,
        **LINES,
    ),
    Case(
        "support-tanh",
        lambda n, _: T.Tanh(n),
        data=lambda t: 0.5 * t,
        latent=_interval(-1.0, 1.0),
        single=TO_END,
        **LINES,
    ),
    Case("support-asinh", lambda n, _: T.Asinh(n, scale=0.5), **LINES),
    Case("support-exp", lambda n, _: T.Exp(n), latent=POSITIVE, single=1e-4, **LINES),
    Case("support-log", lambda n, _: T.Log(n), data=POSITIVE, single=1e-4, **LINES),
    Case("support-softplus", lambda n, _: T.Softplus(n), latent=POSITIVE, single=1e-4, **LINES),
    Case(
        "support-normal-cdf",
        lambda n, _: T.NormalCDF(n),
        data=_lower,
        latent=_lower_share,
        **LINES,
    ),
    Case(
        "support-normal-quantile",
        lambda n, _: T.NormalQuantile(n),
        data=_lower_share,
        latent=_lower,
        **LINES,
    ),
    Case(
        "support-interval",
        lambda n, _: T.Interval(n, -torch.arange(1.0, n + 1), 3.0, 0.5, 2.0),
        data=_interval(-1.0, 3.0),
        latent=_interval(0.5, 2.0),
        **LINES,
    ),
    Case(
        "support-interp",
        lambda n, _: T.Interp(n, bins=8).fit(_rows(n)),
        data=_lower,
        latent=_lower_share,
        single=SPLINE,
        **LINES,
    ),
    Case(
        "support-simplex",
        lambda n, _: T.Simplex(n + 1),
        data=_shares,
        tangent=_to_last,
        **LINES,
    ),
    Case(
        "support-circle",
        lambda n, _: T.Circle(n),
        data=lambda t: 3.1 * torch.tanh(t),
        latent=lambda t: 3.1 * torch.tanh(t),
        **LINES,
    ),
    Case(
        "support-sphere",
        lambda n, _: T.Sphere(n + 1),
        data=_unit,
        latent=_angle_and_heights,
        tangent=_orthonormal,
        **LINES,
    ),
    Case("support-columns", _mixed, data=_mixed_data, single=1e-4, **LINES),
]

CASES = [
    Case("coupling-additive", _coupling(maps.Additive())),
    Case("coupling-affine", _coupling(maps.Affine())),
    Case("coupling-spline-linear", _coupling(_spline()), single=SPLINE),
    Case("coupling-spline-identity", _coupling(_spline("identity")), single=SPLINE),
    Case("coupling-other-network", _other_network),
    Case("coupling-kept-map", _coupling_of_maps, single=SPLINE),
    Case("coupling-pixels", _pixels),
    Case("coupling-image", _image),
    Case("autoregressive-affine", _autoregressive(maps.Affine())),
    Case("autoregressive-spline", _autoregressive(_spline(), turned=True), single=DEEP),
    Case("autoregressive-graph", _graph),
    Case("autoregressive-residual", _residual, single=DEEP),
    # A hundredth at most is added before training; each feature amplifies the rounding of those
    # before it.
    Case("coupling-of-angles", _coupling_of_angles),
    # What is added before training is at most 0.05; a feature amplifies the rounding of others.
    Case("block", _block, brief=partial(_block, hidden=(4,)), single=DEEP, start=0.1),
    Case("elementwise-affine", _elementwise(maps.Affine())),
    Case("elementwise-pareto", _elementwise(maps.GeneralizedPareto()), start=None),
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
    Case(
        "elementwise-sigmoidal",
        _elementwise(maps.DeepSigmoidal(units=3)),
        single=SPLINE,
        start=0.09,
    ),
    Case("elementwise-cubic", _elementwise(maps.Cubic(bins=5, box=BOX)), single=SPLINE),
    Case("coupling-sinh-arcsinh", _coupling(maps.SinhArcsinh())),
    Case("linear-diagonal", lambda n, _: T.Diagonal(n), conditional=False),
    Case("linear-lu", lambda n, _: T.LU(n), conditional=False),
    Case("linear-lu-context", lambda n, c: T.LU(n, context=c, hidden=HIDDEN)),
    Case("linear-lu-unshifted", lambda n, _: T.LU(n, shift=False), conditional=False),
    Case("linear-orthogonal", lambda n, _: T.Orthogonal(n), conditional=False),
    Case("linear-orthogonal-context", lambda n, c: T.Orthogonal(n, context=c, hidden=HIDDEN)),
    Case("linear-orthogonal-cayley", _rotation("cayley")),
    Case("linear-orthogonal-householder", _rotation("householder")),
    Case(
        "linear-orthogonal-three-reflections",
        lambda n, _: T.Orthogonal(n, method="householder", reflections=3),
        conditional=False,
    ),
    Case("linear-qr", lambda n, c: T.QR(n, context=c, hidden=HIDDEN)),
    Case("linear-svd", lambda n, c: T.SVD(n, context=c, hidden=HIDDEN)),
    Case("linear-low-rank", _low_rank),
    Case("linear-convolution", _convolution(), conditional=False),
    Case("linear-convolution-seed", _convolution(seed=1), **FIXED),
    Case("linear-convolution-lu", _convolution(lu=True), conditional=False),
    Case("linear-convolution-lu-seed", _convolution(lu=True, seed=1), **FIXED),
    Case("linear-batch-norm", lambda n, _: T.BatchNorm(n).fit(_rows(n)), sees_rows=True, **FIXED),
    Case("linear-permutation", lambda n, _: T.Permutation(n, seed=3), **FIXED),
    Case("linear-reverse", lambda n, _: T.Reverse(n), **FIXED),
    Case("linear-standardize", lambda n, _: T.Standardize(n).fit(_rows(n)), **FIXED),
    Case("linear-actnorm", lambda n, _: T.ActNorm(n).fit(_rows(n)), **FIXED),
    Case("residual-planar", lambda n, c: T.Planar(n, context=c, hidden=HIDDEN)),
    Case("residual-radial", lambda n, c: T.Radial(n, context=c, hidden=HIDDEN)),
    Case("residual-sylvester-orthogonal", _sylvester("orthogonal")),
    Case("residual-sylvester-householder", _sylvester("householder", less=1)),
    Case("residual-sylvester-triangular", _sylvester("triangular", less=1)),
    Case("residual-contractive", lambda n, c: T.Contractive(n, context=c, hidden=(16, 16))),
    Case("given", _given, single=SPLINE),
    Case("given-embedded", _given_embedded, double=1e-10),
    Case("compose", _several, single=DEEP, start=None),
    Case("compose-recompute", partial(_several, memory="recompute"), single=DEEP, start=None),
    Case("inverse-autoregressive", lambda n, c: T.Inverse(_autoregressive(maps.Affine())(n, c))),
    Case(
        "inverse-coupling-spline", lambda n, c: T.Inverse(_coupling(_spline())(n, c)), single=SPLINE
    ),
    Case("continuous", _continuous(), adaptive=True, **SOLVED),
    Case("continuous-steps", _continuous(steps=10), brief=_continuous(steps=1), **SOLVED),
    Case(
        "continuous-steps-other-network",
        _continuous(steps=10, network=SMOOTH),
        brief=_continuous(steps=1, network=SMOOTH),
        **SOLVED,
    ),
    Case("inverse-lu", lambda n, _: T.Inverse(T.LU(n)), conditional=False),
    *SUPPORTS,
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
    return transform.eval() if case.sees_rows else transform


def scatter(module: nn.Module, spread: float, seed: int = 2) -> None:
    """Draw every parameter anew; of a wide matrix smaller ones, so that what it gives is alike."""
    generator = torch.Generator().manual_seed(seed)
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
    seed: int = 3,
) -> tuple[Tensor, Tensor | None]:
    """Points that a direction takes, where it is invertible, and the context for them."""
    generator = torch.Generator().manual_seed(seed)
    event = transform.event_shape if direction == "forward" else transform.latent_shape
    shape = (*batch, *event)
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * 1.5
    if case.outside != "line":  # there is nothing, or the same again, beyond the box
        x = torch.rand(shape, generator=generator, dtype=torch.float64) * (1.98 * BOX) - 0.99 * BOX
    x = case.end(direction)(x)
    c = torch.randn((*batch, transform.context), generator=generator, dtype=torch.float64)
    return x.to(dtype), (c.to(dtype) if transform.context else None)
