"""Coupling: some features stay and choose how the others move."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError
from pushforward.kernels.dispatch import eager
from pushforward.kernels.originals import Methods
from pushforward.kernels.plan import NetworkPlan
from pushforward.maps.base import Map, as_map
from pushforward.networks.given import made_network, shaped_output
from pushforward.networks.mlp import MLP
from pushforward.numerics.conditioning import reach
from pushforward.transforms.base import Retraced, Transform
from pushforward.transforms.coupling.flags import flags_of, some_of_all
from pushforward.transforms.coupling.keeps import half, shape_of
from pushforward.transforms.domains import Angles, Box, Domain, Everywhere, PartOf
from pushforward.transforms.domains.together import groups, row_of, shaped, side_by_side
from pushforward.transforms.elementwise import Elementwise
from pushforward.transforms.fused import Prepared, Weights, call_with, fused, prepared
from pushforward.transforms.moving import domain_of, entered, image_of, left

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
        period: of these angles; by default that of a circular map, otherwise two pi.
        residual: whether each hidden layer of the default network after the first adds to the one
            before it; ``hidden`` then holds equal widths.

    Shapes:
        x, z: ``(*batch, *event_shape)``; context: ``(*batch, context)``; logdet: ``(*batch,)``

    Raises:
        ArgumentError: ``keep`` or ``periodic`` has another shape than the event, ``keep`` keeps
            all or nothing, or ``period`` is not positive.
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
        period: float | None = None,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.event_shape = shape_of("Coupling", features)
        self.context = context
        flags = some_of_all(
            flags_of("keep", self.event_shape, half(features) if keep is None else keep)
        )
        given = torch.full(self.event_shape, periodic) if isinstance(periodic, bool) else periodic
        angles = flags_of("periodic", self.event_shape, given)[flags]
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
        self._turning = bool(angles.any())
        self.period = _period(self.map, period)
        inputs, outputs = self._widths()
        self.network = (
            MLP(inputs, outputs, hidden, activation, dropout, residual)
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
        by_map = {i: map for features, map in maps for i in features.tolist()}
        numbers = set(self.kept[self.lengths].tolist())  # that the network sees as such
        parts: list[Domain] = []
        widths: list[int] = []
        first = 0
        for part, width in groups(row_of(given), len(self.order)):
            members = range(first, first + width)
            first += width
            if by_map.keys().isdisjoint(members):
                parts.append(self._stays(part, numbers.isdisjoint(members)))
                widths.append(width)
                continue
            # of those that depend on each other nothing is known once one of them moves
            one = part if width == 1 else PartOf(Everywhere())
            parts += [
                image_of(by_map[i], one, i not in numbers) if i in by_map else one for i in members
            ]
            widths += [1] * width
        return shaped(side_by_side(parts, widths), len(self.event_shape))

    def _stays(self, kept: Domain, seen_turning: bool) -> Domain:
        """Where kept features may be: angles that the network sees as numbers within one period."""
        if not isinstance(kept, Angles):
            return kept
        if seen_turning and math.isclose(kept.period, self.period, rel_tol=1e-6):
            return kept
        half = 0.5 * kept.period
        return Box(-half, half, closed=True) if kept.wrapped else PartOf(Everywhere())

    def preimage(self, taken: Domain) -> Domain:
        """The same."""
        return self.image(taken)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._move(x, context, inverse=False)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._move(z, context, inverse=True)

    def _move(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        flat = x.flatten(-len(self.event_shape))
        found = fused(self._prepared(flat, context, inverse), flat, context) if eager() else None
        if found is None:
            return self._plain(x, context, inverse)
        return (found[0], found[1]) if flat is x else (found[0].reshape(x.shape), found[1])

    def _prepared(
        self, x: Tensor, context: Tensor | None, inverse: bool, retraced: bool = False
    ) -> Prepared | None:
        """The layer for a kernel, where it is no more than a network and a map."""
        if self.kept_step is not None or self._turning or not _METHODS.are_those_of(self):
            return None
        return prepared(self, x, context, inverse=inverse, retraced=retraced)

    def _in_a_row(
        self, method: str, x: Tensor, context: Tensor | None, retraced: bool = False
    ) -> Prepared | None:
        if len(self.event_shape) > 1:
            return None
        return self._prepared(x, context, method == "_inverse", retraced)

    def _plain(
        self, x: Tensor, context: Tensor | None, inverse: bool, weights: Weights | None = None
    ) -> tuple[Tensor, Tensor]:
        kept, moved, outside = self._enter(x)
        more = None
        if inverse and self.kept_step is not None:
            # first, since the network sees what is kept as it was
            kept, more = self.kept_step._inverse(kept, context)
        raw = self._raw(kept, context, weights)
        moved, log_derivative = (self.map.inverse if inverse else self.map.forward)(moved, raw)
        logdet = log_derivative.sum(-1)
        if not inverse and self.kept_step is not None:
            kept, more = self.kept_step._forward(kept, context)
        logdet = logdet if more is None else logdet + more
        return self._join(kept, moved), left(logdet, outside)

    def _plan_depends_on(self) -> tuple[Tensor, ...]:
        return self.kept, self.moved

    def _plan(self, widths: Sequence[int]) -> NetworkPlan | None:
        assert isinstance(self.network, MLP)
        assert self.map.formula is not None
        return NetworkPlan(
            self.map.formula,
            len(self.order),
            seen=self.kept,
            moved=self.moved,
            kept=self.kept,
            context=self.context,
            context_first=False,
            box_by_feature=False,
            activation=self.network.activation,
            residual=self.network.residual,
            widths=widths,
        )

    @property
    def closed(self) -> tuple[bool, bool]:
        """As the maps are."""
        kept = self.kept_step is None or self.kept_step.map.closed
        return True, self.map.closed and kept

    def _retraced(self, method: str, end: Tensor, context: Tensor | None) -> Retraced:
        """The network is called once for both ways, since both show it the same."""
        forward = method == "_forward"
        again, back = (self.map, self.map.inverse) if forward else (self.map.inverse, self.map)
        kept, moved, _ = self._enter(end)
        if self.kept_step is not None:
            other = self.kept_step._inverse if forward else self.kept_step._forward
            with torch.no_grad():
                kept = other(kept, context)[0]
        # What moved was is known only once the network has seen what is kept: until then it is 0.
        start = self._join(kept, torch.zeros_like(moved)).detach().requires_grad_()
        was_kept, zero = self._split(start)
        now_kept, more = was_kept, None
        if self.kept_step is not None:
            now_kept, more = getattr(self.kept_step, method)(was_kept, context)
        raw = self._raw(was_kept if forward else now_kept, context)
        with torch.no_grad():
            was = back(moved, raw)[0]
        moved, log_derivative = again(zero + was, raw)
        logdet = log_derivative.sum(-1)
        at = self._join(was_kept.detach(), was)
        return Retraced(
            start, at, self._join(now_kept, moved), logdet if more is None else logdet + more
        )

    def _enter(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """What is kept and what moves, where the maps have something; and which events lie outside.

        The network is shown what is kept, which therefore is pulled in before.
        """
        kept, moved = self._split(x)
        moved, outside = entered(self.map, moved)
        if self.kept_step is not None:
            kept, also = entered(self.kept_step.map, kept, not len(self.lengths))
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

    def _raw(self, kept: Tensor, context: Tensor | None, weights: Weights | None = None) -> Tensor:
        outputs = self._widths()[1]
        given = call_with(self.network, weights, self._seen(kept, context))
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
        if self.period != 2.0 * math.pi:
            turning = turning * (2.0 * math.pi / self.period)
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


_METHODS = Methods(Coupling, "_forward", "_inverse", "_move", "_plain", "_raw", "_enter", "_join")


def _period(map: Map, given: float | None) -> float:
    if given is None:
        circle = domain_of(map)
        return circle.period if isinstance(circle, Angles) else 2.0 * math.pi
    if not 0.0 < given < math.inf:
        raise ArgumentError(f"Coupling: period is {given}, expected a positive number.")
    return float(given)
