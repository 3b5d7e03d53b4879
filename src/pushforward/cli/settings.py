"""``--set KEY=VALUE``: texts become the arguments of a recipe, checked against its signature."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pushforward.cli.guard import usage_error

__all__ = ["arguments_of", "settings_of", "text_of"]

# The table and --seed give the first three; networks and bases have no short text.
_NOT_SET = ("features", "context", "seed", "network", "base")
_YES_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def arguments_of(build: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a recipe that ``--set`` takes, with their defaults."""
    parameters = inspect.signature(build).parameters
    return {name: one.default for name, one in parameters.items() if name not in _NOT_SET}


def settings_of(name: str, build: Callable[..., Any], pairs: Mapping[str, str]) -> dict[str, Any]:
    """The arguments that the pairs stand for.

    Args:
        name: the recipe's name, for messages.
        build: the recipe.
        pairs: texts by key, as ``pairs_of`` reads them.

    Raises:
        ArgumentError: the recipe has no such argument, or the text is none of its values.

    Example:
        >>> def recipe(features, *, layers=6, hidden=(128, 128), mix="lu"): ...
        >>> settings_of("recipe", recipe, {"layers": "2", "hidden": "64", "mix": "none"})
        {'layers': 2, 'hidden': (64,), 'mix': 'none'}
    """
    accepted = arguments_of(build)
    settings = {}
    for key, text in pairs.items():
        if key not in accepted:
            raise usage_error(f"--set {key}: {name} has no such argument. {_near(key, accepted)}")
        settings[key] = _value(key, text, accepted[key], _kind(build, key))
    return settings


def text_of(value: Any) -> str:
    """The text that ``--set`` takes for a value.

    Example:
        >>> text_of((128, 128)), text_of(True), text_of("lu")
        ('128,128', 'true', 'lu')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(text_of, value))
    return "-" if value is None else str(value)


def _kind(build: Callable[..., Any], key: str) -> str:
    """What an argument may be, as the recipe's signature writes it."""
    return str(inspect.signature(build).parameters[key].annotation)


def _value(key: str, text: str, default: Any, kind: str) -> Any:
    """The value of the kind that the default is or, if there is none, that the signature says."""
    if key == "map":
        return _map(text)
    if default is None:
        defaults = {"int | None": 0, "float | None": 0.0, "Sequence[int] | None": ()}
        default = defaults.get(kind, "")
    if isinstance(default, tuple):
        parts = text.strip("()[] ").split(",")
        return tuple(_number(key, text, part, int) for part in parts if part.strip())
    if isinstance(default, bool):
        if text.lower() not in _YES_NO:
            raise usage_error(f"--set {key}={text}: expected true or false.")
        return _YES_NO[text.lower()]
    if isinstance(default, int | float):
        return _number(key, text, text, type(default))
    return text


def _number(key: str, text: str, part: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(part)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise usage_error(f"--set {key}={text}: {part.strip()!r} is not {wanted}.") from None


def _map(text: str) -> Any:
    from pushforward import maps

    names = [name for name in maps.__all__ if name != "Map"]
    if text not in names:
        raise usage_error(f"--set map={text}: there is no such map. {_near(text, names)}")
    return getattr(maps, text)()


def _near(name: str, names: Iterable[str]) -> str:
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
