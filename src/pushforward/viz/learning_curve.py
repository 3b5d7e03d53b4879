"""How training went: losses over the steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pushforward.errors import ArgumentError, MissingPackageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pushforward.training.history import History

__all__ = ["learning_curve"]

_TRAINING, _VALIDATION, _QUIET = "#9aa5b1", "#0b6e99", "#6b7280"


def learning_curve(history: History, ax: Axes | None = None) -> Axes:
    """Draw training and validation loss over the steps, and mark the weights that were kept.

    The axis ends a little above the second figure: an untrained loss far above all others would
    press the rest into a line. Where that cuts the first figure off, a note says so.

    Args:
        history: what ``pf.fit`` returned.
        ax: where to draw; by default a new figure's.

    Returns:
        the axes, losses in nats a row.

    Raises:
        MissingPackageError: matplotlib is not installed.
        ArgumentError: the history is empty.

    Example:
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> from pushforward.training import Evaluation, History
        >>> ax = learning_curve(History([Evaluation(0.0, 0, None, 2.0, 0.1, None, 0.0, None)]))
        >>> ax.get_xlabel()
        'step'
    """
    if not history.evaluations:
        raise ArgumentError("learning_curve: history is empty, expected what pf.fit returned.")
    ax = _new_axes() if ax is None else ax
    training = _points(history, "train_loss")
    validation = _points(history, "validation_loss")
    handles: list[Any] = []
    if training[0]:
        # A training figure is the mean over the steps before it.
        handles += ax.plot(*training, color=_TRAINING, linewidth=1.5, label="training")
    if validation[0]:
        handles += ax.plot(*validation, color=_VALIDATION, linewidth=1.8, label="validation")
    best = history.best
    if best.validation_loss is not None and math.isfinite(best.validation_loss):
        ax.axhline(best.validation_loss, color=_VALIDATION, linewidth=0.6, alpha=0.4, zorder=1)
        handles += ax.plot(
            [best.step],
            [best.validation_loss],
            "o",
            color=_VALIDATION,
            markersize=6,
            clip_on=False,
            label=f"kept: {best.validation_loss:.3f} at step {best.step:,}",
        )
    _limit(ax, training[1], validation[1])
    _dress(ax, history)
    if handles:
        ax.legend(handles=handles, frameon=False, loc="upper right")
    return ax


def _points(history: History, name: str) -> tuple[list[int], list[float]]:
    found = [(one.step, getattr(one, name)) for one in history.evaluations]
    kept = [(step, loss) for step, loss in found if loss is not None and math.isfinite(loss)]
    return [step for step, _ in kept], [loss for _, loss in kept]


def _limit(ax: Axes, training: list[float], validation: list[float]) -> None:
    """Give the trained part most of the height."""
    later = training[1:] + validation[1:]
    if len(later) < 2 or max(later) == min(later):
        return
    low, high = min(later), max(later)
    top = high + 0.5 * (high - low)
    first = (training[:1] + validation[:1])
    ax.set_ylim(low - 0.08 * (high - low), min(top, max(first + [high + 0.08 * (high - low)])))
    if validation and validation[0] > top:
        ax.annotate(
            f"untrained: {validation[0]:.2f} ↑",
            (0.0, 1.0),
            xycoords="axes fraction",
            xytext=(6, -4),
            textcoords="offset points",
            va="top",
            color=_QUIET,
            fontsize="small",
        )


def _dress(ax: Axes, history: History) -> None:
    ax.set_xlabel("step")
    ax.set_ylabel("negative log-density [nats a row]")
    ax.set_xlim(0, max(history.evaluations[-1].step, 1))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    ax.set_axisbelow(True)
    words = f"{history.stopped}, {history.seconds:.0f} s" if history.stopped else ""
    if history.skipped:
        words += f", {history.skipped_steps} steps skipped"
    ax.set_title(words, loc="left", fontsize="small", color=_QUIET)


def _new_axes() -> Axes:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(
            "learning_curve: needs matplotlib; run `pip install 'pushforward[plots]'`."
        ) from error
    return Figure(figsize=(6.4, 4.0), layout="constrained").add_subplot()
