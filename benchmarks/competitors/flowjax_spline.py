"""FlowJAX's coupling flow: five spline couplings of standardized rows, Adam.

What is compiled is compiled before the clock starts.
"""

from __future__ import annotations

import time
from typing import Any

import equinox
import jax
import jax.numpy as jnp
import numpy
import optax
import paramax
import torch
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal
from flowjax.flows import coupling_flow

from competitors import Fitted
from competitors.race import BINS, BOX, CLIP, HIDDEN, LAYERS, Race, Run, best_of, train

_OPTIMIZER = optax.inject_hyperparams(
    lambda learning_rate: optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(learning_rate))
)


def fit(race: Race) -> Fitted:
    """Train with each learning rate and score the best."""
    data = {part: jnp.asarray(race.standardized(part)) for part in ("train", "validation", "test")}
    parameters, static = equinox.partition(
        _build(race),
        equinox.is_inexact_array,
        is_leaf=lambda v: isinstance(v, paramax.NonTrainable),
    )
    score, step = _functions(static)
    # Compile every shape that the run will meet, on values that are thrown away. Two steps: the
    # state that comes out of one may be of another kind than the state that began.
    throwaway = _run_state(parameters, 1e-3)
    first = numpy.asarray(data["train"])[: min(race.batch_size, len(data["train"]))]
    for _ in range(2):
        throwaway = step(*throwaway, first, 1e-3)
    jax.block_until_ready(score(throwaway[0], data["validation"]))

    began = time.perf_counter()
    best, facts = best_of(race, lambda rate: _run(race, rate, data, parameters, score, step))
    log_prob = numpy.asarray(score(best.weights, data["test"]), dtype=numpy.float64)
    count = sum(leaf.size for leaf in jax.tree_util.tree_leaves(parameters))
    return Fitted(
        log_prob + race.logdet,
        count,
        time.perf_counter() - began,
        {**facts, "compilation": "not counted"},
    )


def _build(race: Race) -> Any:
    if len(set(HIDDEN)) != 1:
        raise ValueError("FlowJAX's networks have hidden layers of one width")
    return coupling_flow(
        jax.random.key(race.seed),
        base_dist=Normal(jnp.zeros(race.train.shape[1])),
        # k inner knots part the box into k + 1 bins
        transformer=RationalQuadraticSpline(knots=BINS - 1, interval=BOX),
        flow_layers=LAYERS,
        nn_width=HIDDEN[0],
        nn_depth=len(HIDDEN),
    )


def _functions(static: Any) -> tuple[Any, Any]:
    @jax.jit
    def score(parameters: Any, rows: Any) -> Any:
        return paramax.unwrap(equinox.combine(parameters, static)).log_prob(rows)

    @jax.jit
    def step(parameters: Any, state: Any, rows: Any, rate: Any) -> Any:
        gradient = jax.grad(lambda p: -score(p, rows).mean())(parameters)
        state.hyperparams["learning_rate"] = jnp.asarray(rate, jnp.float32)
        updates, state = _OPTIMIZER(learning_rate=1e-3).update(gradient, state, parameters)
        return equinox.apply_updates(parameters, updates), state

    return score, step


def _run(
    race: Race, rate: float, data: dict[str, Any], parameters: Any, score: Any, step: Any
) -> Run:
    now = _run_state(parameters, rate)
    rows = numpy.asarray(data["train"])

    def advance(index: torch.Tensor, lr: float) -> None:
        nonlocal now
        now = step(*now, rows[index.numpy()], lr)
        # Steps are begun before the last is done: wait, or the clock would run ahead of them.
        jax.block_until_ready(now)

    return train(
        race,
        rate,
        advance,
        lambda: float(score(now[0], data["validation"]).mean()),
        lambda: now[0],
    )


def _run_state(parameters: Any, rate: float) -> tuple[Any, Any]:
    return parameters, _OPTIMIZER(learning_rate=rate).init(parameters)
