"""FlowJAX: jitted by XLA before the clock starts; the compilation has a figure of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import equinox
import jax
import jax.numpy as jnp
import numpy
import optax
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal
from flowjax.flows import coupling_flow, masked_autoregressive_flow

from speed_peers import BINS, BOX, HIDDEN, LAYERS


class JaxModel:
    """A flow and its jitted jobs."""

    differs = "permutes the features between layers"

    def __init__(self, flow: Any, features: int) -> None:
        self._features = features
        self._parameters, self._static = equinox.partition(
            flow,
            equinox.is_inexact_array,
            is_leaf=lambda v: isinstance(v, paramax.NonTrainable),
        )
        self.parameters = sum(leaf.size for leaf in jax.tree_util.tree_leaves(self._parameters))
        self.compile_seconds = 0.0

    def job(self, task: str, batch: int) -> Callable[[], object]:
        """A call that does the job to its end."""
        draw = numpy.random.default_rng(0).normal(size=(batch, self._features))
        x = jnp.asarray(draw, jnp.float32)
        return {"train": self._train, "log_prob": self._score, "sample": self._draw}[task](x)

    def _distribution(self, parameters: Any) -> Any:
        return paramax.unwrap(equinox.combine(parameters, self._static))

    def _train(self, x: Any) -> Callable[[], object]:
        optimizer = optax.adam(1e-4)
        state = [self._parameters, optimizer.init(self._parameters)]

        def step(parameters: Any, moments: Any, x: Any) -> Any:
            gradient = jax.grad(lambda p: -self._distribution(p).log_prob(x).mean())(parameters)
            updates, moments = optimizer.update(gradient, moments, parameters)
            return equinox.apply_updates(parameters, updates), moments

        compiled = self._compiled(step, *state, x)

        def call() -> None:
            state[:] = jax.block_until_ready(compiled(*state, x))

        return call

    def _score(self, x: Any) -> Callable[[], object]:
        compiled = self._compiled(
            lambda parameters, x: self._distribution(parameters).log_prob(x), self._parameters, x
        )
        return lambda: jax.block_until_ready(compiled(self._parameters, x))

    def _draw(self, x: Any) -> Callable[[], object]:
        keys = [jax.random.key(0)]
        compiled = self._compiled(
            lambda parameters, key: self._distribution(parameters).sample(key, (len(x),)),
            self._parameters,
            keys[0],
        )

        def call() -> None:
            keys[0], key = jax.random.split(keys[0])
            jax.block_until_ready(compiled(self._parameters, key))

        return call

    def _compiled(self, function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
        began = time.perf_counter()
        compiled = jax.jit(function).lower(*arguments).compile()
        self.compile_seconds = time.perf_counter() - began
        return compiled


def build(kind: str, features: int) -> JaxModel | None:
    """A flow; tails are the identity, 23 numbers a spline where ours has 25."""
    make = coupling_flow if kind in ("coupling", "realnvp") else masked_autoregressive_flow
    options: dict[str, Any] = {}
    if kind in ("coupling", "autoregressive"):
        # k inner knots part the box into k + 1 bins
        options["transformer"] = RationalQuadraticSpline(knots=BINS - 1, interval=BOX)
    flow = make(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(features)),
        flow_layers=LAYERS,
        nn_width=HIDDEN,
        nn_depth=2,
        **options,
    )
    return JaxModel(flow, features)
