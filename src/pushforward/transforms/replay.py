"""What held when a step was taken, so that it can be taken again and give the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from pushforward.transforms.base import Retraced, Transform, current_generator, drawing_from
from pushforward.transforms.fused import Prepared

__all__ = ["Chance", "Pass", "Step", "autocast_of"]


class Step(NamedTuple):
    """A plain transform, and the direction in which it is taken."""

    transform: Transform
    method: str  # _forward or _inverse

    def take(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Apply it."""
        given = context if self.transform.context else None
        return getattr(self.transform, self.method)(x, given)  # type: ignore[no-any-return]

    def in_a_row(
        self, x: Tensor, context: Tensor | None, retraced: bool = False
    ) -> Prepared | None:
        """What a kernel needs to apply it among others, or to take it back, if it can."""
        given = context if self.transform.context else None
        return self.transform._in_a_row(self.method, x, given, retraced)

    def retrace(self, end: Tensor, context: Tensor | None) -> Retraced:
        """Find out where it began, and apply it again."""
        given = context if self.transform.context else None
        return self.transform._retraced(self.method, end, given)

    @property
    def turns_back(self) -> bool:
        """Whether what it began with is worked out from where it ended."""
        forward, inverse = self.transform.closed
        return inverse if self.method == "_forward" else forward


class Chance:
    """The states of all generators that a step may draw from."""

    def __init__(self, x: Tensor) -> None:
        self.device = x.device if x.is_cuda else None
        self.generator = current_generator()
        self.states = [torch.get_rng_state()]
        if self.device is not None:
            self.states.append(torch.cuda.get_rng_state(self.device))
        if self.generator is not None:
            self.states.append(self.generator.get_state())

    def same(self, other: Chance) -> bool:
        """Whether nothing was drawn in between."""
        return all(map(torch.equal, self.states, other.states))

    def put_back(self) -> None:
        """Let all generators go on from here."""
        states = iter(self.states)
        torch.set_rng_state(next(states))
        if self.device is not None:
            torch.cuda.set_rng_state(next(states), self.device)
        if self.generator is not None:
            self.generator.set_state(next(states))

    @contextmanager
    def again(self, x: Tensor) -> Iterator[None]:
        """Draw the same numbers again, and leave the generators as they are now."""
        with drawing_from(self.generator):
            now = Chance(x)
            self.put_back()
            try:
                yield
            finally:
                now.put_back()


_TENSORS = {Tensor, nn.Parameter}


def _within(module: nn.Module) -> list[nn.Module]:
    """A module and those in it, each once; ``modules()`` makes names for them, too, and is slow."""
    found = {module: None}
    waiting = [module]
    while waiting:
        for inner in waiting.pop()._modules.values():
            if inner is not None and inner not in found:
                found[inner] = None
                waiting.append(inner)
    return list(found)


class _Buffer:
    """A buffer, and what it holds before a call that may change it."""

    def __init__(self, module: nn.Module, name: str, tensor: Tensor) -> None:
        self.module, self.name, self.tensor = module, name, tensor
        self.before = tensor.detach().clone() if module.training else tensor
        self.version = _version(tensor)

    @property
    def changed(self) -> bool:
        """Whether the call changed it; torch does not count what its own normalization writes."""
        if self.module.training and isinstance(self.module, _NormBase):
            return True
        now = self.module._buffers[self.name]
        return now is not self.tensor or self.written

    @property
    def written(self) -> bool:
        """Whether somebody wrote into it since."""
        return _version(self.tensor) != self.version


def _version(tensor: Tensor) -> int:
    """How often it was changed in place; of what was made in inference mode nobody counts it."""
    return 0 if tensor.is_inference() else tensor._version


class Pass:
    """One step of one call, and what its modules hold.

    Args:
        step: the step.
        parameters: the parameters so far by their ``id``, to which its own are added.

    Attributes:
        places: of its own among these.
        loose: whether a tensor that is no parameter takes part and needs a gradient.
        wrote: whether it changed its buffers, as batch normalization does.
    """

    def __init__(self, step: Step, parameters: dict[int, tuple[int, Tensor]]) -> None:
        self.step = step
        self.loose = self.wrote = False
        self._modes: list[tuple[nn.Module, bool]] = []
        self._slots: list[tuple[dict[str, Any], str, int]] = []
        self._buffers: list[_Buffer] = []
        for module in _within(step.transform):
            self._modes.append((module, module.training))
            for name, tensor in module._parameters.items():
                if tensor is not None:
                    place, _ = parameters.setdefault(id(tensor), (len(parameters), tensor))
                    self._slots.append((module._parameters, name, place))
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    self.loose |= buffer.requires_grad
                    self._buffers.append(_Buffer(module, name, buffer))
            others = vars(module).values()
            if not _TENSORS.isdisjoint(map(type, others)):  # of hundreds of modules none has any
                self.loose |= any(isinstance(one, Tensor) and one.requires_grad for one in others)
        self.places = sorted({place for _, _, place in self._slots})

    def done(self) -> None:
        """After the call, keep what buffers held before it only where it changed them."""
        writers = {buffer.module for buffer in self._buffers if buffer.changed}
        self.wrote = bool(writers)
        self._left_alone = [one for one in self._buffers if one.module not in writers]
        for buffer in self._left_alone:
            buffer.before = buffer.tensor

    def refuse_written(self) -> None:
        """Refuse to go again through what holds other numbers than it did.

        Raises:
            RuntimeError: somebody wrote into a buffer after the call, which left it alone.
        """
        for buffer in self._left_alone:
            if buffer.written:
                raise RuntimeError(
                    f"Compose(memory='recompute'): the buffer {buffer.name!r} of a "
                    f"{type(buffer.module).__name__} was modified by an inplace operation between "
                    f"forward and backward; modify it afterwards."
                )

    @contextmanager
    def as_then(self, parameters: Sequence[Tensor]) -> Iterator[None]:
        """Modes and buffers of then, and these parameters, for the length of a block."""
        now: list[tuple[dict[str, Any], str, Any]] = []
        modes = [(module, then) for module, then in self._modes if module.training is not then]
        for module, then in modes:
            module.training = then
        wanted = [(where, name, parameters[place]) for where, name, place in self._slots]
        for buffer in self._buffers:
            # a copy of what changes, since the step will write into it once more
            same = buffer.before is buffer.tensor
            value = buffer.tensor if same else buffer.before.clone()
            wanted.append((buffer.module._buffers, buffer.name, value))
        for where, name, value in wanted:
            if where[name] is not value:
                now.append((where, name, where[name]))
                where[name] = value
        try:
            yield
        finally:
            for where, name, value in reversed(now):
                where[name] = value
            for module, then in modes:
                module.training = not then


def autocast_of(x: Tensor) -> Callable[[], Any]:
    """Makes the autocast that holds now, without its cache.

    A cast that was kept without gradients would be found again where they are asked for.
    """
    kinds = [kind for kind in {"cpu", x.device.type} if torch.is_autocast_enabled(kind)]
    settings = [(kind, torch.get_autocast_dtype(kind)) for kind in kinds]

    @contextmanager
    def surroundings() -> Iterator[None]:
        with ExitStack() as stack:
            for kind, dtype in settings:
                stack.enter_context(torch.autocast(kind, dtype=dtype, cache_enabled=False))
            yield

    return surroundings
