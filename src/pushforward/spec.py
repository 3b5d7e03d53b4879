"""What a part remembers of its construction: names and arguments, as JSON and tensors.

A part (transform, map, network, base, flow …) remembers the call that made it. That description
is what is saved, printed and compared; nothing in it can run code when it is read back.
"""

from __future__ import annotations

import abc
import functools
import importlib
import inspect
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from pushforward.arguments import Arguments
from pushforward.errors import ModelFileError, SpecError

__all__ = ["Part", "Reader", "Writer", "describe", "public_name"]

JSON: TypeAlias = Any  # what json.dumps takes; a recursive alias says no more to a reader

_ROOMS = ("networks", "maps", "transforms", "bases", "flows", "tables")
_CLASSES: dict[str, type] = {}  # public name -> class, for the classes of this package


class _Remembering(abc.ABCMeta):
    """Metaclass that keeps the arguments of the outermost constructor call on the object."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        arguments = dict(_taken(cls).bound(args, kwargs).arguments)
        made = super().__call__(*args, **kwargs)
        # A dict hides the parts in it from nn.Module, which would register them twice.
        object.__setattr__(made, "_arguments", {"call": arguments})
        return made

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's, which ``__call__`` would hide from ``help``."""
        return _taken(cls).signature


@functools.cache
def _taken(cls: type) -> Arguments:
    """What a constructor takes; what may stand in its place is known of this package's alone."""
    build = cls.__init__  # type: ignore[misc]
    if build in (object.__init__, nn.Module.__init__):  # these say they take anything
        signature = inspect.Signature()
    else:
        signature = _without_self(inspect.signature(build))
    return Arguments(cls.__name__, signature, cls.__module__.startswith("pushforward."))


def _without_self(signature: inspect.Signature) -> inspect.Signature:
    first, *rest = signature.parameters.values()
    keep = [first] if first.kind is first.VAR_POSITIONAL else []
    return signature.replace(parameters=[*keep, *rest], return_annotation=signature.empty)


class Part(metaclass=_Remembering):
    """Anything that remembers how it was constructed, and can therefore be saved.

    Subclasses do nothing for it, except that their constructor takes JSON values, tensors,
    parts, classes of parts or ``functools.partial`` of them.
    """

    _arguments: dict[str, dict[str, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("pushforward.") and not cls.__name__.startswith("_"):
            _CLASSES[public_name(cls)] = cls

    def remembered(self) -> dict[str, JSON]:
        """JSON facts learned after construction that are no tensors; ``remember`` takes them."""
        return {}

    def remember(self, facts: Mapping[str, JSON]) -> None:
        """Take back what ``remembered`` gave."""


def public_name(cls: type) -> str:
    """The name a class is saved under: ``transforms.Coupling``; a foreign class has its own."""
    rooms = cls.__module__.split(".")
    if rooms[0] == "pushforward" and len(rooms) > 1:
        return f"{rooms[1]}.{cls.__qualname__}"
    return cls.__qualname__


def describe(part: Part) -> JSON:
    """The constructor call of a part as JSON, tensors replaced by their shapes.

    Two parts with the same description are built alike; their weights may differ.

    Example:
        >>> from pushforward import maps
        >>> describe(maps.Affine(bound=2.0))
        {'part': 'maps.Affine', 'arguments': {'bound': 2.0}}
    """
    return Writer().part(part)


class Writer:
    """Turn a part into JSON; tensors among the arguments are collected in ``tensors``."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._seen: dict[int, int] = {}
        self._keep: list[object] = []  # ids are only unique while the objects live

    def part(self, part: Part) -> JSON:
        """The description of one part; the second mention of the same object refers back."""
        if id(part) in self._seen:
            return {"same": self._seen[id(part)]}
        self._seen[id(part)] = len(self._seen)
        self._keep.append(part)
        arguments = part._arguments["call"]
        # In the order of their names, as dumps writes them: a reader counts parts in that order.
        values = {name: self._value(part, name, arguments[name]) for name in sorted(arguments)}
        return {"part": public_name(type(part)), "arguments": values}

    def _value(self, part: Part, name: str, value: Any) -> JSON:
        # A part that was replaced after construction (flow.base = …) is saved as it is now.
        now = getattr(part, name, None)
        # So is a distribution of PyTorch that the flow wrapped.
        if isinstance(now, Part) and (isinstance(value, Part) or hasattr(value, "log_prob")):
            value = now
        return self.value(value, f"{type(part).__name__}({name}=…)")

    def value(self, value: Any, where: str) -> JSON:
        """Any argument as JSON.

        Raises:
            SpecError: the value cannot be written down (a lambda, an open file, a foreign object).
        """
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, Tensor):
            key = f"argument.{len(self.tensors)}"
            self.tensors[key] = value.detach()
            return {"tensor": key, "shape": list(value.shape)}
        if isinstance(value, Part):
            return self.part(value)
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, list | tuple):
            return [self.value(item, where) for item in value]
        if isinstance(value, Mapping):
            named = {str(k): v for k, v in value.items()}
            return {"map": {k: self.value(named[k], where) for k in sorted(named)}}
        return self._callable(value, where)

    def _callable(self, value: Any, where: str) -> JSON:
        if isinstance(value, functools.partial) and not value.args:
            named = value.keywords
            keywords = {k: self.value(named[k], where) for k in sorted(named)}
            return {"class": self._class(value.func, where), "keywords": keywords}
        return {"class": self._class(value, where), "keywords": None}

    def _class(self, value: Any, where: str) -> str:
        if isinstance(value, type) and issubclass(value, Part):
            return public_name(value)
        hint = "write it as a class that derives from the part it stands for"
        if isinstance(value, nn.Module):
            hint = "let its class also derive from pushforward.spec.Part"
        raise SpecError(
            f"pf.save: {where} is {value!r}, which cannot be written into a model file; {hint}."
        )


class Reader:
    """Build a part again from what ``Writer`` wrote.

    Args:
        tensors: the tensors among the arguments, by name.
        classes: classes from outside the package that the file may name.
    """

    def __init__(self, tensors: Mapping[str, Tensor], classes: Iterable[type] = ()) -> None:
        self._tensors = tensors
        self._foreign = {cls.__qualname__: cls for cls in classes}
        self._built: list[Part | None] = []

    def part(self, spec: JSON) -> Any:
        """The part a description stands for.

        Raises:
            ModelFileError: the description is malformed or names an unknown class.
        """
        if not isinstance(spec, dict):
            raise ModelFileError(f"pf.load: expected the description of a part, got {spec!r:.80}.")
        if "same" in spec:
            return self._same(spec["same"])
        if not isinstance(spec.get("part"), str) or not isinstance(spec.get("arguments"), dict):
            raise ModelFileError(f"pf.load: malformed description of a part: {spec!r:.80}.")
        cls = self._class(spec["part"])
        slot = len(self._built)
        self._built.append(None)
        given = spec["arguments"]
        arguments = {name: self.value(given[name]) for name in sorted(given)}
        self._built[slot] = made = _call(cls, arguments)
        return made

    def _same(self, slot: Any) -> Part:
        made = self._built[slot] if isinstance(slot, int) and slot < len(self._built) else None
        if made is None:
            raise ModelFileError("pf.load: the description refers to a part that it does not hold.")
        return made

    def value(self, spec: JSON) -> Any:
        """Any argument from its JSON."""
        if isinstance(spec, list):
            return tuple(self.value(item) for item in spec)
        if not isinstance(spec, dict):
            return spec
        if "float" in spec:
            return float(spec["float"])
        if "tensor" in spec:
            return self._tensor(spec["tensor"])
        if "dtype" in spec:
            return getattr(
                torch, _one_of(spec["dtype"], ("float16", "bfloat16", "float32", "float64"))
            )
        if "map" in spec:
            return {key: self.value(spec["map"][key]) for key in sorted(spec["map"])}
        if "class" in spec:
            cls = self._class(spec["class"])
            if spec.get("keywords") is None:
                return cls
            named = spec["keywords"]
            keywords = {key: self.value(named[key]) for key in sorted(named)}
            return functools.partial(cls, **keywords)
        return self.part(spec)

    def _tensor(self, key: str) -> Tensor:
        if key not in self._tensors:
            raise ModelFileError(f"pf.load: the tensor {key!r} is missing.")
        return self._tensors[key].clone()

    def _class(self, name: str) -> type:
        room, _, exported = name.partition(".")
        if room in _ROOMS:  # a fixed list of our own rooms, never a module the file chooses
            module = importlib.import_module(f"pushforward.{room}")
            if exported in module.__all__:
                getattr(module, exported)  # a room may import its classes at their first use
        cls = self._foreign.get(name) or _CLASSES.get(name)
        if cls is None:
            short = name.rsplit(".", 1)[-1]
            raise ModelFileError(
                f"pf.load: the file uses the class {name!r}, which pushforward does not have; if "
                f"it is yours, import it and write pf.load(path, classes=[{short}])."
            )
        return cls


def _one_of(name: str, allowed: tuple[str, ...]) -> str:
    if name not in allowed:
        raise ModelFileError(f"pf.load: {name!r} is not one of {', '.join(allowed)}.")
    return name


def _call(cls: type, arguments: dict[str, Any]) -> Any:
    """Call a constructor with its arguments by name, and its ``*args`` where it has them."""
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    taken = inspect.signature(cls).parameters
    try:
        for name, parameter in taken.items():
            if name not in arguments:
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional.extend(arguments[name])
            elif parameter.kind is parameter.VAR_KEYWORD:
                keywords.update(arguments[name])
            else:
                keywords[name] = arguments[name]
        unknown = set(arguments) - set(taken)
        if unknown:
            raise TypeError(f"unexpected argument {sorted(unknown)[0]!r}")
        if positional:
            return cls(*positional, **keywords)
        return cls(**keywords)
    except ModelFileError:
        raise
    except Exception as error:  # whatever a damaged description makes a constructor say
        name = cls.__name__
        raise ModelFileError(f"pf.load: {name} cannot be built from the file: {error}") from error


def dumps(value: JSON) -> str:
    """JSON with a fixed order, so that the same part gives the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
