"""Coupling of images, whose network is shown an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import ShapeError
from pushforward.maps.base import Map
from pushforward.networks.given import shaped_output
from pushforward.numerics.conditioning import reach
from pushforward.transforms.coupling.coupling import Coupling
from pushforward.transforms.fused import Weights, call_with

__all__ = ["ImageCoupling"]


class ImageCoupling(Coupling):
    r"""Coupling of images, ``(C, H, W)``, by a network of images.

    The network is shown what is kept, zero elsewhere, then planes that are 1 where something is
    kept, then the context as constant planes. Of what it gives, each pixel that moves takes its own
    parameters, times a trained gain that starts at zero: so it is the identity before training,
    whatever the network.

    Args:
        event: ``(C, H, W)``.
        map: the map h, which is copied.
        keep: booleans ``(C, H, W)``, True for what stays, as ``transforms.coupling.keeps`` makes.
        network: a function of (inputs, outputs), both numbers of channels, giving a module that
            takes ``(n, inputs, H, W)`` to ``(n, outputs, H, W)``.
        context: width of the context, 0 for none.
        kept_map: a map of what is kept, which is copied; by default it stays as it is.

    Shapes:
        x, z: ``(*batch, C, H, W)``; context: ``(*batch, context)``; logdet: ``(*batch,)``

    Raises:
        ShapeError: ``event`` is no shape of images; when called: the network gives another shape
            than was asked for.
        ArgumentError: ``keep`` has another shape than the event, or keeps all or nothing.
        InputTypeError: ``network`` is no function that gives a network.

    Cost: one network call in either direction; exact.

    Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803.
        Differs: the network sees far values compressed to a logarithm, and what is kept.

    Example:
        >>> import functools
        >>> from pushforward import maps
        >>> from pushforward.transforms.coupling import keeps
        >>> network = functools.partial(nn.Conv2d, kernel_size=3, padding=1)
        >>> shape = (3, 8, 8)
        >>> keep = keeps.checkerboard(shape)
        >>> t = ImageCoupling(shape, map=maps.Affine(), keep=keep, network=network)
        >>> z, logdet = t(torch.zeros(5, *shape))
        >>> z.shape, logdet.shape
        (torch.Size([5, 3, 8, 8]), torch.Size([5]))
    """

    def __init__(
        self,
        event: Sequence[int],
        *,
        map: Map,
        keep: Sequence[Any] | Tensor,
        network: Callable[[int, int], nn.Module],
        context: int = 0,
        kept_map: Map | None = None,
    ) -> None:
        if isinstance(event, int) or len(event) != 3:
            raise ShapeError(
                f"ImageCoupling: event is {event}, expected (C, H, W); write Coupling for others."
            )
        super().__init__(
            event, map=map, keep=keep, network=network, context=context, kept_map=kept_map
        )
        self.gain = nn.Parameter(torch.zeros(self._widths()[1], 1, 1))

    def _widths(self) -> tuple[int, int]:
        channels = self.event_shape[0]
        return 2 * channels + self.context, channels * self.map.raw_width

    def _raw(self, kept: Tensor, context: Tensor | None, weights: Weights | None = None) -> Tensor:
        batch, size = kept.shape[:-1], self.event_shape[1:]
        nothing = kept.new_zeros(*batch, len(self.moved))
        flags = self._join(torch.ones_like(kept), nothing)
        seen = torch.cat((self._join(reach(kept), nothing), flags), -3)
        if context is not None:
            planes = reach(context)[..., None, None].expand(*context.shape, *size)
            seen = torch.cat((seen, planes), -3)
        count, outputs = math.prod(batch), self._widths()[1]
        given = call_with(self.network, weights, seen.reshape(count, *seen.shape[-3:]))
        raw = shaped_output("ImageCoupling", self.network, given, (count, outputs, *size))
        raw = raw * self.gain
        # (n, C * raw_width, H, W) to (*batch, C * H * W, raw_width)
        raw = raw.reshape(*batch, self.event_shape[0], self.map.raw_width, *size)
        raw = raw.movedim(-3, -1).flatten(-4, -2)
        return raw.index_select(-2, self.moved).to(kept.dtype)
