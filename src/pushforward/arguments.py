"""The arguments of constructors and recipes: put to their names, and refused in the same words."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from pushforward.errors import ArgumentError, InputTypeError

__all__ = ["Arguments", "did_you_mean"]

# Arguments that mean the same wherever they are: a width, and numbers of things.
_LEAST = {"features": 1, "context": 0}
_COUNTS = frozenset(
    {"bins", "components", "degree", "layers", "points", "polynomials", "rank", "terms", "units"}
)
_SEEDS = range(-(1 << 63), 1 << 64)  # that torch.manual_seed takes
_OF_THE_DEFAULT_NETWORK = frozenset({"activation", "dropout", "hidden", "residual"})


class _Kind(NamedTuple):
    """What an argument may be, as its name and its annotation say it."""

    takes: Callable[[Any], bool]
    words: str


class Arguments:
    """What a constructor or a recipe takes.

    Args:
        who: name of the class or the recipe, for messages.
        signature: of a call, without self.
        checked: whether values are checked, too.

    Example:
        >>> def f(features: int, *, bins: int = 8): ...
        >>> takes = Arguments("f", inspect.signature(f))
        >>> takes.bound((2,), {"bins": 4}).arguments
        {'features': 2, 'bins': 4}
        >>> takes.bound((2,), {"bin": 4})
        Traceback (most recent call last):
        pushforward.errors.InputTypeError: f: there is no argument 'bin'. Did you mean 'bins'?...
    """

    def __init__(self, who: str, signature: inspect.Signature, checked: bool = True) -> None:
        self.who, self.signature, self.checked = who, signature, checked
        parameters = signature.parameters
        self._shapes = {name for name, one in parameters.items() if "Sequence" in _annotation(one)}
        kinds = ((name, _kind(one)) for name, one in parameters.items())
        self._kinds = {name: kind for name, kind in kinds if kind is not None}

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        """The arguments of a call by their names.

        Raises:
            InputTypeError: one is missing, one too many, given twice or not known by its name.
            ArgumentError: one has a value that nobody takes.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InputTypeError(f"{self.who}: {self._misfit(args, kwargs, error)}") from None
        if self.checked:
            self._check(bound.arguments)
        return bound

    def _misfit(self, args: Sequence[Any], kwargs: Mapping[str, Any], error: TypeError) -> str:
        """Why a call fits nothing, and what would."""
        parameters = self.signature.parameters.values()
        kinds = {one.kind for one in parameters}
        places = [one.name for one in parameters if one.kind <= one.POSITIONAL_OR_KEYWORD]
        named = [o.name for o in parameters if o.kind in (o.POSITIONAL_OR_KEYWORD, o.KEYWORD_ONLY)]
        left = [name for name in named if name not in {*places[: len(args)], *kwargs}]
        unknown = [name for name in kwargs if name not in named]
        if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
            near = did_you_mean(unknown[0], left)
            return f"there is no argument {unknown[0]!r}.{near} It takes {self._listed()}."
        if len(args) > len(places) and inspect.Parameter.VAR_POSITIONAL not in kinds:
            few = f"at most {len(places)} ({', '.join(places)})" if places else "none"
            by_name = f"; write the others by name, such as {left[0]}=…" if left else ""
            return f"got {len(args)} arguments without a name, expected {few}{by_name}."
        twice = [name for name in places[: len(args)] if name in kwargs]
        if twice:
            return f"{twice[0]} is given by its place and by its name; leave one of them out."
        wanted = [o for o in parameters if o.default is o.empty and o.name in {*places, *named}]
        missing = [one.name for one in wanted if one.name in left]
        if not missing:  # what only a constructor outside this package can ask for
            return f"{error}; it takes {self._listed()}."
        call = ", ".join(o.name if o.name in places else f"{o.name}=…" for o in wanted)
        return f"{missing[0]} is missing; write {self.who}({call})."

    def _listed(self) -> str:
        """The arguments, as a signature has them but for defaults and annotations."""
        bare = (
            one.replace(annotation=one.empty, default=one.empty)
            for one in self.signature.parameters.values()
        )
        return ", ".join(map(str, bare)) or "none"

    def _check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse what every constructor and every recipe would refuse in the same words.

        That is numbers, sizes, seeds and flags that are none (text in the place of a flag would
        count as True), widths that no tensor can have, and what only the default network takes,
        beside another one. What is too small for one part alone that part says itself.
        """
        for name, value in arguments.items():
            kind = self._kinds.get(name)
            if kind is not None and not kind.takes(value):
                raise ArgumentError(f"{self.who}: {name} is {value!r}, expected {kind.words}.")
        for name, least in _LEAST.items():
            value = arguments.get(name, least)
            if isinstance(value, list | tuple) and name in self._shapes:
                continue  # the shape of an event
            if not _is_whole(value) or value < least:
                raise ArgumentError(
                    f"{self.who}: {name} is {value!r}, expected a whole number from {least} up."
                )
        if arguments.get("network") is not None and arguments.get("kept_map") is None:
            for name in _OF_THE_DEFAULT_NETWORK & arguments.keys():
                raise ArgumentError(
                    f"{self.who}: {name} is {arguments[name]!r} beside a network, which it would "
                    f"not reach; leave one of them out."
                )
        self._check_hidden(arguments.get("hidden", ()))

    def _check_hidden(self, hidden: Any) -> None:
        who = f"{self.who}: hidden is {hidden!r}"
        if not isinstance(hidden, list | tuple) or not all(map(_is_whole, hidden)):
            raise ArgumentError(f"{who}, expected widths such as (64, 64).")
        if any(width < 1 for width in hidden):
            raise ArgumentError(f"{who}, expected widths of at least 1.")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question for a name that is none, to be put behind a sentence; empty if none is near.

    Example:
        >>> did_you_mean("bin", ["bins", "layers"])
        " Did you mean 'bins'?"
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _annotation(parameter: inspect.Parameter) -> str:
    return str(parameter.annotation)


def _kind(parameter: inspect.Parameter) -> _Kind | None:
    """The kind of an argument whose name and annotation say it all; None for others."""
    name, annotation = parameter.name, _annotation(parameter)
    kind = _KINDS.get(annotation.removesuffix(" | None"))
    if kind is None or name in _LEAST:
        return None
    if name in _COUNTS:
        kind = _Kind(_is_whole, "a whole number from 1 up")
    if name == "seed":
        kind = _Kind(_is_seed, "a whole number of at most 64 bits")
    if not annotation.endswith(" | None"):
        return kind
    takes = kind.takes
    return _Kind(lambda value: value is None or takes(value), f"{kind.words}, or None")


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool | Tensor)


def _is_seed(value: Any) -> bool:
    return _is_whole(value) and int(value) in _SEEDS


def _is_number(value: Any) -> bool:
    whole_or_not = hasattr(value, "__float__") and not isinstance(value, bool)
    return whole_or_not and getattr(value, "ndim", 0) == 0


def _are_numbers(value: Any) -> bool:
    """Tensors, arrays and sequences are numbers, too; what they hold is seen where it is read."""
    some = value if isinstance(value, list | tuple) else [value]
    return not any(one is None or isinstance(one, str) for one in some)


_KINDS = {
    "bool": _Kind(_is_flag, "True or False"),
    "int": _Kind(_is_whole, "a whole number"),
    "float": _Kind(_is_number, "a number"),
    "float | Tensor": _Kind(_are_numbers, "a number or a tensor"),
}
