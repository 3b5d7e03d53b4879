"""The log-determinant of ``I + J``, exactly and by an unbiased estimate."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["log_det_one_plus", "rademacher", "roulette_series"]

_SURVIVAL = 0.999  # at most, should rounding make J as long as 1


def log_det_one_plus(jacobian: Tensor) -> Tensor:
    """``log |det(I + J)|`` of each matrix, for J shorter than 1.

    Example:
        >>> log_det_one_plus(torch.tensor([[0.5, 0.0], [0.0, 0.0]])).exp()
        tensor(1.5000)
    """
    size = jacobian.shape[-1]
    trace = jacobian.diagonal(dim1=-2, dim2=-1).sum(-1)
    if size == 1:
        return torch.log1p(trace)
    if size == 2:  # a third of the time, and no rounding of small logarithms
        a, b, c, d = jacobian.flatten(-2).unbind(-1)
        return torch.log1p(trace + (a * d - b * c))
    unit = torch.eye(size, dtype=jacobian.dtype, device=jacobian.device)
    logabsdet: Tensor = torch.linalg.slogdet(unit + jacobian).logabsdet
    return logabsdet


def roulette_series(
    pull: Callable[[Tensor, slice | Tensor], Tensor],
    probe: Tensor,
    certain: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Unbiased estimates of ``log det(I + J)`` and of ``(I + J)^-T probe``.

    Both are power series that end at random: with s_k = (J^T)^k probe,

        log det(I + J) = E sum_k (-1)^(k+1) s_k·probe / k,    (I + J)^-T probe = sum_k (-1)^k s_k.

    A row gets ``certain`` terms, and from there one more with the probability
    ``|s_k| / |s_(k-1)|``; a term is divided by the probability that its row gets so far. So what
    terms count for falls no further, the variance is finite whatever J is (J shorter than 1), and
    a row takes as many terms as its own J needs.

    Args:
        pull: takes rows v to ``J^T v``, given v and which rows these are.
        probe: rows of mean zero and unit covariance, ``(rows, features)``.
        certain: terms that every row gets.
        generator: where chance comes from.

    Shapes:
        results: ``(rows,)`` and ``(rows, features)``
    """
    value = torch.zeros_like(probe[..., 0])
    solved, s = probe.clone(), probe
    rows: slice | Tensor = slice(None)
    chance = torch.ones_like(value)
    k, sign = 0, 1.0
    while len(s):
        k += 1
        before, s = s, pull(s, rows)
        if k > certain:
            share = torch.linalg.vector_norm(s, dim=-1) / torch.linalg.vector_norm(before, dim=-1)
            share = share.clamp_max(_SURVIVAL)
            alive = _uniform(share.shape, generator, share) < share  # false where share is nan
            every = torch.arange(len(value), device=value.device)
            rows, s, chance = every[rows][alive], s[alive], (chance * share)[alive]
        value[rows] += (sign / k) * (s * probe[rows]).sum(-1) / chance
        sign = -sign
        solved[rows] += sign * s / chance.unsqueeze(-1)
    return value, solved


def rademacher(shape: tuple[int, ...], generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Signs at random: of all probes of unit covariance those that vary least."""
    return (_uniform(shape, generator, like) < 0.5).to(like.dtype) * 2.0 - 1.0


def _uniform(shape: tuple[int, ...], generator: torch.Generator | None, like: Tensor) -> Tensor:
    device = like.device if generator is None else generator.device
    drawn = torch.rand(shape, generator=generator, dtype=like.dtype, device=device)
    return drawn.to(like.device)
