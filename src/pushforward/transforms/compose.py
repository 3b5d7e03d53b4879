"""Transforms in a row, and a transform turned round."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError, InputTypeError, ShapeError
from pushforward.kernels.originals import Methods, altered
from pushforward.numerics.dependence import chained, turned
from pushforward.numerics.subset import some_of
from pushforward.transforms.base import Transform, weakest
from pushforward.transforms.domains import Domain, Everywhere
from pushforward.transforms.in_turn import in_turn
from pushforward.transforms.misfits import back_through, refuse_misfits, through
from pushforward.transforms.pushing import in_evaluation, of_each_row, push
from pushforward.transforms.recompute import recomputed
from pushforward.transforms.replay import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pushforward.transforms.fused import Taken

__all__ = ["Compose", "Inverse", "in_a_row"]

_OTHER = {"_forward": "_inverse", "_inverse": "_forward"}
_PROBE = 256  # rows that tell whether `fit` made another map
_SAMPLE = 1 << 17  # rows that the steps behind the first are fitted on, at most


class Compose(Transform):
    """Apply transforms one after the other; the first touches the data first.

    Args:
        *transforms: the steps, data end first. Each takes what the one before gives.
        memory: ``store`` keeps the activations of all steps for the backward pass. ``recompute``
            makes them again there, step by step, with the same gradients: memory is that of one
            step, or of a few that are small, and of at most 16 states, however many there are.

    Shapes:
        x: ``(*batch, *event_shape)`` of the first step; z: ``(*batch, *latent_shape)`` of the last
        logdet: ``(*batch,)``, the sum over the steps

    Raises:
        ArgumentError: no transform at all, or a step that takes some only of the numbers that the
            step before gives, such as ``Logit`` behind ``Standardize``; or ``memory`` is unknown.
        ShapeError: a step does not take what the step before gives, or contexts differ in width.

    Cost: the sum of the steps'; with ``recompute`` a training step calls each step once
        more, and its inverse, and takes 1.4 to 1.7 times as long; with a few rows up to four times.

    Source: recompute: Gomez et al. 2017, arXiv:1707.04585; Chen et al. 2016, arXiv:1604.06174

    Example:
        >>> from pushforward.transforms import Reverse
        >>> both = Compose(Reverse(3), Reverse(3))
        >>> z, logdet = both(torch.tensor([1.0, 2.0, 3.0]))
        >>> z, logdet
        (tensor([1., 2., 3.]), tensor(0.))
    """

    def __init__(self, *transforms: Transform, memory: str = "store") -> None:
        super().__init__()
        if memory not in ("store", "recompute"):
            raise ArgumentError(f"Compose: memory is {memory!r}, expected 'store' or 'recompute'.")
        if not transforms:
            raise ArgumentError("Compose: got no transform, expected at least one.")
        for step in transforms:
            if not isinstance(step, Transform):
                raise InputTypeError(
                    f"Compose: got a {type(step).__name__}, expected transforms; "
                    f"write Compose(a, b) rather than Compose([a, b])."
                )
        for before, after in pairwise(transforms):
            if before.latent_shape != after.event_shape:
                raise ShapeError(
                    f"Compose: {type(before).__name__} gives {before.latent_shape}, the next step, "
                    f"{type(after).__name__}, takes {after.event_shape}."
                )
        refuse_misfits(transforms)
        self.context = common_context("Compose", transforms)
        self.transforms = nn.ModuleList(transforms)
        self.memory = memory
        self.event_shape = transforms[0].event_shape
        self.exactness = weakest(*(step.exactness for step in transforms))

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one z, that of the last step."""
        return self._all()[-1].latent_shape

    @property
    def domain(self) -> Domain:
        """Where x may be, for each step to have something."""
        *before, last = self._all()
        return back_through(before, last.domain)

    @property
    def codomain(self) -> Domain:
        """Where z is: the codomain of the last step, or a part of it if a step is not filled."""
        first, *behind = self._all()
        return through(behind, first.codomain)

    def image(self, given: Domain) -> Domain:
        """Where the last step takes what the steps before it make of a domain."""
        return through(self._all(), given)

    def preimage(self, taken: Domain) -> Domain:
        """Where the first step must begin for the last to end in a domain."""
        return back_through(self._all(), taken)

    def _all(self) -> list[Transform]:
        return list(self.transforms)  # type: ignore[arg-type]

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._run("_forward", x, context)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._run("_inverse", z, context)

    def _scored(self, x: Tensor, context: Tensor | None, end: Taken) -> Tensor:
        if self.memory == "recompute" or torch.compiler.is_compiling():
            return super()._scored(x, context, end)
        if altered(self) or not _COMPOSE.are_those_of(self):
            return super()._scored(x, context, end)
        context = self._admit("forward", "x", x, self.event_shape, context)
        return in_turn([*self._plain_steps("_forward", self.memory), end], x, context)[1]

    def _run(self, method: str, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Apply steps in turn. Shapes were checked at the door and at construction."""
        take = recomputed if self.memory == "recompute" else in_turn
        return take(self._plain_steps(method, self.memory), x, context)

    def _plain_steps(self, method: str, memory: str) -> list[Step]:
        """What a direction takes, each with its own direction, in a flow of this memory."""
        parts = self._all() if method == "_forward" else self._all()[::-1]
        if torch.compiler.is_compiling():  # which sees through them by itself
            return [Step(part, method) for part in parts]
        return [step for part in parts for step in _taken(part, method, memory)]

    def extra_repr(self) -> str:
        """Where activations are not stored."""
        return "" if self.memory == "store" else f"memory={self.memory!r}"

    def fit(self, x: Tensor, context: Tensor | None = None) -> Compose:
        """Fit each step on the output of the steps before it.

        The first step sees all rows, those behind it an even sample of at most 131 072: pushing a
        million rows through every layer would cost more than it tells.
        """
        _fit_in_turn(self._all(), x, context)
        return self

    def settle(self, x: Tensor, context: Tensor | None = None) -> Compose:
        """Settle each step on what the settled steps before it give, in evaluation, of all rows."""
        _settle_in_turn(self._all(), x, context)
        return self

    @property
    def closed(self) -> tuple[bool, bool]:
        """Whether every step is, forward and inverse."""
        forward, inverse = zip(*(step.closed for step in self._all()), strict=True)
        return all(forward), all(inverse)

    @property
    def evaluations(self) -> int:
        """The sum of the steps'."""
        return sum(step.evaluations for step in self._all())

    def steps(self) -> Iterator[tuple[str, Callable[..., tuple[Tensor, Tensor]]]]:
        """The named steps, data first."""
        for i, step in enumerate(self._all()):
            for name, apply in step.steps():
                yield f"{i}.{name}", apply

    def influence(self) -> Tensor | None:
        """What gets through all steps."""
        return chained(step.influence() for step in self._all())


class Inverse(Transform):
    """The same transform with its two directions exchanged.

    Args:
        transform: what is turned round. The ``Inverse`` of a MAF is an IAF.

    Shapes:
        x: ``(*batch, *latent_shape)`` of the transform; z: ``(*batch, *event_shape)`` of it

    Raises:
        InputTypeError: what is given is no transform.

    Cost: forward costs what the transform's inverse costs, and the other way round.

    Source: none

    Example:
        >>> from pushforward.transforms import Diagonal
        >>> z, logdet = Inverse(Diagonal(2))(torch.ones(2))
        >>> logdet.detach()
        tensor(-0.)
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        if not isinstance(transform, Transform):
            raise InputTypeError(
                f"Inverse: got a {type(transform).__name__}, expected a transform; of a map, write "
                f"Inverse(Elementwise(features, map=map))."
            )
        self.transform = transform
        self.event_shape = transform.latent_shape
        self.context = transform.context
        self.exactness = transform.exactness

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one z, that of the transform's data."""
        return self.transform.event_shape

    @property
    def domain(self) -> Domain:
        """Where x may be: the transform's codomain."""
        return self.transform.codomain

    @property
    def codomain(self) -> Domain:
        """Where z is: the transform's domain."""
        return self.transform.domain

    def image(self, given: Domain) -> Domain:
        """What the transform has to take to end in a domain."""
        return self.transform.preimage(given)

    def preimage(self, taken: Domain) -> Domain:
        """Where the transform ends if it begins in a domain."""
        return self.transform.image(taken)

    def fit(self, x: Tensor, context: Tensor | None = None) -> Inverse:
        """Fit what leaves the transform the map it is, such as the boxes of splines at the start.

        What would make it another map, such as a scaling, is left alone: fitted on this side, it
        would do the opposite of what it is for. Of several steps each is fitted by itself.
        """
        inner = self.transform
        if isinstance(inner, Compose | Inverse):
            _fit_in_turn(in_a_row(self), x, context)
            return self
        same = inner.latent_shape == inner.event_shape
        if not (_looks_at_data(inner) and same and isinstance(inner.domain, Everywhere)):
            return self
        before = {k: v.clone() for k, v in self.transform.state_dict().items()}
        some = x[:_PROBE]
        e = None if context is None else context[:_PROBE]
        with torch.no_grad(), in_evaluation(self.transform):
            was = self.transform(some, e)
            self.transform.fit(x, context)
            now = self.transform(some, e)
        if not all(torch.allclose(a, b, atol=1e-4) for a, b in zip(was, now, strict=True)):
            self.transform.load_state_dict(before)
        return self

    def settle(self, x: Tensor, context: Tensor | None = None) -> Inverse:
        """Settle what is turned round twice, and so looks at rows in its own direction.

        What is turned round once never did: it had nothing but the fixed numbers it was left with.
        """
        if isinstance(self.transform, Compose | Inverse):
            _settle_in_turn(in_a_row(self), x, context)
        return self

    @property
    def closed(self) -> tuple[bool, bool]:
        """The transform's, the other way round."""
        forward, inverse = self.transform.closed
        return inverse, forward

    @property
    def evaluations(self) -> int:
        """The transform's."""
        return self.transform.evaluations

    def influence(self) -> Tensor | None:
        """What the transform's latents reach on the way back, step by step if it has several."""
        if isinstance(self.transform, Compose | Inverse):
            return chained(step.influence() for step in in_a_row(self))
        pattern = self.transform.influence()
        return None if pattern is None else turned(pattern)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.transform._inverse(x, context)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.transform._forward(z, context)


_COMPOSE = Methods(Compose, "forward", "_forward", "_inverse", "_run")
_INVERSE = Methods(Inverse, "_forward", "_inverse")


def in_a_row(transform: Transform) -> list[Transform]:
    """The steps that a transform takes one after the other, each a plain one or one turned round.

    Example:
        >>> from pushforward.transforms import Reverse, Exp
        >>> [type(step).__name__ for step in in_a_row(Inverse(Compose(Exp(2), Reverse(2))))]
        ['Inverse', 'Inverse']
    """
    if isinstance(transform, Compose):
        return [inner for step in transform._all() for inner in in_a_row(step)]
    if isinstance(transform, Inverse):
        inner = transform.transform
        if isinstance(inner, Inverse):
            return in_a_row(inner.transform)
        if isinstance(inner, Compose):
            return [step for part in reversed(inner._all()) for step in in_a_row(Inverse(part))]
    return [transform]


def _fit_in_turn(steps: Sequence[Transform], x: Tensor, context: Tensor | None) -> None:
    """Fit each step on what those before it give, the first on all rows."""
    context = of_each_row(x, context)
    looks = [_looks_at_data(step) for step in steps]
    for i, step in enumerate(steps):
        if looks[i]:
            step.fit(x, context)
        if not any(looks[i + 1 :]):
            break
        if i == 0 and len(x) > _SAMPLE:
            some = some_of(len(x), _SAMPLE, x.device)
            x, context = x[some], None if context is None else context[some]
        x = push(step, x, context)


def _settle_in_turn(steps: Sequence[Transform], x: Tensor, context: Tensor | None) -> None:
    """Settle each step on what the settled steps before it give."""
    context = of_each_row(x, context)
    last = max((i for i, step in enumerate(steps) if _settles(step)), default=-1)
    for i, step in enumerate(steps[: last + 1]):
        step.settle(x, context)
        if i < last:
            x = push(step, x, context)


def common_context(who: str, transforms: Sequence[Transform]) -> int:
    """The one width of the contexts that transforms read, 0 if none does."""
    widths = sorted({step.context for step in transforms} - {0})
    if len(widths) > 1:
        raise ShapeError(f"{who}: the steps read contexts of widths {widths}, expected one.")
    return widths[0] if widths else 0


def _taken(transform: Transform, method: str, memory: str) -> list[Step]:
    """The plain steps that a direction takes, each with its own direction.

    What recomputes by itself among others that do not is one step.
    """
    if _COMPOSE.are_those_of(transform):
        assert isinstance(transform, Compose)
        if memory in (transform.memory, "recompute"):
            return transform._plain_steps(method, memory)
    if _INVERSE.are_those_of(transform):
        assert isinstance(transform, Inverse)
        return _taken(transform.transform, _OTHER[method], memory)
    return [Step(transform, method)]


def _looks_at_data(step: Transform) -> bool:
    if isinstance(step, Inverse):
        return _looks_at_data(step.transform)
    return type(step).fit is not Transform.fit


def _settles(step: Transform) -> bool:
    """Whether there is anything to settle, for which rows would have to be pushed that far."""
    if isinstance(step, Inverse):
        return _settles(step.transform)
    if isinstance(step, Compose):
        return any(_settles(inner) for inner in step._all())
    return type(step).settle is not Transform.settle
