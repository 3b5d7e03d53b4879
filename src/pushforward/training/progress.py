"""What a run shows while it runs: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["Bar", "Lines", "Progress", "Silent", "choose_progress"]


class Progress(Protocol):
    """Where a run tells how far it is. ``due`` is asked every step, so it must cost nothing."""

    def due(self) -> bool:
        """Whether it is time for another ``update``."""
        ...

    def update(
        self, step: int, train: float | None, validation: float | None, rows_per_second: float
    ) -> None:
        """Show the present figures: log-densities in nats a row, or another objective's loss."""
        ...

    def note(self, text: str) -> None:
        """Say one sentence."""
        ...

    def stop(self) -> None:
        """End the display."""
        ...


class Silent:
    """Shows nothing but is asked like the others."""

    def due(self) -> bool:
        """Never."""
        return False

    def update(
        self, step: int, train: float | None, validation: float | None, rows_per_second: float
    ) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def stop(self) -> None:
        """Nothing to end."""


class Lines:
    """One line every few seconds, for a file or a pipe.

    Args:
        steps: steps of the run.
        stream: where to write.
        seconds: time between two lines.
        done: steps taken before (a resumed run).
    """

    def __init__(self, steps: int, stream: TextIO, seconds: float = 10.0, done: int = 0):
        self.steps = steps
        self.stream = stream
        self.seconds = seconds
        self._begun = self._last = time.perf_counter()
        self._done = done

    def due(self) -> bool:
        """Whether the last line is old enough."""
        return time.perf_counter() - self._last >= self.seconds

    def update(
        self, step: int, train: float | None, validation: float | None, rows_per_second: float
    ) -> None:
        """Write one line if the last one is old enough, or this is the beginning or the end."""
        if not self.due() and step not in (self._done, self.steps):
            return
        self._last = time.perf_counter()
        taken = max(step - self._done, 1)
        left = (self._last - self._begun) / taken * (self.steps - step)
        self.note(
            f"step {step}/{self.steps}  train {_nats(train)}  validation {_nats(validation)} nats"
            f"  {rows_per_second:,.0f} rows/s  {left:.0f} s left"
        )

    def note(self, text: str) -> None:
        """Write one line."""
        print(text, file=self.stream, flush=True)

    def stop(self) -> None:
        """Nothing to end."""


class Bar:
    """A Rich progress bar, drawn by the loop itself: no thread runs beside the training.

    Args:
        steps: steps of the run.
        stream: the terminal.
        seconds: time between two drawings.
        done: steps taken before (a resumed run).
    """

    def __init__(self, steps: int, stream: TextIO, seconds: float = 0.2, done: int = 0):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.seconds = seconds
        self._last = time.perf_counter()
        self._bar: RichProgress = Progress(
            TextColumn("fit"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("train {task.fields[train]}  validation {task.fields[validation]} nats"),
            TextColumn("{task.fields[rate]} rows/s"),
            TimeRemainingColumn(compact=True),
            console=Console(file=stream),
            auto_refresh=False,
        )
        fields: dict[str, Any] = {"train": _nats(None), "validation": _nats(None), "rate": "–"}
        self._task: TaskID = self._bar.add_task("fit", total=steps, completed=done, **fields)
        self._bar.start()

    def due(self) -> bool:
        """Whether the last drawing is old enough."""
        return time.perf_counter() - self._last >= self.seconds

    def update(
        self, step: int, train: float | None, validation: float | None, rows_per_second: float
    ) -> None:
        """Draw the bar."""
        self._last = time.perf_counter()
        self._bar.update(
            self._task,
            completed=step,
            train=_nats(train),
            validation=_nats(validation),
            rate=f"{rows_per_second:,.0f}",
        )
        self._bar.refresh()

    def note(self, text: str) -> None:
        """Say one sentence above the bar."""
        self._bar.console.print(text, markup=False, highlight=False)

    def stop(self) -> None:
        """Leave the bar as it stands."""
        self._bar.refresh()
        self._bar.stop()


def choose_progress(
    wanted: bool, steps: int, done: int = 0, stream: TextIO | None = None
) -> Progress:
    """Bar on a terminal, lines elsewhere, nothing if it is not wanted.

    Args:
        wanted: whether to show anything.
        steps: steps of the run.
        done: steps taken before (a resumed run).
        stream: where to; by default standard error.
    """
    if not wanted:
        return Silent()
    stream = sys.stderr if stream is None else stream
    if stream.isatty():
        return Bar(steps, stream, done=done)
    return Lines(steps, stream, done=done)


def _nats(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
