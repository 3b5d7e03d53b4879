"""Steps in a row whose activations are made again in the backward pass instead of being stored."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from pushforward.kernels.dispatch import eager
from pushforward.kernels.layer import retrace_layers
from pushforward.kernels.library import MOST_CHAINED
from pushforward.transforms.base import Retraced
from pushforward.transforms.fused import Prepared
from pushforward.transforms.in_turn import in_turn, saved_bytes
from pushforward.transforms.replay import Chance, Pass, Step, autocast_of

__all__ = ["recomputed"]

_KEPT = 16  # states that are kept at most, however many steps there are
# How far, in roundings of numbers of their size, states found on the way back may be from those
# that were. Well conditioned steps are off by ten to fifty; what is worse is gone through again.
_DRIFT = 256.0
# Bytes that steps taken back in one call of a kernel keep: enough for small batches, of which calls
# are the larger part, and little beside the 16 states of large ones.
_TOGETHER = 1 << 23
_TRACERS = {"FakeTensorMode", "FunctionalTensorMode", "ProxyTorchDispatchMode"}
_START, _CONTEXT = -1, -2  # their places among the gradients of the parameters

Found = dict[int, Tensor]  # gradients by their places


def recomputed(steps: Sequence[Step], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same as ``in_turn``, gradients too, in the memory of a few states and a step or two.

    The steps are cut into at most 16 segments, and the state before each is kept. In the backward
    pass the steps of a segment are taken back from its end, each by its other direction, and then
    again with gradients, those of small batches a few at a time where a kernel knows them; the
    first begins with the state that was kept. Where the way back does not meet it to within a few
    roundings, and where a step has no closed way back, draws random numbers or changes its buffers,
    the segment is gone through again from its beginning, with the same random numbers and buffers.

    Derivatives of derivatives, function transforms, compilation, export and forward mode take
    ``in_turn``, and so do devices other than processors and CUDA.

    Cost: in the backward pass one more call of each step, and the way back of all but 16.

    Source: Gomez et al. 2017, arXiv:1707.04585; Chen et al. 2016, arXiv:1604.06174
    """
    if not _records(x):
        return in_turn(steps, x, context)
    length = -(-len(steps) // _KEPT)
    parts = [_Part(steps[i : i + length]) for i in range(0, len(steps), length)]
    given = [x, *(tensor for part in parts for tensor in part.parameters)]
    given += [] if context is None else [context]
    if not any(t.requires_grad for t in given) or any(part.loose for part in parts):
        return in_turn(steps, x, context)
    logdets = []
    for part in parts:
        x, logdet = _Recomputed.apply(part, x, context, *part.parameters)  # type: ignore[no-untyped-call]
        logdets.append(logdet)
    return x, sum(logdets[1:], start=logdets[0])


def _records(x: Tensor) -> bool:
    """Whether autograd alone is watching, and activations would be stored."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return False
    if x.device.type not in ("cpu", "cuda") or type(x) not in (Tensor, nn.Parameter):
        return False
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return False
    traced = torch._C._get_tracing_state() is not None
    if traced or (x.is_cuda and torch.cuda.is_current_stream_capturing()):
        return False
    if not torch._C._len_torch_dispatch_stack():
        return True
    modes = sys.modules["torch.utils._python_dispatch"]._get_current_dispatch_mode_stack()
    return not any(type(mode).__name__ in _TRACERS for mode in modes)


class _Recomputed(torch.autograd.Function):
    """The passes of a part as one operation."""

    @staticmethod
    def forward(
        ctx: Any, part: _Part, x: Tensor, context: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        # views made here could not be changed in place by whoever gets them
        z, logdet = (one.clone() if one._is_view() else one for one in part.go(x, context))
        ctx.part = part
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, z if part.turns_back else None, context, *parameters)
        return z, logdet

    @staticmethod
    def backward(ctx: Any, of_z: Tensor | None, of_logdet: Tensor | None) -> Any:
        x, z, context, *parameters = ctx.saved_tensors
        part: _Part = ctx.part
        part.refuse_changed()
        twice = torch.is_grad_enabled()  # derivatives of derivatives may be asked for
        given = _Given(x, context, parameters, (of_z, of_logdet))
        with part.surroundings():
            if twice:
                found = _with_graph(part, given.viewed())
            else:
                given = given.alone()
                back = None if z is None else _taken_back(part, z.detach(), given)
                found = _gone_again(part, given) if back is None else back
        for i, parameter in enumerate(part.parameters):
            if parameter._backward_hooks and parameter.requires_grad and i not in found:
                found[i] = torch.zeros_like(parameter)  # a hook would be called with None
        return None, *(found.get(i) for i in (_START, _CONTEXT, *range(len(parameters))))


class _Part:
    """Steps between two states that are kept, and what happened on the way.

    Attributes:
        parameters: of all steps, each once.
        loose: whether a tensor that is no parameter takes part and needs a gradient.
        chance: the generators before, if random numbers were drawn.
        at: where the numbers of the parameters lie.
        finite: where the logdet was.
        turns_back: whether the steps can be taken back from their end.
    """

    chance: Chance | None
    finite: Tensor

    def __init__(self, steps: Sequence[Step]) -> None:
        known: dict[int, tuple[int, Tensor]] = {}
        self.steps = steps
        self.passes = [Pass(step, known) for step in steps]
        self.parameters = [tensor for _, tensor in known.values()]
        self.loose = any(one.loose for one in self.passes)

    def go(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Take the steps."""
        self.surroundings = autocast_of(x)
        before = Chance(x)
        with self.surroundings():
            z, logdet = in_turn(self.steps, x, context)
        self.chance = None if before.same(Chance(x)) else before
        self.finite = logdet.isfinite()
        self.at = [_place(parameter) for parameter in self.parameters]
        for one in self.passes:
            one.done()
        pure = self.chance is None and not any(one.wrote for one in self.passes)
        behind = self.steps[1:]
        self.turns_back = pure and bool(behind) and all(step.turns_back for step in behind)
        return z, logdet

    def refuse_changed(self) -> None:
        """Refuse to take the steps again with other numbers than they were taken with.

        What autograd counts as changed in place, it has refused by itself.

        Raises:
            RuntimeError: a parameter was given other memory, or a buffer other numbers.
        """
        if self.at != [_place(parameter) for parameter in self.parameters]:
            raise RuntimeError(
                "Compose(memory='recompute'): a parameter was exchanged by `.data` between forward "
                "and backward; exchange it afterwards, or take memory='store'."
            )
        for one in self.passes:
            one.refuse_written()

    @contextmanager
    def as_then(self, parameters: Sequence[Tensor]) -> Iterator[None]:
        """What the modules of all steps held, for the length of a block."""
        with ExitStack() as stack:
            # of a step that stands twice, the first has the last word
            for one in reversed(self.passes):
                stack.enter_context(one.as_then(parameters))
            yield


def _place(parameter: Tensor) -> int:
    """Where its numbers lie, if they lie in one place."""
    return parameter.data_ptr() if parameter.layout is torch.strided else 0


class _Given(NamedTuple):
    """What a part began with, and the gradients of where it ended and of its logdet."""

    x: Tensor
    context: Tensor | None
    parameters: Sequence[Tensor]
    weights: tuple[Tensor | None, Tensor | None]

    def alone(self) -> _Given:
        """The same without a history, to be differentiated in.

        Hooks are left to the one who asked: they would be called twice.
        """
        bare = [p if p.is_leaf and not p._backward_hooks else _alone(p) for p in self.parameters]
        context = None if self.context is None else _alone(self.context)
        return _Given(_alone(self.x), context, bare, self.weights)

    def viewed(self) -> _Given:
        """The same with its history, and without its hooks."""
        context = None if self.context is None else self.context.view_as(self.context)
        views = [p.view_as(p) if p._backward_hooks else p for p in self.parameters]
        return _Given(self.x.view_as(self.x), context, views, self.weights)

    def pull(
        self,
        places: Sequence[int],
        start: Tensor | None,
        ended: tuple[Tensor, Tensor],
        of_z: Tensor | None,
        twice: bool = False,
    ) -> Found:
        """Gradients in the parameters at these places, in the context and in a start."""
        wanted = {place: self.parameters[place] for place in places}
        if self.context is not None:
            wanted[_CONTEXT] = self.context
        if start is not None:
            wanted[_START] = start
        wanted = {place: tensor for place, tensor in wanted.items() if tensor.requires_grad}
        pairs = zip(ended, (of_z, self.weights[1]), strict=True)
        used = [(t, weight) for t, weight in pairs if weight is not None and t.requires_grad]
        if not wanted or not used:
            return {}
        ends, weights = zip(*used, strict=True)
        gradients = torch.autograd.grad(
            ends, list(wanted.values()), weights, create_graph=twice, allow_unused=True
        )
        return {i: g for i, g in zip(wanted, gradients, strict=True) if g is not None}


def _alone(t: Tensor) -> Tensor:
    return t.detach().requires_grad_(t.requires_grad)


def _taken_back(part: _Part, end: Tensor, given: _Given) -> Found | None:
    """The gradients of a part, its states found from its end; None if they miss its beginning."""
    total: Found = {}
    logdets = []
    of_z = given.weights[0]
    first, *behind = part.passes
    with part.as_then(given.parameters), torch.enable_grad():
        while behind:
            count, back = _last_steps_back(behind, end, given.context)
            behind, taken = behind[:-count], behind[-count:]
            logdets.append(back.logdet.detach())
            places = sorted({place for one in taken for place in one.places})
            found = given.pull(places, back.start, (back.end, back.logdet), of_z)
            of_z = _added(total, found)
            end = back.at
        ended = first.step.take(given.x, given.context)
    logdets.append(ended[1].detach())
    finite = sum(logdets[1:], start=logdets[0]).isfinite()
    if not (torch.equal(finite, part.finite) and _meets(end, ended[0].detach())):
        return None
    return _last(total, given.pull(first.places, given.x, ended, of_z))


def _last_steps_back(
    passes: Sequence[Pass], end: Tensor, context: Tensor | None
) -> tuple[int, Retraced]:
    """The last step taken back, or the last few in one kernel; and how many these are."""
    row: list[Prepared] = []
    saved = 0
    for one in passes[: -MOST_CHAINED - 1 : -1] if eager() else ():
        found = one.step.in_a_row(end, context, retraced=True)
        saved += 0 if found is None else saved_bytes(found, end)
        if found is None or (row and saved > _TOGETHER):
            break
        row.insert(0, found)
    if not row:
        return 1, passes[-1].step.retrace(end, context)
    calls, weights = [one.call for one in row], [one.weights for one in row]
    start, now, logdet = retrace_layers(calls, end, context, weights)
    return len(row), Retraced(start, start.detach(), now, logdet)


def _gone_again(part: _Part, given: _Given) -> Found:
    """The gradients of a part, its states found from its beginning."""
    total: Found = {}
    with nullcontext() if part.chance is None else part.chance.again(given.x):
        states, chances = [given.x], []
        for one in part.passes:
            chances.append(None if part.chance is None else Chance(given.x))
            if len(states) < len(part.passes):
                with one.as_then(given.parameters), torch.no_grad():
                    state = one.step.take(states[-1], given.context)[0]
                states.append(state.detach().requires_grad_())
        of_z = given.weights[0]
        for one in reversed(part.passes):
            start, chance = states.pop(), chances.pop()
            if chance is not None:
                chance.put_back()
            with one.as_then(given.parameters), torch.enable_grad():
                ended = one.step.take(start, given.context)
            found = given.pull(one.places, start, ended, of_z)
            if states:
                of_z = _added(total, found)
    return _last(total, found)


def _with_graph(part: _Part, given: _Given) -> Found:
    """The gradients of a part, which can be differentiated again."""
    chance = nullcontext() if part.chance is None else part.chance.again(given.x)
    with chance, part.as_then(given.parameters):
        ended = in_turn(part.steps, given.x, given.context)
    places = range(len(given.parameters))
    return given.pull(places, given.x, ended, given.weights[0], twice=True)


def _added(total: Found, more: Found) -> Tensor | None:
    """Add gradients to those there are, but for that of the start, which goes on."""
    start = more.pop(_START, None)
    for place, gradient in more.items():
        total[place] = total[place] + gradient if place in total else gradient
    return start


def _last(total: Found, more: Found) -> Found:
    start = _added(total, more)
    return total if start is None else {**total, _START: start}


def _meets(found: Tensor, was: Tensor) -> bool:
    """Whether a state found on the way back is the one that was; not where it is nan."""
    share = _DRIFT * torch.finfo(was.dtype).eps
    allowed = was.abs().mul_(share).add_(share)
    return bool(((found - was).abs_() <= allowed).all())
