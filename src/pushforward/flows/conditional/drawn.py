"""What the densities of numbers given others share: drawing without gradients, and saving."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.flows.savable import Savable
from pushforward.spec import Part

__all__ = ["Drawn"]


class Drawn(Savable, Part, nn.Module):
    """A density given a context that is drawn from by ``rsample``.

    Source: none
    """

    rsample: Any  # draws with gradients, ``(*n, *batch)`` and what one of them is

    def sample(
        self,
        n: int | Sequence[int],
        context: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """As ``rsample``, without gradients."""
        with torch.no_grad():
            drawn: Tensor = self.rsample(n, context, generator)
        return drawn
