"""Flows: densities made of a transform and a base, and the recipes that build them."""

from pushforward.flows.flow import Estimate, Flow
from pushforward.flows.recipes import (
    RECIPES,
    autoregressive,
    coupling,
    find,
    iaf,
    maf,
    nice,
    nsf,
    realnvp,
    recipe,
)

__all__ = [
    "RECIPES",
    "Estimate",
    "Flow",
    "autoregressive",
    "coupling",
    "find",
    "iaf",
    "maf",
    "nice",
    "nsf",
    "realnvp",
    "recipe",
]
