"""A heteroscedastic Gaussian network and a mixture density network, single and as ensembles.

Both are one perceptron whose output is a mixture of normal densities: of one component, or of
several. The members of an ensemble are trained side by side, as one batch of matrices; none sees
another, and each keeps the weights that were best on the tenth of the rows that it does not see.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy
import torch
from torch import Tensor
from torch.nn import functional

from regression_rivals.trial import Scores, Trial, score

CLIP = 5.0  # largest norm of a member's gradient
DECAY = 1e-2  # of matrices alone
LEARNING_RATE = 3e-3
LOOKS = 50  # at the validation rows in a run
LEAST_SCALE = 1e-3  # of a component, in standard deviations of y: below are spikes


@dataclass(frozen=True)
class Size:
    """What grows with the table, as the regressor's does."""

    hidden: tuple[int, ...]
    batch: int
    steps: int


def size_for(rows: int) -> Size:
    """Networks and runs of about the regressor's size."""
    return Size((64, 64), 64, 2000) if rows < 3000 else Size((128, 128), 256, 5000)


def fit_networks(trial: Trial, components: int) -> dict[str, Scores]:
    """Train all members; the first of them is the single model."""
    began = time.perf_counter()
    x, y, x_test, y_test = (torch.from_numpy(a).float() for a in trial.standardized())
    folds = trial.folds()
    size = size_for(len(y))
    ensemble = Ensemble(len(folds), x.shape[1], size.hidden, components, trial.seed)
    stopped = _train(ensemble, x, y, folds, size, trial.seed)
    with torch.no_grad():
        log_prob, below = ensemble.double()(x_test.double().expand(len(folds), -1, -1), y_test)
    seconds = time.perf_counter() - began
    facts = {
        "components": components,
        "hidden": size.hidden,
        "steps": size.steps,
        "batch_size": size.batch,
        "best_step": float(stopped.mean()),
    }
    found = {}
    for name, count in {"single": 1, "ensemble": len(folds)}.items():
        if name == "ensemble" and count == 1:
            continue
        share = seconds * count / len(folds)  # of what was trained at once
        scores = score(trial, log_prob[:count].numpy(), below[:count].numpy(), share)
        found[name] = scores.with_facts(facts | {"members": count})
    return found


class Ensemble(torch.nn.Module):
    """Perceptrons of the same size side by side; each gives a mixture of normal densities.

    Shapes:
        x: ``(members, n, inputs)``; y, log_prob, below: ``(members, n)``
    """

    def __init__(
        self, members: int, inputs: int, hidden: Sequence[int], components: int, seed: int
    ) -> None:
        super().__init__()
        self.components = components
        generator = torch.Generator().manual_seed(seed)
        widths = (inputs, *hidden, 3 * components)
        weights, biases = [], []
        for place, (a, b) in enumerate(pairwise(widths)):
            size = 0.1 if place == len(hidden) else 1.4
            weights.append(torch.randn(members, a, b, generator=generator) * size / math.sqrt(a))
            biases.append(torch.zeros(members, 1, b))
        biases[0] = 0.5 * torch.randn(biases[0].shape, generator=generator)
        if components > 1:  # components that began equal would stay nearly so
            biases[-1][..., components : 2 * components] = torch.linspace(-1.5, 1.5, components)
            biases[-1][..., 2 * components :] = -0.7
        self.weights = torch.nn.ParameterList(weights)
        self.biases = torch.nn.ParameterList(biases)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density of y, and the probability of less."""
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            x = x if i == last else functional.silu(x)
        logits, means, raw = x.split(self.components, -1)
        log_scale = raw.clamp(math.log(LEAST_SCALE), 5.0)
        u = (y.unsqueeze(-1) - means) * (-log_scale).exp()
        log_weight = logits.log_softmax(-1)
        each = log_weight - 0.5 * u.square() - log_scale - 0.5 * math.log(2 * math.pi)
        return each.logsumexp(-1), (log_weight.exp() * torch.special.ndtr(u)).sum(-1)


def _train(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    folds: Sequence[tuple[numpy.ndarray, numpy.ndarray]],
    size: Size,
    seed: int,
) -> Tensor:
    """AdamW with cosine decay on averaged weights; returns the step that was best for each."""
    generator = torch.Generator().manual_seed(seed)
    train, held = (torch.from_numpy(numpy.stack(part)) for part in zip(*folds, strict=True))
    rows = train.shape[1]
    batch = min(size.batch, rows)
    parameters = list(ensemble.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": list(ensemble.weights), "weight_decay": DECAY},
            {"params": list(ensemble.biases), "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
        betas=(0.9, 0.99),
        fused=True,
    )
    average = [p.detach().clone() for p in parameters]
    kept = [p.detach().clone() for p in parameters]
    best = torch.full((len(folds),), -math.inf)
    best_step = torch.zeros(len(folds))
    decay = 1.0 - 1.0 / (size.steps / 15)
    warm = size.steps / 20
    begin = rows
    order = torch.empty(0)
    for step in range(1, size.steps + 1):
        if begin + batch > rows:
            order, begin = torch.rand(len(folds), rows, generator=generator).argsort(1), 0
        index = train.gather(1, order[:, begin : begin + batch])
        begin += batch
        done = step / size.steps
        for group in optimizer.param_groups:
            group["lr"] = (
                LEARNING_RATE * min(1.0, step / warm) * 0.5 * (1 + math.cos(math.pi * done))
            )
        log_prob, _ = ensemble(x[index], y[index])
        optimizer.zero_grad()
        (-log_prob.mean(1).sum()).backward()
        _clip(parameters)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 1 - min(decay, (1 + step) / (10 + step)))
            if step % (size.steps // LOOKS) == 0:
                figures = _look(ensemble, average, x[held], y[held])
                better = figures > best
                best, best_step[better] = torch.where(better, figures, best), float(step)
                for keep, now in zip(kept, average, strict=True):
                    keep[better] = now[better]
    _put(parameters, kept)
    return best_step


def _clip(parameters: Sequence[Tensor]) -> None:
    """Limit the gradient's norm for each member by itself."""
    squares = sum(p.grad.flatten(1).square().sum(1) for p in parameters)
    share = CLIP / squares.sqrt().clamp_min(CLIP)
    for p in parameters:
        p.grad.mul_(share[:, None, None]).nan_to_num_(0.0)


def _look(ensemble: Ensemble, average: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Mean log-density of each member's validation rows with the averaged weights."""
    parameters = list(ensemble.parameters())
    now = [p.detach().clone() for p in parameters]
    _put(parameters, average)
    figures = ensemble(x, y)[0].mean(1)
    _put(parameters, now)
    return figures


def _put(parameters: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for p, value in zip(parameters, values, strict=True):
            p.copy_(value)
