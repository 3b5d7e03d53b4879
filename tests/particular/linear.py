"""What only linear transforms can get wrong."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator

import torch
from tests.breaking import Break, replaced

from pushforward import transforms as T
from pushforward.transforms import compose, pushing
from pushforward.transforms.base import Transform
from pushforward.transforms.linear import batch_norm, convolution, low_rank, qr, rotations, svd

LAWS = tuple(f"tests/transforms/test_{name}.py" for name in ("laws", "start", "extremes"))
LINEAR = ("tests/transforms/test_linear.py",)
_REVERSED = "(triangle.mT, v @ columns, upper=False)"
_WITHOUT = "push(step, x, context if context is None else 0 * context)"
NORM = ("tests/transforms/test_batch_norm.py",)


def breaks() -> Iterator[Break]:
    """Every break; where both directions stay alike, the definition has to notice."""
    for function, name, old, new in (
        ("reflected", "reflections by half", "0.5 * _one", "1.0 * _one"),
        ("reflected", "reflections not seeing each other", ".triu(1) + 0.5", ".triu(99) + 0.5"),
        (
            "reflected",
            "reflections the other way",
            "(triangle, v @ columns, upper=True)",
            _REVERSED,
        ),
        ("reflect", "the odd reflection left alone", "if count % 2:", "if False:"),
        ("reflect", "pairs that start apart", "// 2", "// 1"),
    ):
        yield Break("Orthogonal", name, _edit(rotations, function, old, new), LINEAR, "")
    yield Break("Orthogonal", "one reflection undone", _one_reflection, LINEAR, "")
    yield Break("Orthogonal", "no polish", _plain("_polished", lambda q: q), LINEAR, "")
    yield Break("Orthogonal", "cayley turned round", _turned("cayley"), LINEAR, "")
    yield Break("Orthogonal", "exponential turned round", _turned("exponential"), LINEAR, "")
    yield Break("Orthogonal", "angles without end", _endless, LINEAR, "")
    yield Break("QR", "a diagonal that may be negative", _unbounded(qr), LINEAR, "")
    yield Break("QR", "turned the other way", _other_way(qr), LINEAR, "")
    yield Break("SVD", "the rotations exchanged", _svd_exchanged, LINEAR, "")
    yield Break("SVD", "no bound", lambda: _set(svd, "bounded", lambda raw, _: raw), LINEAR, "")
    for name, old, new in (
        ("the projection left out", ' - right.mT @ raw["left"]', ""),
        ("the core left out", "rotation @ upper - one", "0.0 * one"),
    ):
        change = _edit(T.LowRank, "_factors", old, new, low_rank)
        yield Break("LowRank", name, change, (*LAWS, *LINEAR), "linear-low-rank")
    yield Break("LowRank", "a diagonal that may be negative", _unbounded(low_rank), LINEAR, "")
    yield Break("LowRank", "the core not turned", _low_rank_unturned, LINEAR, "")
    place = ((*LAWS, *LINEAR), "linear-convolution")
    for name, change in (
        ("the determinant of one pixel", _one_pixel),
        ("order and its inverse exchanged", _orders_exchanged),
        ("a diagonal that may be zero", _unbounded(convolution)),
        ("the seed ignored", _seed_ignored),
    ):
        yield Break("Convolution1x1", name, change, *place)
    yield from _of_batch_norm()
    for name, old, new in (
        ("settled on a sample", "step.settle(x, context)", "step.settle(x[:100], context)"),
        ("settled before the steps ahead", "x = push(step, x, context)", "pass"),
        ("settled without the context", "push(step, x, context)", _WITHOUT),
    ):
        change = _edit(compose, "_settle_in_turn", old, new)
        yield Break("Compose", name, change, NORM, "")
    yield Break("Compose", "rows pushed in training", _pushed_in_training, NORM, "")
    yield Break("Inverse", "settled though turned round", _settled_turned, NORM, "")
    yield Break("Inverse", "never settled", lambda: _forget(T.Inverse, "settle"), NORM, "")


def _of_batch_norm() -> Iterator[Break]:
    for method, name, old, new in (
        ("_statistics", "variance of a sample", "correction=0", "correction=1"),
        ("_statistics", "statistics without gradient", "return mean, v", "return mean.data, v"),
        ("_statistics", "nothing runs along", "* self.momentum", "* 0.0"),
        ("_statistics", "also in evaluation", "not self.training or", ""),
        ("_inverse", "eps forgotten", "self.variance)", "self.variance - self.eps)"),
        ("_log_scale", "the bound forgotten", "bounded(self.log_scale, _BOUND)", "self.log_scale"),
        ("_log_scale", "variance for deviation", "0.5 * ", ""),
        ("_read", "variance not read", "self.variance.copy_", "abs"),
    ):
        change = _edit(T.BatchNorm, method, old, new, batch_norm)
        yield Break("BatchNorm", name, change, (*NORM, *LAWS), "linear-batch-norm")
    yield Break("BatchNorm", "never settled", lambda: _forget(T.BatchNorm, "settle"), NORM, "")


def _edit(owner: object, name: str, old: str, new: str, module: object = None) -> Callable:
    """A change of the source of one function; it raises where there is nothing to change."""

    def apply() -> None:
        source = textwrap.dedent(inspect.getsource(getattr(owner, name)))
        if source.count(old) < 1:
            raise LookupError(f"{name} no longer holds {old!r}")
        scope = vars(module or owner)
        local: dict = {}
        source = "from __future__ import annotations\n" + source.replace(old, new)
        exec(compile(source, f"<{name} broken>", "exec"), scope, local)
        setattr(owner, name, local[name])

    return apply


def _set(owner: object, name: str, value: object) -> None:
    getattr(owner, name)  # raises where it is gone
    setattr(owner, name, value)


def _plain(name: str, value: Callable) -> Callable[[], None]:
    return lambda: _set(rotations, name, value)


def _forget(cls: type, name: str) -> None:
    """The method that does nothing in the place of one's own."""
    _set(cls, name, getattr(Transform, name))


def _one_reflection() -> None:
    old = rotations.reflect
    rotations.reflect = lambda raw, columns: old(raw[..., : raw.shape[-2] // 2 * 2, :], columns)


def _turned(method: str) -> Callable[[], None]:
    def apply() -> None:
        replaced(rotations, method, lambda old: lambda raw: old(raw).mT)
        rotations.ROTATIONS[method] = getattr(rotations, method)

    return apply


def _endless() -> None:
    rotations._FARTHEST = 1e30


def _unbounded(module: object) -> Callable[[], None]:
    return lambda: _set(module, "positive", lambda raw: raw + 1.0)


def _other_way(module: object) -> Callable[[], None]:
    def apply() -> None:
        rotate = dict(module.ROTATIONS)  # type: ignore[attr-defined]
        _set(module, "ROTATIONS", {k: lambda raw, f=f: f(raw).mT for k, f in rotate.items()})

    return apply


def _svd_exchanged() -> None:
    def exchanged(old):
        def matrix(self, raw, log_scale, turned):
            other = raw | {"left": raw["right"], "right": raw["left"]}
            return old(self, other, log_scale, turned)

        return matrix

    replaced(T.SVD, "_matrix", exchanged)


def _low_rank_unturned() -> None:
    _set(low_rank, "exponential", lambda raw: torch.eye(len(raw), dtype=raw.dtype))


def _one_pixel() -> None:
    one = lambda self, logdet, x: logdet.expand(x.shape[:-3])
    _set(T.Convolution1x1, "_of_all_pixels", one)


def _orders_exchanged() -> None:
    def exchange(old):
        def made(self, *args, **kwargs):
            old(self, *args, **kwargs)
            if self.lu:
                self.order, self.back = self.back, self.order

        return made

    replaced(T.Convolution1x1, "__init__", exchange)


def _seed_ignored() -> None:
    replaced(convolution, "_random_rotation", lambda old: lambda features, seed: old(features, 0))


def _pushed_in_training() -> None:
    from contextlib import nullcontext

    for module in (compose, pushing):
        _set(module, "in_evaluation", lambda step: nullcontext())


def _settled_turned() -> None:
    def settle(self, x, context=None):
        self.transform.settle(x, context)
        return self

    T.Inverse.settle = settle
