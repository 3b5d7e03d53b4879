"""The contract every transform keeps, and the door every tensor passes."""

from __future__ import annotations

import abc
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from pushforward.errors import ContextError, InputTypeError, ShapeError
from pushforward.spec import Part
from pushforward.transforms.domains import Domain, Everywhere
from pushforward.transforms.domains.together import carried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pushforward.transforms.fused import Prepared, Taken

__all__ = ["EXACTNESS", "Retraced", "Transform", "current_generator", "drawing_from", "weakest"]

T = TypeVar("T", bound="Transform")

EXACTNESS = ("exact", "estimate", "bound")  # from the strongest statement to the weakest

_GENERATOR: ContextVar[torch.Generator | None] = ContextVar("pushforward_generator", default=None)


class Retraced(NamedTuple):
    """A direction taken back from where it ended, and then again with gradients.

    Attributes:
        start: what to differentiate in; its gradients are those of what the direction began with.
        at: what it began with.
        end: where it ends.
        logdet: of the direction.
    """

    start: Tensor
    at: Tensor
    end: Tensor
    logdet: Tensor


class Transform(Part, nn.Module):
    """Invertible differentiable map between data (x) and latent (z).

    ``forward`` takes data to latent, ``inverse`` latent to data; each returns the log absolute
    determinant of the Jacobian of the map it just applied. A new transform sets ``event_shape``
    (and ``context`` if it reads one) and writes ``_forward`` and ``_inverse``; these need check
    nothing, since ``forward`` and ``inverse`` have done so before.

    ``domain`` says where x may be, ``codomain`` where z then is: every z of it has an x. Outside,
    logdet is -inf, z is finite and nothing has a gradient.

    A stochastic transform returns its contribution in the place of logdet, declares
    ``exactness`` and draws from ``current_generator()``.

    Shapes:
        x: ``(*batch, *event_shape)``; z: ``(*batch, *latent_shape)``
        context: ``(*batch, context)``, broadcast to the batch of x; not read where ``context`` is 0
        logdet: ``(*batch,)``, nats, at least float32
    """

    event_shape: tuple[int, ...]
    context: int = 0
    exactness: str = "exact"
    ordered: bool = False  # what it leaves out of its influence is meant: an order, or a graph

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one z; that of one x unless a transform says otherwise."""
        return self.event_shape

    @property
    def domain(self) -> Domain:
        """Where x may be; everywhere unless a transform says otherwise."""
        return Everywhere(len(self.event_shape))

    @property
    def codomain(self) -> Domain:
        """Where z is; everywhere unless a transform says otherwise."""
        return Everywhere(len(self.latent_shape))

    def image(self, given: Domain) -> Domain:
        """Where z lies if x lies in a domain; ``PartOf`` where it is in some part of it only."""
        return carried(given, self.domain, self.codomain)

    def preimage(self, taken: Domain) -> Domain:
        """Where x must lie for z to lie in a domain; ``PartOf`` where no set is known that does."""
        return carried(taken, self.codomain, self.domain)

    @property
    def closed(self) -> tuple[bool, bool]:
        """Whether forward, and inverse, is one evaluation; False where it takes many or a search.

        ``Compose(memory="recompute")`` finds what a direction began with by the other one, if that
        is closed and undoes it.
        """
        return True, True

    @property
    def evaluations(self) -> int:
        """How often the last call asked for the right-hand side of an equation that it solved."""
        return 0

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Take data to latent: z and log |det dz/dx|."""
        return self._forward(x, self._admit("forward", "x", x, self.event_shape, context))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Take latent to data: x and log |det dx/dz|."""
        return self._inverse(z, self._admit("inverse", "z", z, self.latent_shape, context))

    @abc.abstractmethod
    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]: ...

    @abc.abstractmethod
    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]: ...

    def _in_a_row(
        self, method: str, x: Tensor, context: Tensor | None, retraced: bool = False
    ) -> Prepared | None:
        """``_forward`` or ``_inverse`` for a kernel that computes many steps in a row, if it can.

        What x is read for, such as its type and its shape, holds for all steps of the row.
        ``retraced``, x is where it ended, and the kernel finds out where it began.
        """
        return None

    def _scored(self, x: Tensor, context: Tensor | None, end: Taken) -> Tensor:
        """The logdet, and what a step gives for z in the place of a logdet, added up.

        A transform that knows how to take its steps and this one together overrides it.
        """
        logdet: Tensor
        z, logdet = self(x, context)
        return end.take(z, None)[1] + logdet

    def _retraced(self, method: str, end: Tensor, context: Tensor | None) -> Retraced:
        """Find what ``_forward`` or ``_inverse`` began with from its end, and take it again.

        A transform that can do both at less than the cost of both overrides this.
        """
        back = self._inverse if method == "_forward" else self._forward
        with torch.no_grad():
            at = back(end, context)[0]
        start = at.detach().requires_grad_()
        return Retraced(start, at, *getattr(self, method)(start, context))

    def fit(self: T, x: Tensor, context: Tensor | None = None) -> T:
        """Set what depends on data from ``(n, *event_shape)``; by default there is nothing."""
        return self

    def settle(self: T, x: Tensor, context: Tensor | None = None) -> T:
        """Set, after training, what must be of all training rows ``(n, *event_shape)``.

        By default there is nothing.
        """
        return self

    def steps(self) -> Iterator[tuple[str, Callable[..., tuple[Tensor, Tensor]]]]:
        """The named maps that are applied in turn, data first; by default only itself."""
        yield type(self).__name__, self.forward

    def influence(self) -> Tensor | None:
        """Which numbers of x can ever influence which of z, as booleans ``(z, x)``; None: all.

        By structure, not by the weights of the moment. Numbers of an event are counted as in
        ``flatten``.
        """
        return None

    def _admit(
        self, method: str, name: str, value: Tensor, want: tuple[int, ...], context: Tensor | None
    ) -> Tensor | None:
        """Check a tensor and its context; the context comes back with the batch of the tensor."""
        who = f"{type(self).__name__}.{method}"
        if not isinstance(value, Tensor):
            raise InputTypeError(
                f"{who}: {name} is a {type(value).__name__}, expected a tensor; "
                f"write torch.as_tensor({name})."
            )
        got = tuple(value.shape)
        split = len(got) - len(want)
        if split < 0 or got[split:] != want:
            raise ShapeError(f"{who}: {name} has shape {got}, expected {_batched(want)}.")
        if not value.is_floating_point():
            raise InputTypeError(
                f"{who}: {name} has dtype {value.dtype}, expected a floating one; "
                f"write {name}.float()."
            )
        if self.context == 0:
            return None
        return admit_context(who, name, got[:split], context, self.context)


def admit_context(
    who: str, name: str, batch: tuple[int, ...], context: Tensor | None, width: int
) -> Tensor:
    """Check a context and broadcast it to a batch."""
    want = _batched((width,))
    if context is None:
        raise ContextError(f"{who}: needs a context of shape {want}, got None.")
    if not isinstance(context, Tensor):
        raise InputTypeError(f"{who}: context is a {type(context).__name__}, expected a tensor.")
    if context.shape[-1:] != (width,):
        raise ShapeError(f"{who}: context has shape {tuple(context.shape)}, expected {want}.")
    ahead = tuple(context.shape[:-1])
    fits = len(ahead) <= len(batch) and all(
        a in (1, b) for a, b in zip(reversed(ahead), reversed(batch), strict=False)
    )
    if not fits:
        raise ShapeError(
            f"{who}: {name} has batch shape {batch} and context {ahead}; "
            f"the context must broadcast to the batch of {name}."
        )
    return context.expand(*batch, width)


def _batched(event: tuple[int, ...]) -> str:
    return "(" + ", ".join(["*batch", *map(str, event)]) + ")"


def weakest(*kinds: str) -> str:
    """The weakest of several statements of exactness."""
    return max(kinds, key=EXACTNESS.index, default="exact")


def current_generator() -> torch.Generator | None:
    """The generator that stochastic transforms draw from; None is torch's own."""
    return _GENERATOR.get()


@contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Let stochastic transforms draw from a generator for the length of a ``with`` block."""
    token = _GENERATOR.set(generator)
    try:
        yield
    finally:
        _GENERATOR.reset(token)
