"""What a kernel knows of a map: its kind and its constants."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from pushforward.kernels.library import MapFields

__all__ = ["KINDS", "TAILS", "Formula", "formula_of"]

KINDS = ("affine", "additive", "rational quadratic", "logistic mixture")
TAILS = ("linear", "identity", "circular", "none")
_MOST_TERMS = 64


@dataclass(frozen=True)
class Formula:
    """A map that the kernels can compute.

    Args:
        kind: one of ``KINDS``.
        width: parameters of one number.
        terms: bins of a spline, components of a mixture.
        tails: of a spline, one of ``TAILS``.
        bound: of the log-scale of an affine map.
        min_width: least width of a bin, as a share of the box.
        min_height: least height of a bin.
        min_slope: least slope at a knot; of a mixture the share of x that is mixed in.
        offset: of what softplus sees, so that slopes are 1 at raw = 0.
    """

    kind: str
    width: int
    terms: int = 1
    tails: str = "linear"
    bound: float = 1.0
    min_width: float = 0.0
    min_height: float = 0.0
    min_slope: float = 0.0
    offset: float = 0.0

    @property
    def fits(self) -> bool:
        """Whether it is small enough for the kernels' memory."""
        return self.terms <= _MOST_TERMS

    @property
    def closed(self) -> bool:
        """Whether the kernels have its inverse."""
        return self.kind != "logistic mixture"

    @cached_property
    def head(self) -> bytes:
        """The part of ``fields`` that no call changes, packed."""
        return bytes(self.fields(None, None))[: MapFields.low.offset]

    def __getstate__(self) -> dict[str, Any]:
        """Without what is packed: another version may pack it in another way."""
        return {name: value for name, value in self.__dict__.items() if name != "head"}

    def fields(self, low: Tensor | None, high: Tensor | None) -> MapFields:
        """The structure that the kernels read; the caller keeps the tensors alive."""
        return MapFields(
            KINDS.index(self.kind),
            self.width,
            self.terms,
            TAILS.index(self.tails),
            self.bound,
            self.min_width,
            self.min_height,
            self.min_slope,
            self.offset,
            None if low is None else low.data_ptr(),
            None if high is None else high.data_ptr(),
            0 if low is None or low.ndim == 0 else 1,
        )


def formula_of(kind: str, width: int, **facts: Any) -> Formula | None:
    """The formula of a map; None where one of its numbers is none, as a tensor that is trained.

    Args:
        kind: as in ``Formula``, like all that follows.
        width: parameters of one number.
        **facts: the rest.

    Example:
        >>> formula_of("affine", 2, bound=3.0).bound
        3.0
    """
    if any(isinstance(fact, Tensor) for fact in facts.values()):
        return None
    return Formula(kind, width, **facts)
