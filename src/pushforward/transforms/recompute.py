"""Steps in a row whose activations are made again in the backward pass instead of being stored."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from pushforward.transforms.replay import Chance, Pass, Step, autocast_of

__all__ = ["in_turn", "recomputed"]

_KEPT = 16  # states that are kept at most, however many steps there are
# How far, in roundings of numbers of their size, states found on the way back may be from those
# that were. Well conditioned segments are off by ten to fifty; what is worse is gone through again.
_DRIFT = 256.0
_TRACERS = {"FakeTensorMode", "FunctionalTensorMode", "ProxyTorchDispatchMode"}
_CONTEXT = -1  # its place among the gradients of the parameters

Found = dict[int, Tensor]  # gradients of parameters by their places, and of the context


def in_turn(steps: Sequence[Step], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Take steps one after the other: where they end, and the sum of their logdets."""
    x, total = steps[0].take(x, context)
    for step in steps[1:]:
        x, logdet = step.take(x, context)
        total = total + logdet
    return x, total


def recomputed(steps: Sequence[Step], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same as ``in_turn``, gradients too, in the memory of one step and a few states.

    The steps are cut into at most 16 segments, and the state before each is kept. In the backward
    pass the steps of a segment are taken back from its end, each by its other direction, and then
    again with gradients; the first begins with the state that was kept. Where the way back does
    not meet it to within a few roundings, and where a step has no closed way back, draws random
    numbers or changes its buffers, the segment is gone through again from its beginning, with the
    same random numbers and buffers.

    Derivatives of derivatives, function transforms, compilation, export and forward mode take
    ``in_turn``, and so do devices other than processors and CUDA.

    Cost: in the backward pass one more call of each step, and the way back of all but 16.

    Source: Gomez et al. 2017, arXiv:1707.04585; Chen et al. 2016, arXiv:1604.06174
    """
    if not _records(x):
        return in_turn(steps, x, context)
    known: dict[int, tuple[int, Tensor]] = {}
    passes = [Pass(step, known) for step in steps]
    parameters = [tensor for _, tensor in known.values()]
    given = [x, *parameters] if context is None else [x, context, *parameters]
    if not any(t.requires_grad for t in given) or any(one.loose for one in passes):
        return in_turn(steps, x, context)
    live = x.requires_grad
    for one in passes:
        one.live = live
        live |= any(parameters[place].requires_grad for place in one.places)
        live |= bool(one.step.transform.context and context is not None and context.requires_grad)
    journey = _Journey(passes)
    return _Recomputed.apply(journey, x, context, *parameters)  # type: ignore[no-any-return, no-untyped-call]


def _records(x: Tensor) -> bool:
    """Whether autograd alone is watching, and activations would be stored."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return False
    if x.device.type not in ("cpu", "cuda") or type(x) not in (Tensor, nn.Parameter):
        return False
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return False
    if torch.jit.is_tracing() or (x.is_cuda and torch.cuda.is_current_stream_capturing()):  # type: ignore[no-untyped-call]
        return False
    if not torch._C._len_torch_dispatch_stack():
        return True
    modes = sys.modules["torch.utils._python_dispatch"]._get_current_dispatch_mode_stack()
    return not any(type(mode).__name__ in _TRACERS for mode in modes)


class _Recomputed(torch.autograd.Function):
    """A journey as one operation."""

    @staticmethod
    def forward(
        ctx: Any, journey: _Journey, x: Tensor, context: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        z, logdet, states = journey.go(x, context)
        ctx.journey, ctx.states = journey, len(states)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(context, *states, *parameters)
        return z, logdet

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> Any:
        context, *saved = ctx.saved_tensors
        states, parameters = saved[: ctx.states], saved[ctx.states :]
        journey: _Journey = ctx.journey
        retrace = journey.with_graph if torch.is_grad_enabled() else journey.back
        of_x, found = retrace(states, context, parameters, *given)
        needs = ctx.needs_input_grad
        return (
            None,
            of_x if needs[1] else None,
            found.get(_CONTEXT) if needs[2] else None,
            *(found.get(place) for place in range(len(parameters))),
        )


class _Part(NamedTuple):
    """Passes between two states that are kept, and what happened on the way."""

    passes: Sequence[Pass]
    chance: Chance | None  # the generators before, if random numbers were drawn
    finite: Tensor  # where its logdet was

    @property
    def turns_back(self) -> bool:
        """Whether it can be taken back from its end."""
        if self.chance is not None or any(one.wrote for one in self.passes):
            return False
        return all(one.step.turns_back for one in self.passes[1:])


class _Given(NamedTuple):
    """What all passes of one backward pass are given, ready to be differentiated in."""

    context: Tensor | None
    parameters: Sequence[Tensor]
    of_logdet: Tensor | None

    def pull(
        self, one: Pass, start: Tensor, ended: tuple[Tensor, Tensor], of_z: Tensor | None
    ) -> tuple[Tensor | None, Found]:
        """The gradients of a pass: of what it began with, and of what it was given."""
        pairs = zip(ended, (of_z, self.of_logdet), strict=True)
        pairs_used = [(t, g) for t, g in pairs if g is not None and t.requires_grad]
        inputs = {place: self.parameters[place] for place in one.places}
        if one.step.transform.context and self.context is not None:
            inputs[_CONTEXT] = self.context
        inputs = {place: tensor for place, tensor in inputs.items() if tensor.requires_grad}
        wanted = [*inputs.values(), start] if one.live else [*inputs.values()]
        if not pairs_used or not wanted:
            return None, {}
        ends, weights = zip(*pairs_used, strict=True)
        grads = torch.autograd.grad(ends, wanted, weights, allow_unused=True)
        found = {place: g for place, g in zip(inputs, grads, strict=False) if g is not None}
        return grads[-1] if one.live else None, found


class _Journey:
    """All passes of a call."""

    def __init__(self, passes: Sequence[Pass]) -> None:
        self._passes = passes
        self._parts: list[_Part] = []
        self._chance: Chance | None = None

    def go(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Take all steps: where they end, the logdet, and the states that are kept."""
        self._surroundings = autocast_of(x)
        length = -(-len(self._passes) // _KEPT)
        states, logdets = [x], []
        first = before = Chance(x)
        with self._surroundings():
            for i in range(0, len(self._passes), length):
                passes = self._passes[i : i + length]
                x, logdet = in_turn([one.step for one in passes], x, context)
                for one in passes:
                    one.done()
                states.append(x)
                logdets.append(logdet)
                after = Chance(x)
                drew = not after.same(before)
                self._parts.append(_Part(passes, before if drew else None, logdet.isfinite()))
                before = after
        if not first.same(before):
            self._chance = first
        total = logdets[0]
        for logdet in logdets[1:]:
            total = total + logdet
        return x, total, states

    def back(
        self,
        states: Sequence[Tensor],
        context: Tensor | None,
        parameters: Sequence[Tensor],
        of_z: Tensor | None,
        of_logdet: Tensor | None,
    ) -> tuple[Tensor | None, Found]:
        """The gradients of x, parameters and context, part by part from the end."""
        context = None if context is None else context.detach().requires_grad_(context.requires_grad)
        given = _Given(context, [_leaf(p) for p in parameters], of_logdet)
        total: Found = {}
        with self._surroundings():
            for i in range(len(self._parts) - 1, -1, -1):
                part = self._parts[i]
                result = None
                if part.turns_back:
                    result = _taken_back(part, states[i], states[i + 1], of_z, given)
                of_z, found = result or _gone_again(part, states[i], of_z, given)
                for place, gradient in found.items():
                    total[place] = total[place] + gradient if place in total else gradient
        return of_z, total

    def with_graph(
        self,
        states: Sequence[Tensor],
        context: Tensor | None,
        parameters: Sequence[Tensor],
        of_z: Tensor | None,
        of_logdet: Tensor | None,
    ) -> tuple[Tensor | None, Found]:
        """The same as ``back``, with gradients that can be differentiated again."""
        x = states[0].view_as(states[0])  # gradients of a view do not call the hooks of x
        context = None if context is None else context.view_as(context)
        parameters = [p.view_as(p) if p._backward_hooks else p for p in parameters]
        inputs = {place: p for place, p in enumerate(parameters) if p.requires_grad}
        if context is not None and context.requires_grad:
            inputs[_CONTEXT] = context
        with ExitStack() as stack:
            stack.enter_context(self._surroundings())
            if self._chance is not None:
                stack.enter_context(self._chance.again(x))
            for one in reversed(self._passes):
                stack.enter_context(one.as_then(parameters))
            ended = in_turn([one.step for one in self._passes], x, context)
        pairs = zip(ended, (of_z, of_logdet), strict=True)
        used = [(t, g) for t, g in pairs if g is not None and t.requires_grad]
        wanted = [*inputs.values(), x] if x.requires_grad else [*inputs.values()]
        if not used:
            return None, {}
        ends, weights = zip(*used, strict=True)
        grads = torch.autograd.grad(ends, wanted, weights, create_graph=True, allow_unused=True)
        found = {place: g for place, g in zip(inputs, grads, strict=False) if g is not None}
        return grads[-1] if x.requires_grad else None, found


def _leaf(parameter: Tensor) -> Tensor:
    """A parameter to differentiate in, whose hooks are left to the one who asked."""
    if parameter.is_leaf and not parameter._backward_hooks:
        return parameter
    return parameter.detach().requires_grad_(parameter.requires_grad)


def _taken_back(
    part: _Part, start: Tensor, end: Tensor, of_z: Tensor | None, given: _Given
) -> tuple[Tensor | None, Found] | None:
    """The gradients of a part, its states found from its end; None if they miss its beginning."""
    total: Found = {}
    logdets: list[Tensor] = []
    at = end.detach()
    for one in reversed(part.passes[1:]):
        transform, method = one.step
        context = given.context if transform.context else None
        with one.as_then(given.parameters), torch.enable_grad():
            found = transform._retraced(method, at, context)
        logdets.append(found.logdet.detach())
        of_z, more = given.pull(one, found.start, (found.end, found.logdet), of_z)
        total = _joined(total, more)
        at = found.at
    one = part.passes[0]
    first = start.detach().requires_grad_()
    with one.as_then(given.parameters), torch.enable_grad():
        ended = one.step.take(first, given.context)
    logdets.append(ended[1].detach())
    if len(part.passes) > 1 and not _meets(at, ended[0].detach(), logdets, part.finite):
        return None
    of_z, more = given.pull(one, first, ended, of_z)
    return of_z, _joined(total, more)


def _gone_again(
    part: _Part, start: Tensor, of_z: Tensor | None, given: _Given
) -> tuple[Tensor | None, Found]:
    """The gradients of a part, its states found from its beginning."""
    total: Found = {}
    with nullcontext() if part.chance is None else part.chance.again(start):
        states, chances = [start.detach()], []
        for one in part.passes:
            if part.chance is not None:
                chances.append(Chance(start))
            if len(states) < len(part.passes):
                with one.as_then(given.parameters), torch.no_grad():
                    states.append(one.step.take(states[-1], given.context)[0])
        for i in range(len(part.passes) - 1, -1, -1):
            one, first = part.passes[i], states.pop().detach().requires_grad_()
            if chances:
                chances[i].put_back()
            with one.as_then(given.parameters), torch.enable_grad():
                ended = one.step.take(first, given.context)
            of_z, more = given.pull(one, first, ended, of_z)
            total = _joined(total, more)
    return of_z, total


def _joined(total: Found, more: Found) -> Found:
    return total | {place: total[place] + g if place in total else g for place, g in more.items()}


def _meets(found: Tensor, was: Tensor, logdets: Sequence[Tensor], finite: Tensor) -> bool:
    """Whether a state found on the way back is the one that was."""
    allowed = _DRIFT * torch.finfo(was.dtype).eps
    near = ((found - was).abs() <= allowed * (1.0 + was.abs())).all()  # not where it is nan
    alike = (torch.stack(logdets).isfinite().all(0) == finite).all()
    return bool(near & alike)
