"""Breaks of couplings; most of them leave a valid transform, only another one."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tests.breaking import Break, replaced

from pushforward import transforms as T
from pushforward.transforms.coupling import coupling, keeps

PLACE = (
    (
        "tests/transforms/test_laws.py",
        "tests/transforms/test_meaning.py",
        "tests/transforms/test_coupling.py",
        "tests/transforms/test_influence.py",
    ),
    "coupling",
)


def breaks() -> Iterator[Break]:
    """What only a coupling can get wrong."""
    named = {
        "the network sees what is kept after its map": _sees_mapped,
        "the kept map without logdet": _kept_without_logdet,
        "the kept map skipped": _kept_skipped,
        "the kept map without its box": _kept_unfitted,
        "kept and moved exchanged": _exchanged,
        "features left in another order": _unordered,
        "what moves is said to move what stays": _influence_turned,
        "keeping nothing let through": _nothing_kept,
        "the other fields of the checkerboard": _other_fields,
        "a random half of torch's own state": _own_state,
        "channels taken for rows": _rows_kept,
    }
    for name, apply in named.items():
        yield Break("Coupling", name, apply, *PLACE)
    named = {
        "a plane of parameters for each kind": _kinds_first,
        "the network shown everything": _all_shown,
        "the context not shown": _no_planes,
    }
    for name, apply in named.items():
        yield Break("ImageCoupling", name, apply, PLACE[0], "coupling-image")


def _sees_mapped() -> None:
    def forward(self, x, context):
        kept, moved = self._split(x)
        total = 0.0
        if self.kept_step is not None:
            kept, total = self.kept_step._forward(kept, context)
        moved, slopes = self.map(moved, self._raw(kept, context))
        return self._join(kept, moved), slopes.sum(-1) + total

    def inverse(self, z, context):
        kept, moved = self._split(z)
        moved, slopes = self.map.inverse(moved, self._raw(kept, context))
        total = 0.0
        if self.kept_step is not None:
            kept, total = self.kept_step._inverse(kept, context)
        return self._join(kept, moved), slopes.sum(-1) + total

    T.Coupling._forward, T.Coupling._inverse = forward, inverse


def _on_the_kept(change) -> None:
    """Change what the step of the kept features gives, in both directions."""
    for way in ("_forward", "_inverse"):

        def make(old, way=way):
            def run(self, x, context):
                step = self.kept_step
                if step is None:
                    return old(self, x, context)
                plain = getattr(type(step), way)
                object.__setattr__(step, way, lambda x, c: change(x, plain(step, x, c)))
                try:
                    return old(self, x, context)
                finally:
                    object.__delattr__(step, way)

            return run

        replaced(T.Coupling, way, make)


def _kept_without_logdet() -> None:
    _on_the_kept(lambda x, result: (result[0], torch.zeros_like(result[1])))


def _kept_skipped() -> None:
    _on_the_kept(lambda x, result: (x, torch.zeros_like(result[1])))


def _kept_unfitted() -> None:
    def fit(self, x, context=None):
        self.map.fit(self._split(x)[1])
        return self

    T.Coupling.fit = fit


def _exchanged() -> None:
    replaced(coupling, "some_of_all", lambda old: lambda flags: _other_half(old(flags)))


def _other_half(flags):
    return ~flags if int(flags.sum()) > 0 else flags


def _unordered() -> None:
    def join(self, kept, moved):
        flat = torch.cat((kept, moved), -1)
        return flat.reshape(*flat.shape[:-1], *self.event_shape)

    T.Coupling._join = join


def _influence_turned() -> None:
    replaced(T.Coupling, "influence", lambda old: lambda self: old(self).mT)


def _nothing_kept() -> None:
    replaced(
        coupling,
        "some_of_all",
        lambda old: lambda flags: old(flags) if bool(flags.any()) else flags,
    )


def _other_fields() -> None:
    replaced(keeps, "checkerboard", lambda old: lambda event: ~old(event))


def _own_state() -> None:
    def random(event, seed):
        torch.manual_seed(seed)
        count = keeps.half(event).numel()
        return (torch.randperm(count) < count // 2).reshape(keeps.half(event).shape)

    keeps.random = random


def _rows_kept() -> None:
    replaced(keeps, "channels", lambda old: lambda e: old((e[1], e[0], *e[2:])).transpose(0, 1))


def _image_network(change) -> None:
    def raw(old):
        def changed(self, kept, context):
            network = self.network.forward
            object.__setattr__(self.network, "forward", lambda image: change(self, network, image))
            try:
                return old(self, kept, context)
            finally:
                object.__delattr__(self.network, "forward")

        return changed

    replaced(T.ImageCoupling, "_raw", raw)


def _kinds_first() -> None:
    def change(self, network, image):
        given = network(image)
        channels = self.event_shape[0]
        return given.unflatten(1, (-1, channels)).transpose(1, 2).flatten(1, 2)

    _image_network(change)


def _all_shown() -> None:
    def change(self, network, image):
        channels = self.event_shape[0]
        return network(torch.cat((image[:, :channels], 1.0 + 0.0 * image[:, channels:]), 1))

    _image_network(change)


def _no_planes() -> None:
    def change(self, network, image):
        planes = torch.arange(image.shape[1]) >= 2 * self.event_shape[0]
        return network(torch.where(planes[:, None, None], 0.0, image))

    _image_network(change)
