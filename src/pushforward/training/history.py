"""What happened in a training run, as figures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pushforward.errors import ArgumentError, MissingPackageError

if TYPE_CHECKING:
    import polars

__all__ = ["Evaluation", "History", "SkippedStep"]


@dataclass(frozen=True)
class Evaluation:
    """The figures of one look at the validation rows, and of the steps since the look before.

    Args:
        epoch: passes over the training rows so far.
        step: steps so far.
        train_loss: mean over the steps since the last look, nats a row with the default
            objective; None before the first step.
        validation_loss: mean over the validation rows, in the same unit, of the parameters that
            would be kept (the averaged ones); None without validation rows.
        lr: learning rate of the next step.
        gradient_norm: mean norm of the gradient before clipping; None before the first step.
        seconds: wall time of the run so far, over all resumptions.
        rows_per_second: training rows a second since the last look; None before the first step.
    """

    epoch: float
    step: int
    train_loss: float | None
    validation_loss: float | None
    lr: float
    gradient_norm: float | None
    seconds: float
    rows_per_second: float | None


@dataclass(frozen=True)
class SkippedStep:
    """A step that changed nothing since its loss or gradient was not finite.

    Args:
        step: its number, from 0.
        source: the layer, parameter or column where the first such value appeared.
    """

    step: int
    source: str


@dataclass
class History:
    """What ``pf.fit`` returns: figures of the run, and why it stopped.

    Losses are negative log-densities in nats a row (lower is better) with the default
    objective, in the units the data came in.

    Args:
        evaluations: figures, in the order of steps; the first is of the untrained flow.
        best_step: step of the parameters that were kept.
        stopped: why the run stopped: ``"all steps taken"``, ``"no better for a while"``,
            ``"callback: ..."``, ``"interrupted"`` or ``"nothing to train"``.
        seconds: wall time over all resumptions.
        skipped: steps that were skipped since something was not finite.
        repeated_steps: steps that were taken again after a resumption, since the run had been
            killed after its last checkpoint.
        settings: what the run used: batch size, steps, learning rate, seed and so on.

    Example:
        >>> first = Evaluation(0.0, 0, None, 2.9, 1e-3, None, 0.1, None)
        >>> last = Evaluation(1.0, 50, 2.5, 2.4, 0.0, 1.2, 3.0, 9000.0)
        >>> history = History([first, last], best_step=50, stopped="all steps taken", seconds=3.0)
        >>> history
        History: 50 steps (1.0 epochs) in 3.0 s, all steps taken;
        best at step 50: validation 2.4000 (untrained 2.9000)
        >>> history.to_frame()["step"].to_list()
        [0, 50]
        >>> History.from_json(history.to_json()) == history
        True
    """

    evaluations: list[Evaluation] = field(default_factory=list)
    best_step: int = 0
    stopped: str = ""
    seconds: float = 0.0
    skipped: list[SkippedStep] = field(default_factory=list)
    repeated_steps: int = 0
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> Evaluation:
        """The evaluation of the parameters that were kept.

        Raises:
            ArgumentError: the history is empty.
        """
        for evaluation in self.evaluations:
            if evaluation.step == self.best_step:
                return evaluation
        raise ArgumentError(f"History.best: no evaluation of step {self.best_step} is recorded.")

    @property
    def best_epoch(self) -> float:
        """Passes over the training rows at the step that was kept."""
        return self.best.epoch

    @property
    def skipped_steps(self) -> int:
        """How many steps were skipped since something was not finite."""
        return len(self.skipped)

    def summary(self) -> dict[str, Any]:
        """The run in a few figures, as JSON values: what a model file says of its training."""
        last, best = self.evaluations[-1], self.best
        return _in_json(  # type: ignore[no-any-return]
            {
                **self.settings,
                "steps_taken": last.step,
                "epochs": last.epoch,
                "best_step": best.step,
                "untrained_loss": self.evaluations[0].validation_loss,
                "validation_loss": best.validation_loss,
                "seconds": self.seconds,
                "skipped_steps": self.skipped_steps,
                "stopped": self.stopped,
            }
        )

    def to_frame(self) -> polars.DataFrame:
        """One row an evaluation, one column a figure, as a polars frame.

        Raises:
            MissingPackageError: polars is not installed.
        """
        try:
            import polars
        except ImportError as error:
            raise MissingPackageError(
                "History.to_frame: needs polars; run `pip install polars`."
            ) from error
        schema = {
            name: polars.Int64 if name == "step" else polars.Float64
            for name in Evaluation.__dataclass_fields__
        }
        return polars.DataFrame([asdict(one) for one in self.evaluations], schema=schema)

    def to_json(self) -> str:
        """The whole history as JSON text; a loss that is not finite is written as a word."""
        return json.dumps(_in_json(asdict(self)), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> History:
        """Rebuild a history from ``to_json``.

        Raises:
            ArgumentError: the text is not a history.
        """
        try:
            fields = _from_json(json.loads(text))
            fields["evaluations"] = [Evaluation(**one) for one in fields["evaluations"]]
            fields["skipped"] = [SkippedStep(**one) for one in fields["skipped"]]
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise ArgumentError(
                f"History.from_json: the text is not a history ({error}); expected what "
                f"to_json returned."
            ) from error

    def __repr__(self) -> str:
        if not self.evaluations:
            return "History: empty"
        last, best = self.evaluations[-1], self.best
        lines = [
            f"History: {last.step} steps ({last.epoch:.1f} epochs) in {self.seconds:.1f} s, "
            f"{self.stopped};"
        ]
        if best.validation_loss is None:
            train = "not known" if last.train_loss is None else f"{last.train_loss:.4f}"
            lines.append(f"no validation rows; training {train}")
        else:
            untrained = self.evaluations[0].validation_loss
            before = "" if untrained is None else f" (untrained {untrained:.4f})"
            lines.append(f"best at step {best.step}: validation {best.validation_loss:.4f}{before}")
        if self.skipped:
            lines.append(f"{len(self.skipped)} steps skipped, first by {self.skipped[0].source}")
        if self.repeated_steps:
            lines.append(f"{self.repeated_steps} steps taken again after resuming")
        return "\n".join(lines)


_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _in_json(value: Any) -> Any:
    """Replace floats that JSON has no word for by ``{"float": word}``."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, Mapping):
        return {key: _in_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(one) for one in value]
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"float"}:
            return _WORDS[value["float"]]
        return {key: _from_json(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_from_json(one) for one in value]
    return value
