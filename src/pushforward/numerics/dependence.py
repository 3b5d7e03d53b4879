"""Which features depend on which: orders, directed graphs without cycles, and chains of both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import ArgumentError, ShapeError

__all__ = ["chained", "dependence", "levels", "permutation", "turned"]


def dependence(
    who: str,
    features: int,
    order: Sequence[int] | None = None,
    adjacency: Sequence[Sequence[bool]] | Tensor | None = None,
) -> Tensor:
    """What each feature may depend on, itself aside: booleans ``(feature, on which)``.

    Args:
        who: who asks, for the messages.
        features: number of features.
        order: position of each feature: it may depend on all that come before it.
        adjacency: row i says on which features feature i may depend; the diagonal says nothing.

    Raises:
        ShapeError: ``adjacency`` is no square of booleans.
        ArgumentError: ``order`` is no permutation, both are given, or ``adjacency`` has a cycle.

    Example:
        >>> dependence("", 3, order=[2, 0, 1])
        tensor([[False,  True,  True],
                [False, False, False],
                [False,  True, False]])
    """
    if adjacency is None:
        place = permutation(who, features, range(features) if order is None else order)
        return place[None, :] < place[:, None]
    if order is not None:
        raise ArgumentError(
            f"{who}: got order and adjacency, expected one of them; an adjacency orders by itself."
        )
    table = _table(who, features, adjacency)
    table = table & ~torch.eye(features, dtype=torch.bool)
    cycle = _cycle(table)
    if cycle:
        path = " -> ".join(map(str, cycle))
        raise ArgumentError(
            f"{who}: adjacency has the cycle {path} (each influences the next), expected none."
        )
    return table


def permutation(who: str, features: int, order: Sequence[int] | Tensor) -> Tensor:
    """An argument ``order`` as a tensor of whole numbers.

    Raises:
        ArgumentError: it is no permutation of ``range(features)``.

    Example:
        >>> permutation("", 3, [2, 0, 1])
        tensor([2, 0, 1])
    """
    given: Any = order.tolist() if isinstance(order, Tensor) else order
    places = list(given) if isinstance(given, Iterable) else []
    if not all(hasattr(i, "__index__") for i in places) or sorted(places) != list(range(features)):
        raise ArgumentError(
            f"{who}: order is {given!r}, expected a permutation of 0 … {features - 1}."
        )
    return torch.tensor([int(i) for i in places], dtype=torch.long)


def chained(patterns: Iterable[Tensor | None]) -> Tensor | None:
    """Which inputs of maps in a row, the first first, reach which outputs of the last.

    Args:
        patterns: of each map booleans ``(outputs, inputs)``; None where everything is reached.

    Example:
        >>> lower = torch.ones(2, 2).tril() > 0
        >>> chained([lower, lower.flip(0)])
        tensor([[ True,  True],
                [ True, False]])
    """
    total: Tensor | None = None
    for pattern in patterns:
        if pattern is None:
            return None
        total = pattern if total is None else (pattern.float() @ total.float()) > 0
    return total


def turned(pattern: Tensor) -> Tensor:
    """The pattern of the inverse of a map that has this one.

    Each output is paired with an input that it depends on, which for an invertible map can be done
    for all at once; the inverse then depends on what is reached over any number of steps.

    Example:
        >>> turned(torch.tensor([[False, True], [True, True]]))
        tensor([[ True,  True],
                [ True, False]])
    """
    size = len(pattern)
    if int(pattern.sum()) == size:  # a permutation
        return pattern.mT
    pair = torch.arange(size)
    if not bool(pattern.diagonal().all()):
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import maximum_bipartite_matching

        found = maximum_bipartite_matching(csr_matrix(pattern.numpy()), perm_type="column")
        pair = torch.as_tensor(found, dtype=torch.long)
    reached = pattern[:, pair]
    for _ in range(math.ceil(math.log2(max(2, size)))):
        reached = (reached.float() @ reached.float()) > 0
    return reached[pair.argsort()]


def _table(who: str, features: int, adjacency: Sequence[Sequence[bool]] | Tensor) -> Tensor:
    given: Tensor | None = None
    if isinstance(adjacency, Tensor):
        given = adjacency.detach().cpu()
    else:
        with suppress(TypeError, ValueError):  # no rows, no numbers, or rows of different lengths
            given = torch.tensor([list(row) for row in adjacency])
    if given is None or given.shape != (features, features) or given.dtype != torch.bool:
        came = f"{adjacency!r:.40}" if given is None else f"{tuple(given.shape)} of {given.dtype}"
        raise ShapeError(
            f"{who}: adjacency is {came}, expected ({features}, {features}) of booleans, "
            f"adjacency[i][j] True where feature i may depend on feature j."
        )
    return given


def levels(table: Tensor) -> Tensor:
    """How many features, one depending on another, lead up to each, at most: ``(features,)``.

    Those of level 0 depend on nothing. Those on a cycle, and what depends on them, get -1.

    Example:
        >>> levels(dependence("", 3, adjacency=[[False] * 3, [True, False, False], [False] * 3]))
        tensor([0, 1, 0])
    """
    found = torch.full((len(table),), -1)
    waiting = torch.ones(len(table), dtype=torch.bool)
    for level in range(len(table)):
        ready = waiting & ~(table & waiting).any(1)
        if not bool(ready.any()):
            break
        found[ready] = level
        waiting = waiting & ~ready
    return found


def _cycle(table: Tensor) -> list[int]:
    """One cycle, from cause to effect, its first feature repeated at the end; empty if none."""
    stuck = levels(table) < 0
    if not bool(stuck.any()):
        return []
    # Every feature that is stuck depends on one that is: going back, some feature comes again.
    path = [int(stuck.nonzero()[0])]
    while path[-1] not in path[:-1]:
        path.append(int((table[path[-1]] & stuck).nonzero()[0]))
    return path[path.index(path[-1]) :][::-1]
