"""Recipes: functions that build published architectures as flows."""

from pushforward.flows.recipes.autoregressive import autoregressive, iaf, maf
from pushforward.flows.recipes.continuous import ffjord
from pushforward.flows.recipes.coupling import coupling, flowpp, nice, realnvp
from pushforward.flows.recipes.made import made
from pushforward.flows.recipes.monotone import bernstein, bnaf, naf, sospf, umnn
from pushforward.flows.recipes.registry import RECIPES, Recipe, find, recipe
from pushforward.flows.recipes.residual import planar, radial, residual, sylvester
from pushforward.flows.recipes.spline import mixture_nsf, ncsf, nsf
from pushforward.flows.recipes.tails import heavy_tailed

__all__ = [
    "RECIPES",
    "Recipe",
    "autoregressive",
    "bernstein",
    "bnaf",
    "coupling",
    "ffjord",
    "find",
    "flowpp",
    "heavy_tailed",
    "iaf",
    "made",
    "maf",
    "mixture_nsf",
    "naf",
    "ncsf",
    "nice",
    "nsf",
    "planar",
    "radial",
    "realnvp",
    "recipe",
    "residual",
    "sospf",
    "sylvester",
    "umnn",
]
