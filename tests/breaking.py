"""Ways to break a class: applied in memory, alike in both directions of a transform."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Break:
    """One break of one family.

    Attributes:
        family: the class that is broken.
        name: what is done to it.
        apply: does it.
        paths: the tests that must notice: of those that run on a list of cases,
        cases: the ones whose name has this expression in it.
    """

    family: str
    name: str
    apply: Callable[[], None]
    paths: tuple[str, ...]
    cases: str


def both(cls: type, change: Callable[[Tensor, Tensor], Pair], names: tuple[str, str]) -> None:
    """Change what both directions return: (state, logdet) -> (state, logdet)."""
    for name in names:
        setattr(cls, name, _changed(getattr(cls, name), change))


def surplus(cls: type, names: tuple[str, str]) -> None:
    """A term too many in one direction, and its opposite in the other: the sum is still zero."""
    for name, term in zip(names, (0.01, -0.01), strict=True):
        more = lambda z, logdet, term=term: (z, logdet + term)
        setattr(cls, name, _changed(getattr(cls, name), more))


def one(cls: type, change: Callable[[Tensor, Tensor], Pair], names: tuple[str, str]) -> None:
    """Change what the inverse returns, and nothing else."""
    setattr(cls, names[1], _changed(getattr(cls, names[1]), change))


def stretched(cls: type, names: tuple[str, str]) -> None:
    """Another map in both directions, z twice 1.01 and back, that the logdet knows nothing of."""
    forward, inverse = (getattr(cls, name) for name in names)

    @functools.wraps(forward)
    def there(self, x, other):
        z, logdet = forward(self, x, other)
        return z * 1.01, logdet

    @functools.wraps(inverse)
    def back(self, z, other):
        return inverse(self, z / 1.01, other)

    setattr(cls, names[0], there)
    setattr(cls, names[1], back)


def _changed(method, change):
    @functools.wraps(method)
    def changed(*args, **kwargs):
        return change(*method(*args, **kwargs))

    return changed


def summed(cls: Any, names: tuple[str, ...], how: str) -> None:
    """Rewrite every sum in some methods: ``mean`` for sum, or without its first term (``lost``).

    Or in functions of a module.
    """
    found = 0
    for name in names:
        owners = getattr(cls, "__mro__", (cls,))
        method = next((vars(c)[name] for c in owners if name in vars(c)), None)
        if method is None or not inspect.isfunction(method):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
        rewriter = _Sums(how)
        tree = ast.fix_missing_locations(rewriter.visit(tree))
        found += rewriter.found
        tree.body[0].decorator_list = []  # type: ignore[attr-defined]
        scope = dict(inspect.unwrap(method).__globals__)
        exec(compile(tree, f"<{cls.__name__}.{name} broken>", "exec"), scope)
        setattr(cls, name, scope[name])
    if not found:
        raise LookupError(f"{cls.__name__} has no sum to break")


class _Sums(ast.NodeTransformer):
    def __init__(self, how: str) -> None:
        self.how, self.found = how, 0

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        function = node.func
        if not isinstance(function, ast.Attribute) or function.attr != "sum" or node.keywords:
            return node
        self.found += 1
        if self.how == "mean":
            function.attr = "mean"
        else:
            cut = ast.Tuple([ast.Constant(...), ast.Slice(ast.Constant(1))], ast.Load())
            function.value = ast.Subscript(function.value, cut, ast.Load())
        return node


def replaced(owner: object, name: str, make: Callable) -> None:
    """Put ``make(the old one)`` in the place of a function."""
    old = getattr(owner, name)  # raises where the function is gone: then this list must follow
    setattr(owner, name, make(old))
