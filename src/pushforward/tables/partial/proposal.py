"""Where to draw some numbers from, given others: a mixture of normal densities."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

__all__ = ["Proposal"]

_COMPONENTS = 16
_ROWS_EACH = 100
_RIDGE = 1e-3  # least variance of a component, of standardized numbers
_WIDER = 1.3  # draws come from wider components: what is missed weighs more than what is wasted


class Proposal:
    """A mixture of normal densities of rows, and of some of their numbers given the others.

    Args:
        rows: ``(n, numbers)`` in float64, that it is fitted to.
    """

    def __init__(self, rows: Tensor) -> None:
        from sklearn.mixture import GaussianMixture

        self.centre, spread = rows.mean(0), rows.std(0)
        self.spread = torch.where(spread > 0, spread, 1.0)
        standard = (rows - self.centre) / self.spread
        components = max(1, min(_COMPONENTS, len(rows) // _ROWS_EACH))
        fitted = GaussianMixture(components, reg_covar=_RIDGE, random_state=0, max_iter=50)
        fitted.fit(standard.numpy())
        self.log_share = torch.from_numpy(fitted.weights_).log()
        self.mean = torch.from_numpy(fitted.means_)
        self.covariance = torch.from_numpy(fitted.covariances_)

    def draw(
        self, known: Tensor, index: Tensor, n: int, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Draw the numbers that are not known.

        Args:
            known: ``(rows, known numbers)``.
            index: which these are.
            n: draws for each row.
            generator: where they come from.

        Returns:
            the others, ``(rows, n, other numbers)``, and their log-densities, ``(rows, n)``.
        """
        others = torch.tensor([i for i in range(len(self.centre)) if i not in set(index.tolist())])
        given = (known - self.centre[index]) / self.spread[index]
        log_share, mean, factor = self._conditional(given, index, others)
        rows = len(given)
        which = torch.multinomial(log_share.exp(), n, replacement=True, generator=generator)
        noise = torch.randn((rows, n, len(others)), generator=generator, dtype=known.dtype)
        picked = mean.gather(1, which[..., None].expand(rows, n, len(others)))
        drawn = picked + torch.einsum("rnij,rnj->rni", factor[which], noise)
        log_q = self._log_prob(drawn, log_share, mean, factor)
        scale = self.spread[others]
        return drawn * scale + self.centre[others], log_q - scale.log().sum()

    def _conditional(
        self, given: Tensor, index: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log shares ``(rows, components)``, means, and factors of the covariances of others."""
        whole = self.covariance
        inner = whole[:, others][:, :, others]
        if not len(index):
            mean = self.mean[None, :, others].expand(len(given), -1, -1)
            log_share = self.log_share.expand(len(given), -1)
            return log_share, mean, _WIDER * torch.linalg.cholesky(inner)
        of_known = torch.linalg.cholesky(whole[:, index][:, :, index])
        cross = torch.linalg.solve_triangular(of_known, whole[:, index][:, :, others], upper=False)
        away = given[:, None, :] - self.mean[:, index]
        scaled = torch.linalg.solve_triangular(of_known, away.permute(1, 2, 0), upper=False)
        mean = self.mean[:, None, others] + torch.einsum("kij,kir->krj", cross, scaled)
        rest = inner - cross.mT @ cross
        rest.diagonal(dim1=-2, dim2=-1).clamp_(min=0.1 * _RIDGE)
        log_det = of_known.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_share = self.log_share[:, None] - 0.5 * scaled.square().sum(1) - log_det[:, None]
        # a row far from all components would otherwise be the business of one of them alone
        log_share = torch.log_softmax(log_share.mT, -1).clamp_min(-20.0)
        factor = _WIDER * torch.linalg.cholesky(rest)
        return torch.log_softmax(log_share, -1), mean.transpose(0, 1), factor

    def _log_prob(self, x: Tensor, log_share: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
        """Log-density of the mixture, ``(rows, n)``."""
        away = (x[:, :, None] - mean[:, None]).permute(2, 3, 0, 1)  # components, numbers, rows, n
        flat = away.reshape(*away.shape[:2], -1)
        scaled = torch.linalg.solve_triangular(factor, flat, upper=False)
        squares = scaled.square().sum(1).reshape(len(factor), *x.shape[:2])
        log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = 0.5 * x.shape[-1] * math.log(2.0 * math.pi)
        each = -0.5 * squares - log_det[:, None, None] - constant
        return torch.logsumexp(each + log_share.mT[:, :, None], 0)
