"""Classes as normal densities, which a flow begins with."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pushforward.maps import Additive
from pushforward.numerics.conditioning import reach
from pushforward.objectives import Batch
from pushforward.tables.rows import Rows
from pushforward.training.batches.rows import by_weight
from pushforward.transforms import LU, Compose, Elementwise, Standardize
from pushforward.transforms.linear.matrix import OFFSET, SMALLEST

__all__ = ["ClassStart", "Moments", "moments"]

_OWN = 2.0  # times the features: rows from which a class's own covariance counts for half
_LEAST = 1e-4  # added to variances, in units of those of all rows
_WIDE = 40  # columns above which all classes share a matrix


class Moments(NamedTuple):
    """Of each class.

    Attributes:
        mean: ``(classes, features)``.
        covariance: ``(classes, features, features)``, drawn to that within classes.
        within: ``(features, features)``, the mean covariance within classes.
    """

    mean: Tensor
    covariance: Tensor
    within: Tensor


def moments(z: Tensor, shares: Tensor) -> Moments:
    """Means and covariances of classes, in float64.

    Few rows make a poor covariance: that within classes is drawn to its diagonal, and each class's
    to it, the more the fewer rows a number of features has. A class of one row has its mean, and
    the covariance of the others.

    Args:
        z: ``(rows, features)``.
        shares: how much of each row belongs to each class, ``(rows, classes)``.
    """
    z, shares = z.double(), shares.double()
    features, total = z.shape[1], shares.sum()
    count = shares.sum(0)
    everywhere = (shares.sum(1) @ z) / total
    mean = (shares.mT @ z) / count.clamp_min(1e-12)[:, None]
    mean = torch.where(count[:, None] > 0.0, mean, everywhere)
    apart = z[:, None] - mean  # (rows, classes, features)
    scatter = torch.einsum("nk,nkd,nke->kde", shares, apart, apart)
    within = scatter.sum(0) / (total - (count > 0.0).sum()).clamp_min(1.0)
    variances = within.diagonal() + _LEAST
    drawn = min(1.0, 0.5 * (features + 1) / max(float(total), 1.0))
    within = (1.0 - drawn) * within + drawn * torch.diag(within.diagonal())
    within.diagonal().copy_(variances)
    others = _OWN * (features + 1)
    covariance = (scatter + others * within) / (count + others)[:, None, None]
    return Moments(mean, covariance, within)


class ClassStart:
    """What a flow of the columns given the class begins with: a normal density for each class.

    It takes each class to a standard normal density: a matrix and a shift for each; in many
    columns, where so many matrices would be slow, one matrix for all and a shift for each.

    Args:
        features: columns of plain numbers.
        context: width of what the layers read, the class at its end.
        classes: how many there are.

    Attributes:
        transform: to be the start of a recipe.
    """

    def __init__(self, features: int, context: int, classes: int) -> None:
        self.classes = classes
        self._first = Standardize(features)
        self._each = self._shared = self._shift = None
        if features <= _WIDE:
            self._each = LU(features, context=context, hidden=())
            self.transform = Compose(self._first, self._each)
        else:
            self._shared = LU(features, shift=False)
            self._shift = Elementwise(features, map=Additive(), context=context, hidden=())
            self.transform = Compose(self._first, self._shared, self._shift)

    def place(self, rows: Rows, first: int) -> None:
        """Read means and covariances off rows, whose context is the code of the class.

        Args:
            rows: to learn from.
            first: the first of their numbers that are plain.
        """
        assert rows.context is not None
        codes = rows.context[:, 0].long()
        shares = functional.one_hot(codes, self.classes).double()
        if rows.weights is not None:  # whose mean is to be 1, so that rows stay rows
            shares = shares * (rows.weights / rows.weights.mean()).double()[:, None]
        with torch.no_grad():
            x = rows.x[:, first:]
            self._first.fit(by_weight(Batch(x, None, rows.weights)).x)  # as pf.fit will do
            found = moments(self._first(x)[0], shares)
            if self._each is not None:
                matrix = _whitening(found.covariance)
                shift = -torch.einsum("kde,ke->kd", matrix, found.mean)
                _set_network(self._each, torch.cat((*_factors(matrix), shift), -1))
            elif self._shared is not None and self._shift is not None:
                matrix = _whitening(found.within)
                features = len(matrix)
                lower, upper, diagonal = _factors(matrix[None])
                parameters: Any = self._shared._parameters
                parameters["lower"].copy_(lower.view(features, features))
                parameters["upper"].copy_(upper.view(features, features))
                parameters["diagonal"].copy_(diagonal[0])
                _set_network(self._shift, -found.mean @ matrix.mT)


def _whitening(covariance: Tensor) -> Tensor:
    """The lower triangular matrix that makes a unit matrix of a covariance."""
    factor = torch.linalg.cholesky(covariance)
    unit = torch.eye(factor.shape[-1], dtype=factor.dtype).expand_as(factor)
    found: Tensor = torch.linalg.solve_triangular(factor, unit, upper=False)
    return found


def _factors(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Parameters of ``LU`` for lower triangular matrices, flat: lower, upper, diagonal."""
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    lower = (matrix / diagonal.unsqueeze(-2)).tril(-1)
    raw = torch.log(torch.expm1((diagonal - SMALLEST).clamp_min(SMALLEST))) - OFFSET
    return lower.flatten(-2), torch.zeros_like(lower).flatten(-2), raw


def _set_network(part: Any, outputs: Tensor) -> None:
    """Let a part's network, linear in its context, give each class its parameters."""
    last = part.network.last
    one = float(reach(torch.ones((), dtype=torch.float64)))  # what it sees of a 1
    last.weight.zero_()
    last.weight[:, -len(outputs) :].copy_(outputs.mT / one)
    last.bias.zero_()
