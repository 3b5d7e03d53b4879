"""One line a recipe. A recipe listed here gets every law of this folder."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from tests.transforms.cases import scatter
from torch import Tensor

from pushforward import Flow, bases, flows, maps
from pushforward import transforms as T

SMALL = {"layers": 2, "hidden": (16,), "seed": 0}


def small(name: str) -> dict:
    """Arguments of a small flow by its recipe's name, without a context."""
    unread = flows.find(name).of_context
    return {key: value for key, value in SMALL.items() if key not in unread}


@dataclass(frozen=True)
class Case:
    """A flow and what may be asked of it.

    Attributes:
        name: what the tests are called by.
        build: (features, context) -> the flow, small.
        double: largest error of a round trip or of a density in float64.
        start: how far a fitted flow is from a diagonal normal density before training, in nats a
            row and feature; None if it begins as something else.
        spread: of the weights that it is tested with; less where a cubic stretches the tails so
            far that a grid over them has cells wider than what is in the middle.
        points: along each side of the grid over a plane that its density is added up on.
    """

    name: str
    build: Callable[[int, int], Flow]
    double: float = 1e-9
    start: float | None = 1e-4
    spread: float = 0.25
    points: int = 501


def _on_students_t(features: int, context: int) -> Flow:
    base = bases.StudentT(features, df=8.0)
    return flows.coupling(features, context, map=maps.Affine(), base=base, **SMALL)


def _on_a_mixture(features: int, context: int) -> Flow:
    base = bases.Mixture(bases.Normal(features, -1.5), bases.Normal(features, 1.5, 0.7))
    return flows.realnvp(features, context, base=base, **SMALL)


def _on_a_flow(features: int, context: int) -> Flow:
    return flows.nsf(features, context, base=flows.maf(features, **SMALL), **SMALL)


def _on_a_distribution(features: int, context: int) -> Flow:
    base = torch.distributions.Laplace(torch.zeros(features), torch.ones(features))
    return flows.maf(features, context, base=base, **SMALL)


def _of_angles(features: int, context: int) -> Flow:
    """Numbers of any size laid on a circle, once round."""
    start = T.Compose(T.Standardize(features), T.Sigmoid(features, -math.pi, math.pi))
    return flows.ncsf(features, context, start=start, **SMALL)


def _by_hand(features: int, context: int) -> Flow:
    transform = T.Compose(
        T.ActNorm(features),
        T.Orthogonal(features),
        T.Coupling(features, map=maps.RationalQuadratic(bins=4), hidden=(16,), context=context),
        T.Permutation(features),
        T.Inverse(T.Autoregressive(features, map=maps.Affine(), hidden=(16,), context=context)),
    )
    return Flow(transform, bases.Normal(features))


CASES = [
    Case("nice", lambda n, c: flows.nice(n, c, **SMALL)),
    Case("realnvp", lambda n, c: flows.realnvp(n, c, **SMALL)),
    Case("maf", lambda n, c: flows.maf(n, c, **SMALL)),
    Case("iaf", lambda n, c: flows.iaf(n, c, **SMALL)),
    Case("nsf", lambda n, c: flows.nsf(n, c, bins=5, **SMALL)),
    Case("nsf-autoregressive", lambda n, c: flows.nsf(n, c, autoregressive=True, **SMALL)),
    Case("coupling", lambda n, c: flows.coupling(n, c, start="actnorm", mix="none", **SMALL)),
    Case("autoregressive", lambda n, c: flows.autoregressive(n, c, map=maps.Affine(), **SMALL)),
    Case("iaf-gated", lambda n, c: flows.iaf(n, c, gated=True, **SMALL)),
    Case("made", lambda n, c: flows.made(n, c, hidden=(16,), seed=0)),
    Case(
        "made-mixture",
        lambda n, c: flows.made(n, c, components=3, hidden=(16,), seed=0),
        start=None,
    ),
    Case("naf", lambda n, c: flows.naf(n, c, **SMALL), start=0.3),
    Case("umnn", lambda n, c: flows.umnn(n, c, **SMALL)),
    Case("sospf", lambda n, c: flows.sospf(n, c, **SMALL), start=0.3, spread=0.1),
    Case("bernstein", lambda n, c: flows.bernstein(n, c, **SMALL)),
    Case("bernstein-sampling", lambda n, c: flows.bernstein(n, c, direction="sampling", **SMALL)),
    Case("bnaf", lambda n, c: flows.bnaf(n, c, **SMALL), start=0.3),
    Case("flowpp", lambda n, c: flows.flowpp(n, c, **SMALL), start=None),
    Case("planar", lambda n, c: flows.planar(n, c, layers=2, seed=0)),
    Case("radial", lambda n, c: flows.radial(n, c, layers=2, seed=0)),
    Case("sylvester", lambda n, c: flows.sylvester(n, c, layers=2, seed=0)),
    Case("residual", lambda n, c: flows.residual(n, c, **SMALL), double=1e-8),
    Case(
        "ffjord",
        lambda n, c: flows.ffjord(n, c, steps=12, trace="exact", **SMALL),
        double=1e-6,
        points=201,
    ),
    Case("mixture_nsf", lambda n, c: flows.mixture_nsf(n, c, components=3, **SMALL), start=None),
    Case("heavy_tailed", lambda n, c: flows.heavy_tailed(n, c, **SMALL), start=None),
    # A number far out lies beside the seam, where its sigmoid has few digits left.
    Case("ncsf", _of_angles, start=None, double=1e-5),
    Case("base-student-t", _on_students_t, start=None),
    Case("base-mixture", _on_a_mixture, start=None),
    Case("base-flow", _on_a_flow),
    Case("base-distribution", _on_a_distribution, start=None),
    Case("by-hand", _by_hand),
]


def made(
    case: Case,
    features: int = 3,
    context: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Flow:
    """The flow, fitted to rows and then its weights drawn away from the identity."""
    torch.manual_seed(1)
    flow = case.build(features, context).to(dtype)
    flow.fit(rows(64, features), contexts(64, context))
    bases_own = {id(p) for p in flow.base.parameters()}
    kept = {name: p.clone() for name, p in flow.named_parameters() if id(p) in bases_own}
    scatter(flow, case.spread)
    if not isinstance(flow.base, Flow):  # a drawn number of degrees of freedom is another tail
        for name, parameter in flow.named_parameters():
            if name in kept:
                parameter.data.copy_(kept[name])
    return flow.eval()


def rows(n: int, features: int) -> Tensor:
    """Rows with means and scales of their own."""
    noise = torch.randn(n, features, generator=torch.Generator().manual_seed(4))
    return (noise * torch.linspace(0.5, 2.0, features) + torch.linspace(-3, 5, features)).double()


def contexts(n: int, context: int) -> Tensor | None:
    """Contexts far from standard, or none."""
    if context == 0:
        return None
    noise = torch.randn(n, context, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    return noise * 10.0 + 5.0
