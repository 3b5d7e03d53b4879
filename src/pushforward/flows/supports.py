"""Whether a base has its mass where a transform has its latents, and data where it has its x."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pushforward.bases import as_base
from pushforward.errors import ArgumentError, DataError
from pushforward.transforms.base import Transform
from pushforward.transforms.domains import Angles, Box, Domain, PartOf

__all__ = ["base_for", "origin", "refuse_lost_mass", "refuse_outside", "refuse_rows"]

_SHOWN = 8  # numbers of a row that a message shows


def base_for(transform: Transform, base: Any) -> Any:
    """A base as it is; a distribution of PyTorch wrapped, in the precision of the transform."""
    made = as_base(base)
    numbers = (t for t in transform.state_dict().values() if t.is_floating_point())
    dtype = next((t.dtype for t in numbers), None)
    return made if made is base or dtype is None else made.to(dtype)


def _support(base: nn.Module) -> Domain | None:
    """Where a base has mass, if it says so."""
    return getattr(base, "support", None)


def origin(transform: Transform, base: nn.Module) -> Domain | None:
    """Where a transform takes x to where a base has mass; None where that is not known."""
    support = _support(base)
    found = None if support is None else transform.preimage(support)
    return None if isinstance(found, PartOf) else found


def refuse_lost_mass(transform: Transform, base: nn.Module) -> None:
    """Refuse a base with mass that no x maps to: the density would integrate to less than one."""
    support, before = _support(base), origin(transform, base)
    if support is None:
        return
    reached = transform.codomain if before is None else transform.image(before)
    if support.within(reached) and support.thin is reached.thin:
        return
    such = ", such as bases.Uniform" if isinstance(reached, Box) else ""
    if isinstance(reached, Angles):
        half = 0.5 * reached.period
        such = f", such as bases.Uniform({transform.latent_shape[0]}, {-half:g}, {half:g})"
    raise ArgumentError(
        f"Flow: the base, {type(base).__name__}, has mass on {support}, the transform reaches "
        f"{reached}, so that the density would not integrate to one; take a base within that"
        f"{such}, or end the transform with a step that gives {support}."
    )


def refuse_outside(who: str, domain: Domain, x: Tensor) -> None:
    """Refuse data that has no density: training on it would only ever see -inf."""
    refuse_rows(who, domain, x, domain.outside(x))


def refuse_rows(
    who: str,
    domain: Domain,
    x: Tensor,
    outside: Tensor,
    place: Callable[[int], str] | None = None,
) -> None:
    """Refuse rows that were found to lie outside a domain.

    Args:
        who: whose argument they are, e.g. ``"fit: data"``.
        domain: where they should lie.
        x: the rows.
        outside: which of them do not, ``(n,)``.
        place: of rows of a batch, what the caller calls the one with this number.
    """
    count = int(outside.sum())
    if count == 0:
        return
    row = int(outside.nonzero()[0, 0])
    numbers = ", ".join(map(str, x[row].flatten()[:_SHOWN].tolist()))
    more = ", …" if x[row].numel() > _SHOWN else ""
    some = f"{count} of {len(x)} rows{' of a batch' if place else ''}"
    raise DataError(
        f"{who}: {some} {'has' if count == 1 else 'have'} no density, the first is "
        f"{place(row) if place else f'row {row}'}, [{numbers}{more}]; expected {domain}. Leave "
        f"{'it' if count == 1 else 'them'} out, or begin the flow with a transform that takes "
        f"{'it' if count == 1 else 'them'}."
    )
