"""Block autoregression: one monotone network for all features, its Jacobian read off its blocks."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pushforward.errors import ArgumentError
from pushforward.networks.mlp import MLP
from pushforward.numerics.conditioning import reach
from pushforward.numerics.dependence import dependence, levels
from pushforward.numerics.solvers.root_finding import increasing_root
from pushforward.transforms.base import Transform

__all__ = ["BlockAutoregressive"]

_BOUND = 3.0  # largest log-slope of the linear term
_SOFT = 0.1  # a weight within a block is smooth around zero over this share of 1 / inputs
# Of the hidden units before training: what they see is weighed by about _STEEP and bends them
# within _KINKS of zero. On two moons kinks within 2 cost 0.3 nats after 300 steps.
_STEEP = 2.0
_KINKS = 4.0


class _Layer(NamedTuple):
    """A layer of a network of several features, or of one of them.

    Shapes: full ``(features * outputs, features * inputs)``, own, the blocks on its diagonal,
    ``(features, outputs, inputs)``, shift ``(*batch, features * outputs)``.
    """

    full: Tensor
    own: Tensor
    shift: Tensor


class BlockAutoregressive(Transform):
    r"""Block neural autoregressive transform.

    Each feature has ``hidden`` units of its own in every layer of one tanh network f. The weights
    from a feature's units to its own are positive, those from later features are zero:

        z_i = exp(a_i) x_i + f_i(x_i, those before),
        logdet = sum over i of log(exp(a_i) + df_i / dx_i),

    and df_i / dx_i is a product of the blocks on the diagonal with the slopes of tanh between them.

    It is onto: given the features before, f_i increases in x_i and is bounded, as a sum of tanh,
    so that z_i goes from -inf to inf with a slope of at least exp(a_i). Far out f is constant and
    the transform linear.

    Args:
        features: width of x.
        order: position of each feature, a permutation of ``range(features)``; default: as given.
        hidden: widths of the hidden layers, units for each feature.
        context: width of the context, 0 for none. It shifts every layer and sets the a_i.
        context_hidden: widths of the hidden layers of the network that reads the context.

    Shapes:
        x, z: ``(*batch, features)``; context: ``(*batch, context)``; logdet: ``(*batch,)``

    Raises:
        ArgumentError: ``order`` is not a permutation, no hidden layer, or one of no units.
        InverseError: in ``inverse``, where a solution was not found.

    Cost: forward one network call, exact; inverse a numeric one, feature by feature, each about ten
        calls of a network of one feature, to the last digits.

    Source: De Cao, Titov, Aziz 2019, arXiv:1904.04676.
        Differs: a linear term with a trained slope in the place of the gated residual (without
        either, as in the paper's last step, z is bounded and no density is normalized); the slope
        is thereby at least exp(-3), so that its products need no logarithms; weights within a
        block are positive as (v + sqrt(v^2 + e^2)) / 2, which can begin near zero with a gradient
        that does not; units have gains, but their weights are not normalized.

    Example:
        >>> t = BlockAutoregressive(3)
        >>> z, logdet = t(torch.ones(5, 3))
        >>> x, _ = t.inverse(z)
        >>> bool((x - 1.0).abs().max() < 1e-5)
        True
    """

    ordered = True
    places: Tensor
    before: Tensor

    def __init__(
        self,
        features: int,
        *,
        order: Sequence[int] | None = None,
        hidden: Sequence[int] = (16, 16),
        context: int = 0,
        context_hidden: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__()
        before = dependence("BlockAutoregressive", features, order)
        if not hidden or any(int(width) < 1 for width in hidden):
            raise ArgumentError(
                f"BlockAutoregressive: hidden is {tuple(hidden)}, expected at least one width, "
                f"each at least 1."
            )
        self.event_shape = (features,)
        self.context = context
        self.register_buffer("places", levels(before))
        self.register_buffer("before", before, persistent=False)
        sizes = [1, *(int(width) for width in hidden), 1]
        self.sizes = tuple(pairwise(sizes))  # of the blocks of each layer: inputs, outputs
        self.weights = nn.ParameterList(_weight(features, *pair) for pair in self.sizes[:-1])
        self.weights.append(nn.Parameter(torch.zeros(features, features * sizes[-2])))
        self.gains = nn.ParameterList(
            nn.Parameter(torch.zeros(features, outputs)) for _, outputs in self.sizes
        )
        widths = [features * size for size in sizes[1:]]
        self.shifts = nn.ParameterList(
            nn.Parameter((torch.rand(width) * 2.0 - 1.0) * _KINKS) for width in widths[:-1]
        )
        self.shifts.append(nn.Parameter(torch.zeros(features)))
        self.slope = nn.Parameter(torch.zeros(features))
        self.network = MLP(context, sum(widths) + features, context_hidden) if context else None

    @property
    def closed(self) -> tuple[bool, bool]:
        """The inverse is searched for."""
        return True, False

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        shifts, log_linear = self._shifts(context)
        layers = [
            _Layer(blocks.flatten(2).flatten(0, 1), own, shift)
            for (blocks, own), shift in zip(self._blocks(), shifts, strict=True)
        ]
        z, log_slope = _run(x, layers, log_linear)
        return z, log_slope.sum(-1)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        turn = self.places.argsort()
        z = z.index_select(-1, turn)
        # What depends on a number that is none is none, and must not keep the rest from a solution.
        lost = (~z.isfinite()).cumsum(-1) > 0
        z = torch.where(lost, torch.zeros_like(z), z)
        shifts, log_linear = self._shifts(context)
        log_linear = log_linear.index_select(-1, turn)
        ordered = [
            (blocks.index_select(0, turn).index_select(2, turn), own.index_select(0, turn))
            for blocks, own in self._blocks()
        ]
        split = [
            shift.reshape(*shift.shape[:-1], *own.shape[:2]).index_select(-2, turn)
            for shift, (_, own) in zip(shifts, ordered, strict=True)
        ]
        known = [z[..., :0]] * len(ordered)  # inputs of each layer, of the features solved so far
        found = []
        for i in range(z.shape[-1]):
            layers = [
                _Layer(
                    own[i],
                    own[i : i + 1],
                    functional.linear(seen, blocks[i, :, :i].flatten(1)) + shift[..., i, :],
                )
                for (blocks, own), shift, seen in zip(ordered, split, known, strict=True)
            ]
            a = log_linear[..., i : i + 1]
            goal = z[..., i : i + 1]
            solve = functools.partial(_run, layers=layers, log_linear=a)
            guess = (goal - layers[-1].shift) * (-a).exp()
            x = increasing_root(solve, goal, who="BlockAutoregressive.inverse", guess=guess)
            states: list[Tensor] = []
            found.append((x, _run(x, layers, a, states)[1]))
            known = [torch.cat(pair, -1) for pair in zip(known, states, strict=True)]
        x, log_slope = (torch.cat(parts, -1) for parts in zip(*found, strict=True))
        x = torch.where(lost, torch.nan, x).index_select(-1, self.places)
        return x, torch.where(lost.any(-1), torch.nan, -log_slope.sum(-1))

    def _blocks(self) -> list[tuple[Tensor, Tensor]]:
        """Of each layer all blocks, ``(features, outputs, features, inputs)``, and the diagonal."""
        result = []
        features = self.event_shape[0]
        parameters = zip(self.weights, self.gains, self.sizes, strict=True)
        for weight, log_gain, (inputs, outputs) in parameters:
            gain = log_gain.exp().unsqueeze(-1)
            blocks = weight.reshape(features, outputs, features, inputs)
            soft = _SOFT / inputs
            # (v + sqrt(v^2 + soft^2)) / 2 without cancellation
            own = blocks.diagonal(dim1=0, dim2=2) / soft
            own = own.asinh().exp() * (0.5 * soft)  # (outputs, inputs, features)
            blocks = blocks * self.before[:, None, :, None] + own.diag_embed(dim1=0, dim2=2)
            result.append((blocks * gain.unsqueeze(-1), own.permute(2, 0, 1) * gain))
        return result

    def _shifts(self, context: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """Of each layer the shift, and the log-slopes a of the linear term."""
        shifts, slope = list(self.shifts), self.slope
        if self.network is not None:
            assert context is not None
            widths = [len(shift) for shift in shifts]
            raw = self.network(reach(context)).to(slope.dtype)
            *more, tilt = raw.split([*widths, len(slope)], -1)
            shifts = [shift + change for shift, change in zip(shifts, more, strict=True)]
            slope = slope + tilt
        return shifts, _BOUND * torch.tanh(slope / _BOUND)

    def influence(self) -> Tensor:
        """What comes earlier, what comes later."""
        return self.before.cpu() | torch.eye(self.event_shape[0], dtype=torch.bool)


def _weight(features: int, inputs: int, outputs: int) -> nn.Parameter:
    """Of the usual size of weights between features, and positive within."""
    weight = torch.rand(features, outputs, features, inputs) * 2.0 - 1.0
    weight = weight * (_STEEP / math.sqrt(features * inputs))
    own = torch.rand(outputs, inputs, features) * (2.0 * _STEEP / inputs)
    weight.diagonal(dim1=0, dim2=2).copy_(own)
    return nn.Parameter(weight.reshape(features * outputs, features * inputs))


def _run(
    x: Tensor, layers: Sequence[_Layer], log_linear: Tensor, states: list[Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Value and log-slope, ``(*batch, features)``; ``states`` takes what each layer reads."""
    value, slope = x, torch.ones_like(x).unsqueeze(-1)
    for layer in layers[:-1]:
        if states is not None:
            states.append(value)
        value = functional.linear(value, layer.full) + layer.shift
        slope = torch.einsum("...fi,foi->...fo", slope, layer.own)
        # 1 - tanh^2, which would cancel
        bend = 4.0 * torch.sigmoid(2.0 * value) * torch.sigmoid(-2.0 * value)
        slope = slope * bend.reshape(slope.shape)
        value = torch.tanh(value)
    if states is not None:
        states.append(value)
    last = layers[-1]
    linear = log_linear.exp()
    value = linear * x + functional.linear(value, last.full) + last.shift
    slope = torch.einsum("...fi,foi->...fo", slope, last.own).squeeze(-1)
    return value, (linear + slope).log()
