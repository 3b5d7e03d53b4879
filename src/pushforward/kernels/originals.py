"""Whether modules do what their class says, so that a kernel may take their place."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from torch import nn
from torch.nn.modules.module import _has_any_global_hook

__all__ = ["Methods", "altered"]


def altered(module: nn.Module) -> bool:
    """Whether a call of a module does more, or something else, than its class says."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__
        or "_compiled_call_impl" in module.__dict__  # by module.compile()
        or _has_any_global_hook()  # type: ignore[no-untyped-call]
    )


class Methods:
    """Methods that a kernel stands for, as their class was written.

    Args:
        kind: the class.
        *names: the methods.
    """

    def __init__(self, kind: type, *names: str) -> None:
        self._kind, self._names = kind, frozenset(names)
        self._read = attrgetter(*names)
        self._known = self._read(kind)

    def are_those_of(self, layer: Any) -> bool:
        """Whether a layer is of this very class, and nobody has put others in their place."""
        return (
            type(layer) is self._kind
            and self._names.isdisjoint(layer.__dict__)
            and bool(self._read(self._kind) == self._known)
        )
