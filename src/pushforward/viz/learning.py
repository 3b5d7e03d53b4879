"""How a training run went."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pushforward.errors import ArgumentError
from pushforward.viz.figure import DATA, INK, MODEL, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pushforward.training import History

__all__ = ["learning_curve"]


def learning_curve(history: History, *, axes: Axes | None = None) -> Axes:
    """Training and validation loss over the steps; a dot marks the weights that were kept.

    The height belongs to the trained part: where the untrained loss lies far above it, the axis
    cuts it off and a note gives its value. Values that are not finite are left out.

    Args:
        history: what ``pf.fit`` returned.
        axes: where to draw; by default on a new figure.

    Returns:
        The axes.

    Raises:
        ArgumentError: the history is empty.
        MissingPackageError: matplotlib is not installed.

    Example:
        >>> from pushforward.training import Evaluation, History
        >>> first = Evaluation(0.0, 0, None, 2.9, 1e-3, None, 0.1, None)
        >>> last = Evaluation(1.0, 50, 2.5, 2.4, 0.0, 1.2, 3.0, 9000.0)
        >>> axes = learning_curve(History([first, last], best_step=50))
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['training', 'validation', 'kept: 2.400 at step 50']
    """
    if not history.evaluations:
        raise ArgumentError("learning_curve: the history is empty, expected that of a run.")
    axes = new_axes() if axes is None else axes
    training, validation = _points(history, "train_loss"), _points(history, "validation_loss")
    for label, points, colour in (("training", training, DATA), ("validation", validation, MODEL)):
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.4, label=label)
    best = history.best
    if best.validation_loss is not None and math.isfinite(best.validation_loss):
        label = f"kept: {best.validation_loss:.3f} at step {best.step:,}"
        spot = ([best.step], [best.validation_loss])
        axes.plot(*spot, "o", color=INK, markersize=5, clip_on=False, zorder=3, label=label)
    _limit(axes, training, validation)
    axes.set_xlim(0, max(history.evaluations[-1].step, 1))
    axes.set_xlabel("step", color=INK)
    axes.set_ylabel("loss (nats a row)", color=INK)
    if axes.lines:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper right")
    plain(axes)
    return axes


def _points(history: History, name: str) -> list[tuple[int, float]]:
    found = [(one.step, getattr(one, name)) for one in history.evaluations]
    return [(step, loss) for step, loss in found if loss is not None and math.isfinite(loss)]


def _limit(
    axes: Axes, training: list[tuple[int, float]], validation: list[tuple[int, float]]
) -> None:
    """Cut off what would press the trained part into a line."""
    later = [loss for _, loss in training[1:] + validation[1:]]
    if len(later) < 2 or max(later) == min(later):
        return
    low, height = min(later), max(later) - min(later)
    highest = max(loss for _, loss in training + validation)
    axes.set_ylim(low - 0.08 * height, min(highest + 0.05 * height, low + 1.6 * height))
    if validation and validation[0][1] > low + 1.6 * height:
        axes.annotate(
            f"untrained: {validation[0][1]:.2f}",
            (0.0, 1.0),
            xycoords="axes fraction",
            xytext=(0, 3),
            textcoords="offset points",
            va="bottom",
            color=INK,
            fontsize=9,
        )
