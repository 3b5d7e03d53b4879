"""The tables of the comparison: columns, resolution, what is left out and why, jitter, split."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch

ATOM = 0.10  # a value that this share of the rows has is an atom: a density has no such thing
FEW_VALUES = 50  # a column with fewer distinct values is a category, not a measurement
TEST_SHARE = 0.10
VALIDATION_SHARE = 0.10  # of the rows that are left: what TableFlow holds out by default


@dataclass(frozen=True)
class TableSet:
    """A table of measurements, ready to be jittered.

    Attributes:
        name: of the set.
        names: of the columns that are modelled.
        x: ``(rows, columns)`` in float64.
        resolution: one step of each column, in its own unit.
        basis: for each column, where its step comes from.
        left_out: columns that are not modelled, and why.
    """

    name: str
    names: tuple[str, ...]
    x: numpy.ndarray
    resolution: numpy.ndarray
    basis: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    def jittered(self, share: float, seed: int) -> numpy.ndarray:
        """The rows, each number moved by up to half of ``share`` steps; the seed decides how."""
        uniform = numpy.random.default_rng(seed).uniform(-0.5, 0.5, self.x.shape)
        return self.x + uniform * (share * self.resolution)


@dataclass(frozen=True)
class Split:
    """Row numbers; TableFlow, given the table's rows in the order ``seen``, holds out the same."""

    train: numpy.ndarray
    validation: numpy.ndarray
    test: numpy.ndarray
    seen: numpy.ndarray


def split(rows: int, seed: int) -> Split:
    """Test rows at random; of the others, the rows that TableFlow holds out for validation."""
    order = numpy.random.default_rng([seed, 1]).permutation(rows)
    count = round(rows * TEST_SHARE)
    test, seen = order[:count], order[count:]
    # As TableFlow splits: whoever runs this checks it against the figure that TableFlow reports.
    inner = torch.randperm(len(seen), generator=torch.Generator().manual_seed(seed)).numpy()
    held = max(1, round(len(seen) * VALIDATION_SHARE))
    return Split(seen[inner[held:]], seen[inner[:held]], test, seen)


def load_set(name: str, folder: Path, every_column: bool = False) -> TableSet:
    """Load a table from the folder of the data.

    Args:
        name: ``hep``, ``photoz`` or ``power``.
        folder: holds ``hep/``, ``photoz/`` and ``flow_benchmarks/``.
        every_column: keep columns with atoms or exact dependence (of ``power`` all but
            Sub_metering_1): for information, since spikes decide the result then.
    """
    table = LOADERS[name](folder)
    return table if every_column else leave_out(table)


def leave_out(table: TableSet) -> TableSet:
    """The table without columns that have atoms, few values, or follow exactly from others."""
    reasons = dict(table.left_out)
    usable = []
    for i, name in enumerate(table.names):
        reason = _atom(table.x[:, i])
        if reason:
            reasons[name] = reason
        else:
            usable.append(i)
    # The coarsest first: of two columns that give each other, the one with more digits stays.
    spread = table.x.std(0) / table.resolution
    kept = list(usable)
    for i in sorted(usable, key=lambda i: spread[i]):
        others = [j for j in range(len(table.names)) if j != i and j in kept]
        # A column with atoms may still give another one away.
        others += [j for j in range(len(table.names)) if j not in usable]
        error = _unexplained(table.x[:, i], table.x[:, others]) if others else numpy.inf
        if error < 0.5 * table.resolution[i]:
            reasons[table.names[i]] = (
                f"half of its values follow from other columns to {error:.2g}, less than half its "
                f"step of {table.resolution[i]:.2g}"
            )
            kept.remove(i)
    return TableSet(
        table.name,
        tuple(table.names[i] for i in kept),
        table.x[:, kept],
        table.resolution[kept],
        tuple(table.basis[i] for i in kept),
        tuple(reasons.items()),
    )


def _atom(values: numpy.ndarray) -> str:
    distinct, counts = numpy.unique(values, return_counts=True)
    share = counts.max() / len(values)
    if share >= ATOM:
        return f"atom: {share:.0%} of the rows have the value {distinct[counts.argmax()]:.4g}"
    if len(distinct) < FEW_VALUES:
        return f"only {len(distinct)} distinct values"
    return ""


def _unexplained(target: numpy.ndarray, others: numpy.ndarray) -> float:
    """Median distance to a cubic fit of the other columns, on the half it did not see."""
    z = (others - others.mean(0)) / others.std(0)
    terms = [numpy.ones(len(z))]
    for degree in (1, 2, 3):
        for pick in itertools.combinations_with_replacement(range(z.shape[1]), degree):
            terms.append(z[:, pick].prod(1))
    design = numpy.stack(terms, 1)
    weights, *_ = numpy.linalg.lstsq(design[::2], target[::2], rcond=None)
    return float(numpy.median(abs(target[1::2] - design[1::2] @ weights)))


def smallest_gap(values: numpy.ndarray) -> float:
    """Smallest distance between two different values of a column."""
    return float(numpy.diff(numpy.unique(values)).min())


def _hep(folder: Path) -> TableSet:
    with numpy.load(folder / "hep" / "cms_zmumu_10k.npz") as file:
        x, columns = file["X"].astype(numpy.float64), [str(c) for c in file["columns"]]
    names = ("pt1", "eta1", "phi1", "pt2", "eta2", "phi2")
    # The file is written with six significant digits, so that the step grows with the value:
    # that of most rows is 1e-4 GeV for 10 to 100 GeV, and 1e-5 for angles above 1.
    steps = numpy.array([1e-4, 1e-5, 1e-5] * 2)
    return TableSet(
        "hep", names, x[:, [columns.index(n) for n in names]], steps, ("6 digits written",) * 6
    )


def _photoz(folder: Path) -> TableSet:
    with numpy.load(folder / "photoz" / "lsst_dc2_training.npz") as file:
        x = numpy.column_stack([file["mag"], file["redshift"]]).astype(numpy.float64)
        names = (*(str(band) for band in file["bands"]), "redshift")
    x = x[(x[:, :-1] < 90).all(1)]  # 99 codes a source that was not detected
    steps = numpy.array([smallest_gap(column) for column in x.T])
    return TableSet("photoz", names, x, steps, ("smallest gap",) * len(names))


def _power(folder: Path) -> TableSet:
    with numpy.load(folder / "flow_benchmarks" / "power_minute_48k.npz") as file:
        names = [str(c) for c in file["columns"]]
        x = file["X"].astype(numpy.float64)
        minute = file["minute_of_day"].astype(numpy.float64)
    kept = [i for i, name in enumerate(names) if name != "Sub_metering_1"]
    # Steps of the meter as its files write them: 2 W, 2 var, 10 mV, 0.2 A, 1 Wh.
    steps = dict(zip(names, (0.002, 0.002, 0.01, 0.2, 1.0, 1.0, 1.0), strict=True))
    return TableSet(
        "power",
        (*(names[i] for i in kept), "minute_of_day"),
        numpy.column_stack([x[:, kept], minute]),
        numpy.array([*(steps[names[i]] for i in kept), 1.0]),
        ("step of the meter",) * len(kept) + ("one minute",),
        (
            (
                "Sub_metering_1",
                f"atom: {(x[:, names.index('Sub_metering_1')] == 0).mean():.0%} "
                "of the rows have the value 0",
            ),
        ),
    )


LOADERS = {"hep": _hep, "photoz": _photoz, "power": _power}
