"""How a training run went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.errors import ArgumentError
from pushforward.viz.figure import DATA, INK, MODEL, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pushforward.training import History

__all__ = ["learning_curve"]


def learning_curve(history: History, *, axes: Axes | None = None) -> Axes:
    """Training and validation loss over the steps; a dot marks the weights that were kept.

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
        ['training', 'validation', 'kept: step 50']
    """
    if not history.evaluations:
        raise ArgumentError("learning_curve: the history is empty, expected that of a run.")
    axes = new_axes() if axes is None else axes
    curves = {"training": ("train_loss", DATA), "validation": ("validation_loss", MODEL)}
    for label, (name, colour) in curves.items():
        points = [(one.step, getattr(one, name)) for one in history.evaluations]
        points = [point for point in points if point[1] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.4, label=label)
    best = history.best
    if best.validation_loss is not None:
        axes.plot(
            best.step, best.validation_loss, "o", color=INK, markersize=5,
            label=f"kept: step {best.step}",
        )
    axes.set_xlabel("step", color=INK)
    axes.set_ylabel("loss (nats a row)", color=INK)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    plain(axes)
    return axes
