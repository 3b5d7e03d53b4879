"""One matrix for all pixels of an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError, InverseError
from pushforward.numerics.precision import full_precision
from pushforward.transforms.base import Transform
from pushforward.transforms.linear.matrix import (
    apply_matrix,
    positive,
    solve,
    solve_lower,
    solve_upper,
)

__all__ = ["Convolution1x1"]


class Convolution1x1(Transform):
    """Convolution with a 1 by 1 kernel: ``z = W x`` for the channels of every pixel.

    With ``lu``, ``W = P L U``: the order P and the signs of the diagonal of U stay as they began,
    and its size is bounded away from zero, so that W can always be inverted. Without, W is trained
    freely; nothing then keeps it from becoming singular, where the logdet is -inf and the inverse
    raises, but the density pushes it away from there.

    Args:
        event_shape: channels, height and width of x.
        lu: whether W is trained by its LU factors.
        seed: seed of the random rotation that W begins as; by default it begins as the identity.

    Shapes:
        x, z: ``(*batch, channels, height, width)``; logdet: ``(*batch,)``, height times width times
        ``log |det W|``, the same for every row

    Raises:
        ArgumentError: ``event_shape`` is not three whole numbers from 1 up.
        InverseError: in ``inverse``, without ``lu``, if training made the matrix singular.

    Cost: ``channels``^2 a pixel in either direction, and ``channels``^3 a call without ``lu`` for
        the determinant and in the inverse; exact.

    Source: Kingma, Dhariwal 2018, arXiv:1807.03039 sec. 3.2.
        Differs: with ``lu`` no diagonal can cross zero; the identity is the default start.

    Example:
        >>> z, logdet = Convolution1x1((3, 4, 4))(torch.ones(2, 3, 4, 4))
        >>> z.shape, logdet.detach()
        (torch.Size([2, 3, 4, 4]), tensor([0., 0.]))
    """

    start: Tensor
    order: Tensor
    back: Tensor

    def __init__(
        self, event_shape: Sequence[int], lu: bool = False, seed: int | None = None
    ) -> None:
        super().__init__()
        shape = tuple(event_shape) if isinstance(event_shape, Sequence) else ()
        if len(shape) != 3 or not all(isinstance(n, int) and n >= 1 for n in shape):
            raise ArgumentError(
                f"Convolution1x1: event_shape is {event_shape!r}, expected channels, height and "
                f"width, each a whole number from 1 up; write (3, 32, 32)."
            )
        self.event_shape = shape
        self.lu = lu
        start, order = torch.eye(shape[0]), torch.arange(shape[0])
        if seed is not None:
            start = _random_rotation(shape[0], seed)
        if lu:
            permutation, lower, upper = torch.linalg.lu(start)
            start, order = lower.tril(-1) + upper, permutation.argmax(-1)
        start = start.contiguous()
        self.weight = nn.Parameter(torch.zeros_like(start))
        self.register_buffer("start", start)
        if lu:
            self.register_buffer("order", order)
            self.register_buffer("back", order.argsort())

    def _factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """L, U and the diagonal of U."""
        both = self.start + self.weight
        diagonal = self.start.diagonal() * positive(self.weight.diagonal())
        one = torch.eye(len(both), dtype=both.dtype, device=both.device)
        return both.tril(-1) + one, both.triu(1) + diagonal.diag(), diagonal

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        pixels = x.movedim(-3, -1)
        if self.lu:
            lower, upper, diagonal = self._factors()
            with full_precision(x):
                matrix = (lower @ upper)[self.order]
            logdet = diagonal.abs().log().sum()
        else:
            matrix = self.start + self.weight
            logdet = torch.linalg.slogdet(matrix).logabsdet
        return apply_matrix(pixels, matrix).movedim(-1, -3), self._of_all_pixels(logdet, x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        pixels = z.movedim(-3, -1)
        if self.lu:
            lower, upper, diagonal = self._factors()
            x = solve_upper(upper, solve_lower(lower, pixels[..., self.back]))
            logdet = diagonal.abs().log().sum()
        else:
            matrix = self.start + self.weight
            try:
                x = solve(matrix, pixels)
            except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
                raise InverseError(
                    "Convolution1x1.inverse: the matrix is singular; write lu=True, whose matrix "
                    "always has an inverse."
                ) from error
            logdet = torch.linalg.slogdet(matrix).logabsdet
        return x.movedim(-1, -3), self._of_all_pixels(-logdet, z)

    def _of_all_pixels(self, logdet: Tensor, x: Tensor) -> Tensor:
        _, height, width = self.event_shape
        return (height * width * logdet).expand(x.shape[:-3])

    def influence(self) -> Tensor:
        """Each channel every channel, of the same pixel."""
        channels, height, width = self.event_shape
        pixels = torch.eye(height * width, dtype=torch.bool)
        return pixels.repeat(channels, channels)


def _random_rotation(features: int, seed: int) -> Tensor:
    """Drawn evenly from all rotations, in float64 so that its float32 is as good as it can be."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(features, features, generator=generator, dtype=torch.float64)
    rotation, upper = torch.linalg.qr(normal)
    rotation = rotation * upper.diagonal().sign()
    rotation[:, 0] *= torch.linalg.det(rotation).sign()
    start: Tensor = rotation.float()
    return start
