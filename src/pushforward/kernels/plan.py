"""What does not change about a layer from call to call, as the kernels read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.kernels.formula import Formula
from pushforward.kernels.library import LAYER_CALL, MOST_LAYERS, Layer, MapFields

__all__ = [
    "ACTIVATIONS",
    "MOST_LAYERS",
    "ConstantPlan",
    "NetworkPlan",
    "Plan",
    "Staircase",
    "TrianglesPlan",
    "chained_widths",
]

_NETWORK, _TRIANGLES, _SCALING, _NORMAL = range(4)  # kinds of layers
ACTIVATIONS = ("relu", "tanh", "elu", "silu")


@dataclass(frozen=True)
class Staircase:
    """A masked weight: in these orders of rows and columns, row o sees the first ``limit[o]``."""

    limit: Tensor
    rows: Tensor
    columns: Tensor


class Plan:
    """A layer.

    Attributes:
        tensors: how many parameters it has: what multiplies and what is added, in turn.
        saved: numbers of a row that backward needs.
        context: width of its context.
        density: whether it ends a row with the log-density of a base, and gives no z.
        reads: whether backward reads where it began, or ended.
        tail: the layer as the kernels read it, behind what changes from call to call.
    """

    density, reads = False, True

    tensors: int
    saved: int
    context: int
    tail: bytes

    def _write(self, fields: Layer) -> None:
        self.tail = bytes(fields)[LAYER_CALL.size :]


class NetworkPlan(Plan):
    """A coupling, or a masked autoregression.

    Args:
        formula: its map.
        features: width of x.
        seen: features that its network reads.
        moved: features that its map moves, in the order of the network's outputs.
        kept: those that stay.
        context: width of its context.
        context_first: whether the network reads the context before the features.
        box_by_feature: whether the map's boxes are those of the features, in their order, or of
            the moved ones.
        activation: one of ``ACTIVATIONS``.
        residual: whether each hidden layer but the first adds to what the one before it summed up.
        widths: of the network: its inputs, hidden layers and outputs.
        stairs: for each linear layer how it is masked; empty where none is.
    """

    def __init__(
        self,
        formula: Formula,
        features: int,
        *,
        seen: Tensor,
        moved: Tensor,
        kept: Tensor,
        context: int,
        context_first: bool,
        box_by_feature: bool,
        activation: str,
        residual: bool,
        widths: Sequence[int],
        stairs: Sequence[Staircase] = (),
    ) -> None:
        self.formula, self.features, self.context = formula, features, context
        layers = len(widths) - 1
        self.tensors = 2 * layers
        self.saved = sum(widths[1:])
        self.widths = tuple(widths)
        # copies, since the kernels read their memory at every call, whoever changes it
        seen, moved, kept = (index.detach().clone().contiguous() for index in (seen, moved, kept))
        self._alive = (seen, moved, kept, stairs)
        self.boxes = features if box_by_feature else len(moved)
        self.consistent = (
            widths[0] == len(seen) + context
            and widths[-1] == len(moved) * formula.width
            and torch.equal(torch.cat((moved, kept)).sort().values, torch.arange(features))
            and bool((seen >= 0).all() and (seen < features).all())
        )
        fields = Layer(map=formula.fields(None, None))
        fields.map.box_step = 1
        fields.features, fields.context = features, context
        fields.seen, fields.seen_features = len(seen), seen.data_ptr()
        fields.moved, fields.moved_features = len(moved), moved.data_ptr()
        fields.kept, fields.kept_features = len(kept), kept.data_ptr()
        fields.context_first, fields.box_by_feature = context_first, box_by_feature
        fields.activation, fields.residual = ACTIVATIONS.index(activation), residual
        fields.kind, fields.layers = _NETWORK, layers
        for i in range(layers):
            linear = fields.linear[i]
            linear.inputs, linear.outputs = widths[i], widths[i + 1]
            if stairs:
                linear.limit = stairs[i].limit.data_ptr()
                linear.rows = stairs[i].rows.data_ptr()
                linear.columns = stairs[i].columns.data_ptr()
        self._write(fields)


class TrianglesPlan(Plan):
    """A product of a unit lower and an upper triangle, and a shift.

    Args:
        features: width of x.
        offset: of what softplus sees of the diagonal.
        least: what is added to the diagonal.
        shift: whether there is one.
    """

    def __init__(self, features: int, *, offset: float, least: float, shift: bool) -> None:
        self.tensors, self.saved, self.context = 4 if shift else 3, 0, 0
        fields = Layer(map=MapFields(offset=offset, min_slope=least))
        fields.kind, fields.features = _TRIANGLES, features
        self._write(fields)


class ConstantPlan(Plan):
    """What has neither a network nor parameters, but two constants for each feature.

    A scaling has centre and width; backward reads these alone. The log-density of a normal base has
    location and log-scale; it gives no z but an empty tensor.

    Args:
        features: width of x.
        density: whether it is the density.
    """

    def __init__(self, features: int, *, density: bool = False) -> None:
        self.tensors = self.saved = self.context = 0
        self.density = self.reads = density
        fields = Layer(kind=_NORMAL if density else _SCALING, features=features)
        self._write(fields)


def chained_widths(weights: Sequence[Tensor]) -> list[int] | None:
    """Widths of a network from its weights and biases; None if they do not fit each other."""
    widths = [weights[0].shape[-1]]
    for weight, bias in zip(weights[::2], weights[1::2], strict=True):
        if weight.ndim != 2 or weight.shape[1] != widths[-1] or bias.shape != weight.shape[:1]:
            return None
        widths.append(weight.shape[0])
    return widths
