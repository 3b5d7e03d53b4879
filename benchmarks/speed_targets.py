"""What is to be reached: each limit, what is compared, and how it is read off the figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

OURS = "pushforward"
JAX = "FlowJAX"
TORCH_PEERS = ("zuko", "nflows", "normflows", "FrEIA")

# Why a limit that is missed is missed, by its name; printed beside it.
SHORTFALLS: Mapping[str, str] = {
    "layers-train-43": "besides its layers a step has some 3 ms that their number does not change, "
    "which weigh most with four: our own way to the kernel 1.1, PyTorch's way back through "
    "autograd 1.0, its Adam 0.7, the mean and zero_grad 0.4. After a kernel has filled the caches "
    "all of that begins cold (the first torch.mean takes 110 microseconds, the second 8). The "
    "kernels themselves take as long for each of 4 layers as for each of 32. Five runs before had "
    "1.09, 1.12, 1.17, 1.16 and 1.17",
}

Measured = tuple[float, str]  # the figure, and what it was compared with


class Figures:
    """Medians by row and by what was measured in it."""

    def __init__(self, figures: Sequence[Mapping[str, Any]]) -> None:
        self._values = {
            (f["row"], f["subject"]): f["value"]
            for f in figures
            if "subject" in f and f["value"] is not None
        }

    def of(self, row: str, subject: str) -> float | None:
        """The median, or None if it was not measured."""
        return self._values.get((row, subject))

    def fastest(self, row: str, peers: Sequence[str]) -> tuple[float, str] | None:
        """The fastest of some libraries, and its name."""
        known = [(value, name) for name in peers if (value := self.of(row, name)) is not None]
        return min(known) if known else None

    def by_size(self, row: str) -> dict[int, float]:
        """Medians by the number that the subject's name begins with."""
        return {
            int(name.split()[0]): value for (r, name), value in self._values.items() if r == row
        }


@dataclass(frozen=True)
class Target:
    """A limit.

    Attributes:
        name: as it is found in the results.
        what: what is compared, in words.
        limit: the limit.
        read: takes it from the figures; None where something was not measured.
        at_least: whether larger is better.
        unit: of the figure.
    """

    name: str
    what: str
    limit: float
    read: Callable[[Figures], Measured | None]
    at_least: bool = True
    unit: str = "times"


def _ahead(row: str, peers: Sequence[str], figures: Figures) -> Measured | None:
    """By how much ours is faster than the fastest of these."""
    own, other = figures.of(row, OURS), figures.fastest(row, peers)
    return None if own is None or other is None else (other[0] / own, other[1])


def _over(row: str, subject: str, other: str, figures: Figures) -> Measured | None:
    """How many times the one takes what the other takes."""
    values = figures.of(row, subject), figures.of(row, other)
    if values[0] is None or values[1] is None:
        return None
    return values[0] / values[1], other


def _itself(row: str, subject: str, figures: Figures) -> Measured | None:
    value = figures.of(row, subject)
    return None if value is None else (value, "")


def _spread(row: str, figures: Figures) -> Measured | None:
    """Largest over smallest time for one, over all sizes."""
    each = {size: value / size for size, value in figures.by_size(row).items()}
    if len(each) < 2:
        return None
    most, least = max(each, key=each.__getitem__), min(each, key=each.__getitem__)
    return each[most] / each[least], f"most at {most:,}, least at {least:,}"


def _faster(row: str, limit: float, what: str, peers: Sequence[str], of: str) -> Target:
    text = f"{what}: times faster than {of}"
    return Target(f"{row} against {of}", text, limit, partial(_ahead, row, peers))


def _targets() -> list[Target]:
    everyone, any_peer = (*TORCH_PEERS, JAX), "the fastest peer"
    couplings, step = "coupling splines", "training step"
    targets = []
    for size, ahead, over in ((43, 2.0, 1.5), (6, 1.5, 1.7), (2, 1.2, None)):
        row, what = f"coupling-train-{size}", f"{couplings}, D = {size}, {step}"
        targets.append(_faster(row, ahead, what, everyone, any_peer))
        if over is not None:
            read = partial(_over, row, OURS, "networks alone")
            text = f"{what}: times its networks alone"
            targets.append(Target(f"{row} over its networks", text, over, read, at_least=False))
    for size in (6, 43):
        row = f"coupling-log_prob-{size}"
        targets.append(_faster(row, 2.0, f"{couplings}, D = {size}, log_prob", everyone, any_peer))
    for size in (43, 200):
        row = f"autoregressive-sample-{size}"
        what = f"autoregressive splines, D = {size}, 2 000 samples"
        targets += [
            _faster(row, 60.0, what, TORCH_PEERS, "the fastest PyTorch peer"),
            _faster(row, 25.0, what, (JAX,), JAX),
            Target(
                f"{row} over own log_prob",
                f"{what}: times its own log_prob",
                2.0,
                partial(_over, row, OURS, "own log_prob"),
                at_least=False,
            ),
        ]
    targets.append(
        Target(
            "autoregressive-sample-43-single",
            "autoregressive splines, D = 43, one sample",
            5.0,
            partial(_itself, "autoregressive-sample-43-single", OURS),
            at_least=False,
            unit="ms",
        )
    )
    for kind, title in (("maf", "affine MAF"), ("realnvp", "RealNVP")):
        for size, ahead in ((6, 1.0), (43, 1.2)):
            what = f"{title}, D = {size}, {step}"
            targets.append(_faster(f"{kind}-train-{size}", ahead, what, everyone, any_peer))
    return [*targets, *_of_ours_alone()]


def _of_ours_alone() -> list[Target]:
    deep = '64 coupling layers with memory="recompute"'
    at_most = partial(Target, at_least=False)
    return [
        at_most(
            "first-step",
            "from the end of `import torch` to the end of the first step of pf.fit, D = 43",
            1.0,
            partial(_itself, "first-step", "pushforward, pf.fit"),
            unit="s",
        ),
        at_most(
            "deep-memory-43",
            f"{deep}, activations: times the peak of 4 ordinary layers (resident memory)",
            1.5,
            partial(_over, "deep-memory-43", "64 layers, recompute", "4 layers, ordinary"),
        ),
        at_most(
            "deep-train-43",
            f"{deep}, training step: times the ordinary",
            1.6,
            partial(_over, "deep-train-43", "recompute", "ordinary"),
        ),
        at_most(
            "rows-log_prob-6",
            "time of log_prob for one row, from 10 000 to 1 000 000 rows: most over least",
            1.15,
            partial(_spread, "rows-log_prob-6"),
        ),
        at_most(
            "layers-train-43",
            "time of a training step for one layer, from 4 to 32 layers: most over least",
            1.15,
            partial(_spread, "layers-train-43"),
        ),
        _faster(
            "gpu-train-43",
            3.0,
            "coupling splines on a GPU, D = 43, 65 536 rows, training step",
            TORCH_PEERS,
            "the fastest PyTorch peer",
        ),
    ]


TARGETS: tuple[Target, ...] = tuple(_targets())
