"""A public self-test: does this flow keep the laws that every flow keeps?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import ArgumentError, InputTypeError, SpecError
from pushforward.flows.arrays import as_tensor
from pushforward.flows.flow import Flow
from pushforward.transforms.base import admit_context
from pushforward.transforms.domains import Angles, Domain
from pushforward.transforms.domains.together import groups

__all__ = ["CheckReport", "Finding", "check"]

_ROWS = 256  # rows that a law looks at
_JACOBIAN_ROWS = 16
_DRAWN = 4096  # samples that show where the mass is
_JACOBIAN_FEATURES = 256  # beyond it a full Jacobian is left out, and the report says so


@dataclass(frozen=True)
class Finding:
    """One law and how it fared.

    Attributes:
        law: what was checked.
        passed: True, False, or None if it could not be checked.
        value: the largest error found, or the integral.
        limit: what was allowed.
        where: where the largest error was, or why the law was not checked.
    """

    law: str
    passed: bool | None
    value: float
    limit: float
    where: str


@dataclass(frozen=True)
class CheckReport:
    """What ``pf.check`` found; printing it gives a table.

    Attributes:
        findings: one for each law.
    """

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether no law was broken."""
        return all(finding.passed is not False for finding in self.findings)

    def to_frame(self) -> Any:
        """The findings as a polars frame."""
        import polars

        return polars.DataFrame([vars(finding) for finding in self.findings])

    def __str__(self) -> str:
        words = {True: "pass", False: "FAIL", None: "-"}
        rows = [
            (f.law, words[f.passed], f"{f.value:.3g}", f"{f.limit:.3g}", f.where)
            for f in self.findings
        ]
        rows.insert(0, ("law", "", "found", "allowed", "where"))
        wide = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, wide, strict=True)) for row in rows]
        return "\n".join(line.rstrip() for line in lines)


def check(
    flow: Flow, x: Any = None, context: Any = None, *, seed: int = 0, show: bool = True
) -> CheckReport:
    """Test a flow against the laws of a density, and print what was found.

    Round trips both ways, logdet against autograd's Jacobian, ``sample_and_log_prob`` against
    ``log_prob``, the integral of the density (one and two features), gradients inside and far
    outside the data, dtype, and equality after save and load. The flow is left as it was.

    Args:
        flow: the flow, trained or not.
        x: rows to test on; by default samples of the flow.
        context: contexts of those rows; needed if the flow reads one.
        seed: seed of the draws.
        show: whether to print the report.

    Raises:
        InputTypeError: not a flow.
        ArgumentError: ``x`` holds no rows.
        ShapeError, ContextError: ``x`` or ``context`` is nothing that ``log_prob`` takes.

    Example:
        >>> import pushforward as pf
        >>> pf.check(pf.flows.realnvp(2, seed=0), show=False).passed
        True
    """
    if not isinstance(flow, Flow):
        raise InputTypeError(f"pf.check: got a {type(flow).__name__}, expected a Flow.")
    modes = [(module, module.training) for module in flow.modules()]
    flow.eval()
    try:
        generator = torch.Generator(flow.device).manual_seed(seed)
        data, e = _points(flow, x, context, generator)
        laws = (_round_trips, _jacobian, _pairs, _integral, _gradients, _dtype, _saved)
        found = tuple(item for law in laws for item in law(flow, data, e, generator))
    finally:
        for module, mode in modes:  # each its own: an embedding may be frozen in another mode
            module.training = mode
    report = CheckReport(found)
    if show:
        print(report)
    return report


_Law = Callable[[Flow, Tensor, "Tensor | None", torch.Generator], Iterator[Finding]]


def _points(
    flow: Flow, x: Any, context: Any, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """At most 256 rows and their contexts, paired as ``log_prob`` pairs them."""
    data = None if x is None else flow._data("log_prob", x)
    with torch.no_grad():
        e = flow._embedded("log_prob", context)
        if data is not None:
            flow.transform._admit("forward", "x", data, flow.event_shape, e)
    batch = (_ROWS,) if data is None else data.shape[: data.ndim - len(flow.event_shape)]
    c = None
    if e is not None:
        ahead = e.shape[:-1]  # what one context looks like is the embedding's business
        batch = ahead if data is None and ahead else batch
        admit_context("Flow.log_prob", "x", batch, e, flow.context)
        c = as_tensor("Flow.log_prob", "context", context, flow.dtype, flow.device)
        one = c.shape[len(ahead) :]
        c = c.expand(*batch, *one).reshape(-1, *one)[:_ROWS]
    if data is None:
        return flow.sample((_ROWS,) if c is None else (), c, generator=generator), c
    if not math.prod(batch):
        raise ArgumentError("pf.check: x holds no rows, expected at least one.")
    return data.reshape(-1, *flow.event_shape)[:_ROWS], c


def _largest(law: str, error: Tensor, limit: float, note: str = "") -> Finding:
    """The finding for a table of errors, one row an event."""
    flat = error.detach().double().reshape(len(error), -1).amax(-1)
    flat = torch.where(flat.isfinite(), flat, torch.full_like(flat, math.inf))
    worst = int(flat.argmax())
    value = float(flat[worst])
    return Finding(law, value <= limit, value, limit, f"row {worst}{note}")


def _tolerance(flow: Flow) -> float:
    return 1e-7 if flow.dtype == torch.float64 else 1e-3


def _round_trips(
    flow: Flow, x: Tensor, c: Tensor | None, generator: torch.Generator
) -> Iterator[Finding]:
    limit = _tolerance(flow)
    with torch.no_grad():
        back = flow.decode(flow.encode(x, c), c)
        off = flow.transform.domain.difference(back, x)  # of angles there are many names
        yield _largest("x -> z -> x", off.abs() / (1.0 + x.abs()), limit)
        z = flow.base.rsample(len(x), generator=generator) if not flow.base.context else None
        if z is not None:
            there = flow.encode(flow.decode(z, c), c)
            off = flow.transform.codomain.difference(there, z)
            yield _largest("z -> x -> z", off.abs() / (1.0 + z.abs()), limit)


def _jacobian(
    flow: Flow, x: Tensor, c: Tensor | None, generator: torch.Generator
) -> Iterator[Finding]:
    law = "logdet is autograd's"
    size = x[0].numel()
    if flow.exactness != "exact" or size > _JACOBIAN_FEATURES:
        why = f"{size} features" if flow.exactness == "exact" else f"logdet is an {flow.exactness}"
        yield Finding(law, None, math.nan, math.nan, why)
        return
    errors = []
    for i in range(min(_JACOBIAN_ROWS, len(x))):
        e = None if c is None else flow._embedded("check", c[i])

        def encode(row: Tensor, e: Tensor | None = e) -> Tensor:
            return flow.transform(row, e)[0]  # type: ignore[no-any-return]

        found = torch.autograd.functional.jacobian(encode, x[i]).reshape(-1, size)  # type: ignore[no-untyped-call]
        # a simplex or a sphere has fewer directions than numbers
        found = found.double() @ flow.transform.domain.tangent(x[i].double())
        with torch.no_grad():
            z = encode(x[i]).double()
        found = torch.linalg.pinv(flow.transform.codomain.tangent(z)) @ found
        want = torch.linalg.slogdet(found).logabsdet
        with torch.no_grad():
            errors.append((flow.transform(x[i], e)[1].double() - want).abs().reshape(1))
    yield _largest(law, torch.stack(errors), _tolerance(flow) * math.sqrt(size))


def _pairs(
    flow: Flow, x: Tensor, c: Tensor | None, generator: torch.Generator
) -> Iterator[Finding]:
    law = "sample_and_log_prob is log_prob"
    if flow.exactness != "exact":  # two draws of the noise would be compared
        yield Finding(law, None, math.nan, math.nan, f"logdet is an {flow.exactness}")
        return
    n = (_ROWS,) if c is None else ()
    drawn, log_p = flow.sample_and_log_prob(n, c, generator=generator)
    with torch.no_grad():
        again = flow.log_prob(drawn, c)
    limit = _tolerance(flow) * 10.0
    yield _largest(law, (again - log_p).abs() / (1.0 + log_p.abs()), limit)


def _integral(
    flow: Flow, x: Tensor, c: Tensor | None, generator: torch.Generator
) -> Iterator[Finding]:
    law = "density integrates to 1"
    domain, within = flow.transform.domain, None
    if not domain.solid:
        within = _one_period(domain, math.prod(flow.event_shape))
        if within is None:
            yield Finding(law, None, math.nan, math.nan, f"on {domain}")
            return
    if len(flow.event_shape) != 1 or flow.event_shape[0] > 2 or flow.exactness != "exact":
        yield Finding(law, None, math.nan, math.nan, f"events of shape {flow.event_shape}")
        return
    from pushforward.numerics.quadrature import integrate_density

    context = None if c is None else c[0]

    def log_prob(points: Tensor) -> Tensor:
        with torch.no_grad():
            return flow.log_prob(points, context)

    drawn = flow.sample(_DRAWN, context, generator=generator)
    value, error = integrate_density(log_prob, drawn, within)
    limit = max(1e-2, 4.0 * error)
    where = f"quadrature over {'one period' if within else 'the range of the samples'}"
    yield Finding(law, abs(value - 1.0) <= limit, value, 1.0, f"{where}, ± {limit:.1g}")


def _one_period(domain: Domain, features: int) -> tuple[Tensor, Tensor] | None:
    """Ends of one period for angles, of the line for others: the density is one over those.

    None where there is no such box, as on a sphere.
    """
    found = groups(domain, features)
    if not all(isinstance(part, Angles) or part.solid for part, _ in found):
        return None
    half = torch.tensor(
        [part.period / 2.0 if isinstance(part, Angles) else math.inf for part, _ in found]
    )
    return -half, half


def _gradients(
    flow: Flow, x: Tensor, c: Tensor | None, generator: torch.Generator
) -> Iterator[Finding]:
    places = {"at the data": x, "10 spreads out": _away(x, 10.0), "1e6 spreads out": _away(x, 1e6)}
    trained = [p for p in flow.parameters() if p.requires_grad]
    for name, points in places.items():
        at = points.clone().requires_grad_()
        log_p = flow.log_prob(at, c)
        ok = log_p.isfinite()
        total = torch.where(ok, log_p, 0.0).sum()
        grads: tuple[Tensor | None, ...] = ()
        if total.requires_grad:  # a uniform density of a permutation depends on nothing
            grads = torch.autograd.grad(total, [at, *trained], allow_unused=True)
        odd = sum(int((~g.isfinite()).sum()) for g in grads if g is not None)
        nan = int(log_p.isnan().sum())
        bad = float(odd + nan)
        yield Finding(f"finite gradients {name}", bad == 0, bad, 0.0, "numbers that are not finite")


def _away(x: Tensor, spreads: float) -> Tensor:
    centre = x.mean(0)
    spread = x.std(0, correction=0)
    spread = torch.where(spread > 0.0, spread, 1.0)  # of a single row, of equal rows
    return centre + spreads * spread * torch.where(x >= centre, 1.0, -1.0)


def _dtype(
    flow: Flow, x: Tensor, c: Tensor | None, generator: torch.Generator
) -> Iterator[Finding]:
    with torch.no_grad():
        kinds = {flow.log_prob(x, c).dtype, flow.encode(x, c).dtype}
    same = kinds == {flow.dtype}
    names = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
    yield Finding("dtype is kept", same, float(not same), 0.0, names)


def _saved(
    flow: Flow, x: Tensor, c: Tensor | None, generator: torch.Generator
) -> Iterator[Finding]:
    import tempfile

    from pushforward.flows.saving import _parts, load, save

    law = "save and load give the same flow"
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "flow.safetensors"
        try:
            save(flow, path)
        except SpecError as error:
            yield Finding(law, False, math.nan, 0.0, str(error))
            return
        again = load(path, classes={type(part) for part in _parts(flow)}, device=flow.device)
        same = [torch.Generator(flow.device).manual_seed(0) for _ in range(2)]
        one, other = (
            f.log_prob(x, c, generator=g) for f, g in zip((flow, again), same, strict=True)
        )
        gap = (other - one).abs()
        gap = torch.where(gap.isnan(), torch.zeros_like(gap), gap)  # -inf minus -inf
    yield _largest(law, gap, 0.0)
