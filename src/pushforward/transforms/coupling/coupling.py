"""Coupling: some features stay and choose how the others move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError
from pushforward.maps.base import Map, as_map
from pushforward.networks.given import made_network, shaped_output
from pushforward.networks.mlp import MLP
from pushforward.numerics.conditioning import reach
from pushforward.transforms.base import Transform
from pushforward.transforms.coupling.keeps import half, shape_of
from pushforward.transforms.domains import Domain, Everywhere, PartOf
from pushforward.transforms.domains.together import each, row_of, shaped, side_by_side
from pushforward.transforms.elementwise import Elementwise
from pushforward.transforms.moving import entered, image_of, left

__all__ = ["Coupling"]


class Coupling(Transform):
    r"""Coupling transform.

    With k the kept features and m the moved ones,

        z_k = x_k,    z_m = h(x_m; network(x_k, context)),
        logdet = sum over m of log |dh/dx_m|.

    With a ``kept_map`` g the kept features move too, each by itself: ``z_k = g(x_k)``, with
    parameters that are trained directly or, where there is a context, depend on it.

    Args:
        features: width of x, or the shape of an event, such as ``(C, H, W)``; its numbers are then
            the features.
        map: the map h, which is copied. ``maps.Affine()`` gives RealNVP, ``maps.Additive()`` NICE.
        keep: booleans of the event's shape, True for what stays as it is and feeds the network; by
            default the first half stays. ``transforms.coupling.keeps`` makes others. A single
            feature cannot but move.
        hidden: widths of the hidden layers of the default network.
        network: a function of (inputs, outputs) giving another network, of vectors.
        context: width of the context, 0 for none.
        activation: activation of the default network.
        dropout: dropout of the default network.
        kept_map: the map g of what is kept, which is copied; by default it stays as it is.
        periodic: whether features are angles, of which the network sees cosine and sine; one
            boolean for all, or booleans of the event's shape.

    Shapes:
        x, z: ``(*batch, *event_shape)``; context: ``(*batch, context)``; logdet: ``(*batch,)``

    Raises:
        ArgumentError: ``keep`` or ``periodic`` has another shape than the event, or ``keep`` keeps
            all or nothing.
        InputTypeError: ``network`` is no function that gives a network.
        ShapeError: when called: the network gives another width than was asked for.

    Cost: one network call in either direction; exact.

    Source: Dinh, Krueger, Bengio 2014, arXiv:1410.8516; Dinh, Sohl-Dickstein, Bengio 2016,
        arXiv:1605.08803; kept_map: Durkan et al. 2019, arXiv:1906.04032.
        Differs: the network sees far values compressed to a logarithm, so that a row far away
        cannot overflow.

    Example:
        >>> from pushforward import maps
        >>> t = Coupling(3, map=maps.Affine(), keep=[True, True, False])
        >>> z, logdet = t(torch.zeros(5, 3))
        >>> z.shape, logdet.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    kept: Tensor
    moved: Tensor
    order: Tensor
    angles: Tensor
    lengths: Tensor

    def __init__(
        self,
        features: int | Sequence[int],
        *,
        map: Map,
        keep: Sequence[Any] | Tensor | None = None,
        hidden: Sequence[int] = (128, 128),
        network: Callable[[int, int], nn.Module] | None = None,
        context: int = 0,
        activation: str = "relu",
        dropout: float = 0.0,
        kept_map: Map | None = None,
        periodic: bool | Sequence[Any] | Tensor = False,
    ) -> None:
        super().__init__()
        self.event_shape = shape_of("Coupling", features)
        self.context = context
        flags = _some(_flags("keep", self.event_shape, half(features) if keep is None else keep))
        given = torch.full(self.event_shape, periodic) if isinstance(periodic, bool) else periodic
        angles = _flags("periodic", self.event_shape, given)[flags]
        kept, moved = flags.nonzero()[:, 0], (~flags).nonzero()[:, 0]
        self.register_buffer("kept", kept)
        self.register_buffer("moved", moved)
        # where each feature stands in (kept, moved)
        self.register_buffer("order", torch.cat((kept, moved)).argsort())
        self.map = as_map("Coupling", "map", map).bind(len(moved))
        self.kept_step = (
            Elementwise(
                len(kept),
                map=as_map("Coupling", "kept_map", kept_map),
                context=context,
                hidden=tuple(hidden),
            )
            if kept_map is not None and len(kept)
            else None
        )
        self.register_buffer("angles", angles.nonzero()[:, 0], persistent=False)
        self.register_buffer("lengths", (~angles).nonzero()[:, 0], persistent=False)
        inputs, outputs = self._widths()
        self.network = (
            MLP(inputs, outputs, hidden, activation, dropout)
            if network is None
            else made_network(type(self).__name__, network, inputs, outputs)
        )

    @property
    def domain(self) -> Domain:
        """Where its maps have something; what is kept by none may be anything."""
        return self.image(Everywhere(len(self.event_shape)))

    @property
    def codomain(self) -> Domain:
        """The same."""
        return self.domain

    def image(self, given: Domain) -> Domain:
        """Where the maps take what lies in a domain; what is kept by none stays there."""
        if isinstance(given, PartOf):
            return PartOf(self.image(given.whole))
        maps = [(self.moved, self.map)]
        if self.kept_step is not None:
            maps.append((self.kept, self.kept_step.map))
        if isinstance(given, Everywhere) and all(map.outside == "line" for _, map in maps):
            return given
        dims = len(self.event_shape)
        parts = each(row_of(given), len(self.order))
        if parts is None:  # features that depend on each other
            return PartOf(Everywhere(dims))
        for features, map in maps:
            for i in features.tolist():
                parts[i] = image_of(map, parts[i])
        found = side_by_side(parts, [1] * len(parts))
        return shaped(found, dims)

    def preimage(self, taken: Domain) -> Domain:
        """The same."""
        return self.image(taken)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        kept, moved, outside = self._enter(x)
        moved, log_derivative = self.map(moved, self._raw(kept, context))
        logdet = log_derivative.sum(-1)
        if self.kept_step is not None:
            kept, more = self.kept_step._forward(kept, context)
            logdet = logdet + more
        return self._join(kept, moved), left(logdet, outside)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        kept, moved, outside = self._enter(z)
        more = None
        if self.kept_step is not None:  # first, since the network sees what is kept as it was
            kept, more = self.kept_step._inverse(kept, context)
        moved, log_derivative = self.map.inverse(moved, self._raw(kept, context))
        logdet = log_derivative.sum(-1)
        return self._join(kept, moved), left(logdet if more is None else logdet + more, outside)

    def _enter(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """What is kept and what moves, where the maps have something; and which events lie outside.

        The network is shown what is kept, which therefore is pulled in before.
        """
        kept, moved = self._split(x)
        moved, outside = entered(self.map, moved)
        if self.kept_step is not None:
            kept, also = entered(self.kept_step.map, kept)
            outside = also if outside is None else outside if also is None else outside | also
        return kept, moved, outside

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(-len(self.event_shape))
        return flat.index_select(-1, self.kept), flat.index_select(-1, self.moved)

    def _join(self, kept: Tensor, moved: Tensor) -> Tensor:
        flat = torch.cat((kept, moved), -1).index_select(-1, self.order)
        return flat.reshape(*flat.shape[:-1], *self.event_shape)

    def _widths(self) -> tuple[int, int]:
        """Of what the network reads and gives."""
        inputs = len(self.kept) + len(self.angles) + self.context
        return inputs, len(self.moved) * self.map.raw_width

    def _raw(self, kept: Tensor, context: Tensor | None) -> Tensor:
        outputs = self._widths()[1]
        given = self.network(self._seen(kept, context))
        raw = shaped_output("Coupling", self.network, given, (*kept.shape[:-1], outputs))
        return raw.unflatten(-1, (len(self.moved), self.map.raw_width)).to(kept.dtype)  # type: ignore[no-any-return, no-untyped-call]

    def _seen(self, kept: Tensor, context: Tensor | None) -> Tensor:
        """What the network is shown of what is kept."""
        if not len(self.angles):
            return reach(kept if context is None else torch.cat((kept, context), -1))
        turning, straight = (
            kept.index_select(-1, self.angles),
            kept.index_select(-1, self.lengths),
        )
        far = reach(straight if context is None else torch.cat((straight, context), -1))
        return torch.cat((far, turning.cos(), turning.sin()), -1)

    def influence(self) -> Tensor:
        """Each feature itself, and what is kept all that is moved."""
        seen = torch.eye(len(self.order), dtype=torch.bool)
        seen[self.moved.cpu()[:, None], self.kept.cpu()] = True
        return seen

    def fit(self, x: Tensor, context: Tensor | None = None) -> Coupling:
        """Let the maps read their constants off the features that they move."""
        kept, moved = self._split(x)
        self.map.fit(moved)
        if self.kept_step is not None:
            self.kept_step.fit(kept, context)
        return self

    def extra_repr(self) -> str:
        """What stays."""
        if len(self.event_shape) == 1:
            return f"features={self.event_shape[0]}, kept={self.kept.tolist()}"
        return f"features={self.event_shape}, kept={len(self.kept)} of {len(self.order)}"


def _flags(name: str, event: tuple[int, ...], given: Sequence[Any] | Tensor) -> Tensor:
    """Booleans of the event's shape, flat."""
    try:
        flags = given.detach().cpu() if isinstance(given, Tensor) else torch.tensor(given)
        fits = flags.dtype == torch.bool and tuple(flags.shape) == event
    except (TypeError, ValueError):  # no numbers at all, or lists of different lengths
        fits = False
    if not fits:
        tensor = isinstance(given, Tensor)
        shown = f"{tuple(given.shape)} of {given.dtype}" if tensor else f"{given!r}"  # type: ignore[union-attr]
        means = {"keep": "what stays", "periodic": "angles"}[name]
        raise ArgumentError(
            f"Coupling: {name} is {shown:.80}, expected booleans of shape {event}, True for "
            f"{means}."
        )
    return flags.flatten()


def _some(flags: Tensor) -> Tensor:
    """What is kept, if it is neither all nor nothing."""
    count = int(flags.sum())
    if count == len(flags):
        raise ArgumentError(
            f"Coupling: keep keeps all of {count} features, expected at least one of them False."
        )
    if count == 0 and len(flags) > 1:  # one feature alone has no other to be moved by
        raise ArgumentError(
            f"Coupling: keep keeps none of {len(flags)} features, expected at least one of them "
            f"True; write Elementwise to move each by itself."
        )
    return flags
