"""A flow of the columns of a table: mixed columns first, then a recipe's flow of the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pushforward import bases
from pushforward.flows import Flow, find
from pushforward.networks import MixedEncoding, Normalize
from pushforward.tables.layout import Layout
from pushforward.transforms import (
    Columns,
    Compose,
    Given,
    Interval,
    Log,
    Logit,
    Permutation,
    Standardize,
    Transform,
)

__all__ = ["assemble", "independent", "started"]


def assemble(
    recipe: str,
    arguments: Mapping[str, Any],
    head: Mapping[str, Any],
    features: Layout,
    given: Layout | None,
    seed: int,
) -> Flow:
    """Build the flow.

    Args:
        recipe: the name of the recipe for the plain numbers.
        arguments: its arguments besides features, context and seed.
        head: arguments of ``bases.MixedColumns`` besides columns and context.
        features: how the features lie in a row.
        given: how the context columns do, or None.
        seed: of the weights.
    """
    embed = None if given is None else _embedding(given)
    width = 0 if embed is None else getattr(embed, "outputs", given.width if given else 0)
    built = find(recipe)
    if not features.mixed:
        flow = built.build(
            len(features.plain), width, seed=seed, **{**_start(features), **arguments}
        )
        # the recipe's own embedding scales numbers
        return flow if isinstance(embed, Normalize | None) else _with_embed(flow, embed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        mixed = bases.MixedColumns(features.mixed, context=width, **head)
    if not features.plain:
        order = list(range(features.head))
        return Flow(Permutation(features.head, order), mixed, embed)
    encoding = MixedEncoding(features.mixed)
    inner = built.build(
        len(features.plain),
        encoding.outputs + width,
        seed=seed,
        **{**_start(features), **arguments},
    )
    transform = Given(features.head, inner.transform, encoding, context=width)
    flow = Flow(transform, bases.Columns(mixed, inner.base), embed)
    flow.facts["recipe"] = inner.facts["recipe"]
    return flow


def _with_embed(flow: Flow, embed: nn.Module | None) -> Flow:
    made = Flow(flow.transform, flow.base, embed)
    made.facts["recipe"] = flow.facts["recipe"]
    return made


def _embedding(given: Layout) -> nn.Module:
    plain = all(one["value"] == "number" and not one["codes"] for one in given.mixed)
    return Normalize(given.width) if plain else MixedEncoding(given.mixed)


def _start(features: Layout) -> dict[str, Any]:
    """The recipe's first transform where some numbers have ends; else it has its own."""
    if all(features.columns[i].type == "real" for i in features.plain):
        return {}
    return {"start": started(features)}


def started(features: Layout) -> Transform:
    """Plain numbers to the whole line, standardized."""
    kinds: dict[str, list[Any]] = {"real": [], "positive": [], "interval": []}
    for i in features.plain:
        kinds[features.columns[i].type].append(features.columns[i])
    parts: list[Transform] = []
    if kinds["real"]:
        parts.append(Standardize(len(kinds["real"])))
    if kinds["positive"]:
        parts.append(Log(len(kinds["positive"])))
    if kinds["interval"]:
        count = len(kinds["interval"])
        low, high = torch.tensor([column.ends for column in kinds["interval"]]).unbind(-1)
        parts.append(Compose(Interval(count, low, high), Logit(count)))
    return Compose(Columns(*parts), Standardize(len(features.plain)))


def independent(features: Layout) -> bases.MixedColumns | None:
    """The mixed columns each for itself, to be fitted: what a model of them has to beat."""
    with torch.random.fork_rng(devices=[]):  # of the weights, which begin at zero anyway
        return bases.MixedColumns(features.mixed, hidden=()) if features.mixed else None
