"""The plain continuous tables of the density comparison: columns, steps, what is left out and why.

A density has no atoms and no exact dependence: whoever finds a spike first wins the race. So a
column is left out where

- it has few distinct values (fewer than ``FEW_VALUES``), or
- a single value has more than ``ATOM`` of the rows, or more than ``SPIKE`` of them and
  ``POINTED`` times as many as its neighbours among the values have on average (prices that were
  capped), or
- it follows from the columns that stay: the deviation of what a linear fit leaves is below one
  resolution step, or below ``DEPENDENT`` of the deviation of the column.

A set of which fewer than ``FEWEST_COLUMNS`` are left is left out itself: in one column of a few
hundred steps kernels and components find each step, and with half the jitter the gaps between them.
"""

from __future__ import annotations

from pathlib import Path

import numpy

from table_sets import FEW_VALUES, TableSet

__all__ = ["FEWEST_COLUMNS", "SETS", "load_table", "split_rows"]

SETS = (*("airfoil", "bike", "cal_housing", "elevators", "gas", "kin40k", "pol", "pollen", "wind"),)
NO_TARGET = {"pollen": "a row number"}  # whose y is no measurement

ATOM = 0.05
SPIKE = 0.01
POINTED = 20.0
DEPENDENT = 1e-3
FEWEST_COLUMNS = 2
NEIGHBOURS = 5  # values on either side that a pointed one is compared with
SAME = 1e-6  # of the deviation: values that differ by less were rounded differently
TEST_SHARE = 0.10


def split_rows(rows: int, seed: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Numbers of the rows that are learned from, and of those of the test: the first tenth."""
    order = numpy.random.default_rng(seed).permutation(rows)
    count = round(rows * TEST_SHARE)
    return order[count:], order[:count]


def load_table(name: str, folder: Path) -> TableSet:
    """Read a table, find its steps, and leave out what a density does not have.

    Args:
        name: one of ``SETS``.
        folder: holds ``uci_tables/``, or is that folder.
    """
    inner = folder / "uci_tables"
    with numpy.load((inner if inner.is_dir() else folder) / f"{name}.npz") as file:
        x = file["X"].astype(numpy.float64)
        names = [f"x{i}" for i in range(x.shape[1])]
        if "columns" in file:
            names = [str(column) for column in file["columns"]][: x.shape[1]]
        left_out = []
        if name in NO_TARGET:
            left_out.append(("y", NO_TARGET[name]))
        else:
            names.append("y")
            x = numpy.column_stack([x, file["y"].astype(numpy.float64)])
    reasons = [_no_density(column) for column in x.T]
    left_out += [(names[i], reason) for i, reason in enumerate(reasons) if reason]
    kept = [i for i, reason in enumerate(reasons) if not reason]
    steps = numpy.array([_step(x[:, i]) for i in kept])
    x, names = x[:, kept], [names[i] for i in kept]
    stay, dependent = _independent(x, steps, names)
    return TableSet(
        name,
        tuple(names[i] for i in stay),
        x[:, stay],
        steps[stay],
        ("median gap between neighbouring values",) * len(stay),
        (*left_out, *dependent),
    )


def _distinct(values: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Values and how often each comes, with those taken together that rounding alone parts."""
    found, counts = numpy.unique(values, return_counts=True)
    first = numpy.concatenate([[True], numpy.diff(found) > SAME * values.std()])
    return found[first], numpy.add.reduceat(counts, numpy.flatnonzero(first))


def _step(values: numpy.ndarray) -> float:
    """Where most values have neighbours one step away, the step; otherwise what parts the rows."""
    return float(numpy.median(numpy.diff(_distinct(values)[0])))


def _no_density(values: numpy.ndarray) -> str:
    """Why a column has no density, or nothing."""
    found, counts = _distinct(values)
    if len(found) < FEW_VALUES:
        return f"only {len(found)} distinct values"
    share = counts / len(values)
    top = int(share.argmax())
    if share[top] > ATOM:
        return f"atom: {share[top]:.1%} of the rows have the value {found[top]:.4g}"
    for i in numpy.flatnonzero(share > SPIKE):
        near = [*share[max(i - NEIGHBOURS, 0) : i], *share[i + 1 : i + 1 + NEIGHBOURS]]
        if share[i] > POINTED * numpy.mean(near):
            return (
                f"atom: {share[i]:.1%} of the rows have the value {found[i]:.4g}, "
                f"{share[i] / numpy.mean(near):.0f} times as many as its neighbours"
            )
    return ""


def _independent(
    x: numpy.ndarray, steps: numpy.ndarray, names: list[str]
) -> tuple[list[int], list[tuple[str, str]]]:
    """Columns that stay, and those that follow from them: the most dependent goes first."""
    deviations = x.std(0)
    z = (x - x.mean(0)) / deviations
    stay = list(range(x.shape[1]))
    limits = numpy.maximum(DEPENDENT, steps / deviations)
    reasons = []
    while len(stay) > 1:
        left = _left_by_the_others(z[:, stay])
        worst = int((left / limits[stay]).argmin())
        if left[worst] >= limits[stay[worst]]:
            break
        i = stay.pop(worst)
        reasons.append(
            (
                names[i],
                f"follows from the other columns to {left[worst]:.2g} of its deviation "
                f"(limit {limits[i]:.2g})",
            )
        )
    return stay, reasons


def _left_by_the_others(z: numpy.ndarray) -> numpy.ndarray:
    """Deviation of each standardized column about its linear fit to the others."""
    # The diagonal of the inverse covariance is one over those variances.
    values, vectors = numpy.linalg.eigh(z.T @ z / len(z))
    return 1.0 / numpy.sqrt((vectors**2 / values.clip(1e-14)).sum(1))
