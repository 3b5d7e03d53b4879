"""Recipes: functions that build published architectures as flows."""

from pushforward.flows.recipes.autoregressive import autoregressive, iaf, maf
from pushforward.flows.recipes.coupling import coupling, nice, realnvp
from pushforward.flows.recipes.registry import RECIPES, Recipe, find, recipe
from pushforward.flows.recipes.spline import nsf

__all__ = [
    "RECIPES",
    "Recipe",
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
