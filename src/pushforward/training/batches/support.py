"""Rows that have no density whatever the weights are: refused before a step sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pushforward.flows.supports import refuse_rows
from pushforward.objectives.likelihood import Batch
from pushforward.transforms.domains import Domain, Everywhere

if TYPE_CHECKING:
    from pushforward.flows.flow import Flow

__all__ = ["Support"]

_CHUNK = 2**22  # numbers looked at in one go: the check must not double the memory


class Support:
    """Where a flow may have a density.

    Args:
        flow: the flow; its domain is asked for where the flow is, for that is where its ends are.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.flows.nsf(features=1, layers=1, hidden=(8,), start=pf.transforms.Log(1))
        >>> Support(flow).refuse("fit: data", Batch(torch.tensor([[1.0], [-1.0]])))
        Traceback (most recent call last):
        ...
        pushforward.errors.DataError: fit: data: 1 of 2 rows has no density, the first is row 1, ...
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._known: tuple[torch.device, Domain] | None = None

    @property
    def domain(self) -> Domain:
        """The domain, its ends on the flow's device."""
        device = self._flow.device
        if self._known is None or self._known[0] != device:
            self._known = (device, self._flow.transform.domain)
        return self._known[1]

    def refuse(self, who: str, rows: Batch, place: Callable[[int], str] | None = None) -> None:
        """Refuse rows that have a weight and no density.

        Args:
            who: whose argument they are.
            rows: the rows.
            place: of rows of a batch, what the caller calls the one with this number.

        Raises:
            DataError: there is such a row; how many there are, which is the first, what it holds.
        """
        domain = self.domain
        if isinstance(domain, Everywhere):  # what is not finite is told elsewhere, with its column
            return
        outside = self._outside(domain, rows.x)
        if rows.weights is not None:
            outside &= rows.weights != 0.0
        refuse_rows(who, domain, rows.x, outside, place)

    def _outside(self, domain: Domain, x: Tensor) -> Tensor:
        length = max(1, _CHUNK // max(1, x[:1].numel()))
        device = self._flow.device
        return torch.cat(
            [domain.outside(part.to(device)).to(x.device) for part in torch.split(x, length)]
        )
