"""Axes without global state: pyplot is never touched, so no window opens and nothing leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.errors import MissingPackageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DATA", "INK", "MODEL", "new_axes", "plain"]

# Told apart by every kind of colour vision, and in grey.
DATA = "#9aa5b1"
MODEL = "#c2410c"
INK = "#1f2933"


def new_axes(width: float = 6.4, height: float = 4.0) -> Axes:
    """The axes of a new figure of that size in inches; ``axes.figure.savefig`` writes it.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(
            "pf.viz: figures need matplotlib; pip install 'pushforward[plots]'"
        ) from error
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def plain(axes: Axes) -> None:
    """Take away what carries no information: upper and right frame, heavy ink."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=9)
