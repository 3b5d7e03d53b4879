"""zuko's NSF: five autoregressive spline transforms of standardized rows, Adam."""

from __future__ import annotations

import time

import torch
import zuko

from competitors import Fitted
from competitors.race import BINS, CLIP, HIDDEN, LAYERS, Race, Run, best_of, train

_CHUNK = 8192


def fit(race: Race) -> Fitted:
    """Train with each learning rate and score the best."""
    began = time.perf_counter()
    rows, validation, test = (
        torch.from_numpy(race.standardized(part)) for part in ("train", "validation", "test")
    )
    best, facts = best_of(race, lambda rate: _run(race, rate, rows, validation))
    flow = _build(race)
    flow.load_state_dict(best.weights)
    return Fitted(
        _score(flow, test).double().numpy() + race.logdet,
        sum(p.numel() for p in flow.parameters()),
        time.perf_counter() - began,
        facts,
    )


def _build(race: Race) -> torch.nn.Module:
    torch.manual_seed(race.seed)
    features = race.train.shape[1]
    return zuko.flows.NSF(features, transforms=LAYERS, hidden_features=HIDDEN, bins=BINS)


def _run(race: Race, rate: float, rows: torch.Tensor, validation: torch.Tensor) -> Run:
    flow = _build(race)
    optimizer = torch.optim.Adam(flow.parameters(), lr=rate)

    def step(index: torch.Tensor, lr: float) -> None:
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        loss = -flow().log_prob(rows[index]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), CLIP)
        optimizer.step()

    return train(
        race,
        rate,
        step,
        lambda: float(_score(flow, validation).mean()),
        lambda: {name: value.clone() for name, value in flow.state_dict().items()},
    )


def _score(flow: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([flow().log_prob(piece) for piece in rows.split(_CHUNK)])
