"""Options in messages, as who reads them would give them: in a shell or in Python."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["in_shell", "option"]

_SHELL = ContextVar("shell", default=False)
_NAMES = {"types": "type"}  # where a shell has another word


@contextmanager
def in_shell() -> Iterator[None]:
    """Messages made within it are read by somebody who types commands."""
    before = _SHELL.set(True)
    try:
        yield
    finally:
        _SHELL.reset(before)


def option(name: str, value: Any = None) -> str:
    """An option by its name, or with what it is to be.

    Example:
        >>> option("missing", "drop"), option("types", {"x": "real"}), option("columns", ["x y"])
        ("missing='drop'", "types={'x': 'real'}", "columns=['x y']")
        >>> with in_shell():
        ...     option("signed_weights", True), option("types", {"x": "real"}), option("weights")
        ('--signed-weights', '--type x=real', '--weights')
    """
    if not _SHELL.get():
        return name if value is None else f"{name}={value!r}"
    typed = "--" + _NAMES.get(name, name).replace("_", "-")
    if value is None or value is True:
        return typed
    return f"{typed} {shlex.quote(_typed(value))}"


def _typed(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}={one}" for key, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)
