"""Two samples of one quantity, one over the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy

from pushforward.errors import ArgumentError
from pushforward.viz.figure import DATA, INK, MODEL, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["compare_histograms"]


def compare_histograms(
    data: Any,
    model: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    bins: int = 60,
    xlabel: str = "",
    labels: tuple[str, str] = ("data", "flow"),
    axes: Axes | None = None,
) -> Axes:
    """Histograms of data and of a model's samples, each of area one.

    The data are filled, the samples a line. The shaded band is the standard error of the data's
    histogram, so that a difference can be judged.

    Args:
        data: ``(n,)`` numbers.
        model: ``(m,)`` numbers.
        low: lower end of the axis; by default the data's quantile 0.001.
        high: upper end; by default the quantile 0.999.
        bins: number of bins.
        xlabel: what the numbers are, with their unit.
        labels: names of the two.
        axes: where to draw; by default on a new figure.

    Returns:
        The axes.

    Raises:
        ArgumentError: there are no numbers in the range, or fewer than one bin.
        MissingPackageError: matplotlib is not installed.

    Example:
        >>> axes = compare_histograms([1.0, 2.0, 2.5], [1.5, 2.0, 2.2], bins=3, xlabel="m (GeV)")
        >>> axes.get_xlabel()
        'm (GeV)'
    """
    data, model = (numpy.asarray(one, dtype=float).ravel() for one in (data, model))
    edges = _edges(data, model, low, high, bins)
    axes = new_axes() if axes is None else axes
    _draw_data(axes, data, edges, f"{labels[0]}, ± 1 standard error")
    drawn = numpy.histogram(model, edges)[0] / (model.size * (edges[1] - edges[0]))
    axes.stairs(drawn, edges, color=MODEL, linewidth=1.6, label=labels[1])
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(xlabel, color=INK)
    axes.set_ylabel("density", color=INK)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    plain(axes)
    return axes


def _edges(data: Any, model: Any, low: float | None, high: float | None, bins: int) -> Any:
    """Ends of the bins; every argument that cannot be drawn is refused here."""
    if bins < 1 or data.size == 0 or model.size == 0:
        raise ArgumentError(
            f"compare_histograms: {data.size} and {model.size} numbers in {bins} bins, expected "
            "at least one of each."
        )
    ends = numpy.quantile(data, [0.001, 0.999])
    low, high = ends[0] if low is None else low, ends[1] if high is None else high
    if not low < high:
        raise ArgumentError(
            f"compare_histograms: the range is {low} to {high}, expected low < high."
        )
    return numpy.linspace(low, high, bins + 1)


def _draw_data(axes: Axes, data: Any, edges: Any, label: str) -> None:
    """The data's histogram of area one, with a band of its standard error."""
    counts = numpy.histogram(data, edges)[0]
    per_count = 1.0 / (data.size * (edges[1] - edges[0]))
    height, error = counts * per_count, numpy.sqrt(counts) * per_count
    axes.stairs(height, edges, fill=True, color=DATA, alpha=0.45, label=label)
    axes.fill_between(
        edges,
        numpy.append(height - error, (height - error)[-1]),
        numpy.append(height + error, (height + error)[-1]),
        step="post",
        color=DATA,
        alpha=0.6,
        linewidth=0,
    )
