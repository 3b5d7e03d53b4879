"""Recipes by name: what they are, what they cost, and how a name finds its function."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from pushforward.arguments import Arguments, did_you_mean
from pushforward.errors import ArgumentError, SpecError
from pushforward.flows.flow import Flow
from pushforward.spec import Writer

__all__ = ["RECIPES", "Recipe", "find", "learning_rate", "recipe"]

F = TypeVar("F", bound=Callable[..., Flow])


@dataclass(frozen=True)
class Recipe:
    """A published architecture and what a reader needs to choose it.

    Attributes:
        name: name of the function.
        build: the function, ``(features, context=0, *, …) -> Flow``.
        paper: arXiv number.
        year: year of the paper.
        density: what ``log_prob`` costs, in network calls a layer.
        sampling: what ``sample`` costs, in network calls a layer.
        choose: when to choose it.
        lr: peak learning rate that ``pf.fit`` takes if none is given; None: the usual one.
        of_context: arguments of the network that reads a context, which are refused without one.
        of_base: arguments of the default base, which are refused beside another one.
    """

    name: str
    build: Callable[..., Flow]
    paper: str
    year: int
    density: str
    sampling: str
    choose: str
    lr: float | None = None
    of_context: tuple[str, ...] = ()
    of_base: tuple[str, ...] = ()


RECIPES: dict[str, Recipe] = {}


def recipe(
    *,
    paper: str,
    year: int,
    density: str,
    sampling: str,
    choose: str,
    lr: float | None = None,
    of_context: tuple[str, ...] = (),
    of_base: tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Register a function as a recipe: its flow remembers name, arguments and seed."""

    def register(build: F) -> F:
        takes = Arguments(f"pf.flows.{build.__name__}", inspect.signature(build))

        @functools.wraps(build)
        def made(*args: Any, **kwargs: Any) -> Flow:
            bound = takes.bound(args, kwargs)
            _refuse_unread(RECIPES[build.__name__], bound.arguments)
            for name, value in bound.arguments.items():
                bound.arguments[name] = _as_python(value)  # a file knows no numbers of NumPy
            seed = bound.arguments.get("seed")
            if seed is None:
                flow = build(*bound.args, **bound.kwargs)
            else:
                with torch.random.fork_rng():
                    torch.manual_seed(seed)
                    flow = build(*bound.args, **bound.kwargs)
            flow.facts["recipe"] = {
                "name": build.__name__,
                "arguments": {k: _plain(v) for k, v in bound.arguments.items()},
            }
            return flow

        RECIPES[build.__name__] = Recipe(
            build.__name__,
            made,
            paper,
            year,
            density,
            sampling,
            choose,
            lr,
            of_context,
            of_base,
        )
        return made  # type: ignore[return-value]

    return register


def _refuse_unread(made: Recipe, given: Mapping[str, Any]) -> None:
    """Refuse arguments of what the flow does not have."""
    if not given.get("context"):
        for name in given.keys() & set(made.of_context):
            raise ArgumentError(
                f"pf.flows.{made.name}: {name} is {given[name]!r}, of a network that reads a "
                f"context, and there is none; leave it out, or give context=."
            )
    if given.get("base") is not None:
        for name in sorted(given.keys() & set(made.of_base)):
            raise ArgumentError(
                f"pf.flows.{made.name}: {name} is {given[name]!r} beside a base, which it would "
                f"not reach; leave one of them out."
            )


def _as_python(value: Any) -> Any:
    """Whole numbers of any library as Python's."""
    if isinstance(value, list | tuple):
        return tuple(map(_as_python, value))
    plain = isinstance(value, bool | torch.Tensor) or not hasattr(value, "__index__")
    return value if plain else operator.index(value)


def learning_rate(flow: Flow) -> float | None:
    """Peak learning rate of the recipe that built a flow, where it has one of its own."""
    built = RECIPES.get(flow.facts.get("recipe", {}).get("name"))
    return None if built is None else built.lr


def _plain(value: Any) -> Any:
    """An argument as JSON; what cannot be written so, such as a lambda, by its text."""
    try:
        return Writer().value(value, "recipe")
    except SpecError:
        return repr(value)


def find(name: str) -> Recipe:
    """Look a recipe up by name, as a configuration or the command line gives it.

    Raises:
        ArgumentError: there is none of that name; the nearest is named.

    Example:
        >>> find("nsf").year
        2019
    """
    if name in RECIPES:
        return RECIPES[name]
    raise ArgumentError(
        f"There is no recipe {name!r}.{did_you_mean(name, RECIPES)} The recipes are "
        f"{', '.join(sorted(RECIPES))}."
    )
