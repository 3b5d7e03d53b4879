"""The training loop: steps, evaluations, and what attaches to them."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pushforward.objectives.likelihood import MaximumLikelihood
from pushforward.training.average import Average
from pushforward.training.batches import Batches, Rows
from pushforward.training.callbacks import Callback, Event, StopTraining
from pushforward.training.checkpoint import (
    Checkpoint,
    CheckpointFolder,
    load_named_tensors,
    named_tensors,
    pack_optimizer,
    unpack_optimizer,
)
from pushforward.training.history import Evaluation, History
from pushforward.training.optimizer import GuardedOptimizer
from pushforward.training.progress import Progress, Silent
from pushforward.training.randomness import (
    private_randomness,
    random_state,
    restore_random_state,
)
from pushforward.training.watch import LossModule, Watch

if TYPE_CHECKING:
    pass

__all__ = ["Best", "Loop", "Plan"]


@dataclass(frozen=True)
class Plan:
    """What a run is to do.

    Args:
        steps: steps in all.
        interval: steps between two evaluations.
        patience: evaluations in a row without a better figure before the run stops.
        seed: of everything random.
        autocast: dtype that networks compute in, None for the parameters' own.
    """

    steps: int
    interval: int
    patience: float
    seed: int
    autocast: torch.dtype | None = None


class Best:
    """The best weights so far, as copies.

    Args:
        module: whose parameters and buffers are kept.
    """

    def __init__(self, module: LossModule):
        self._module = module
        self.tensors: dict[str, Tensor] = {}
        self.step = 0
        self.loss: float | None = None

    def keep(self, step: int, loss: float | None) -> None:
        """Keep the present weights."""
        now = named_tensors(self._module)
        if self.tensors:
            for name, tensor in now.items():
                self.tensors[name].copy_(tensor)
        else:
            self.tensors = {name: tensor.clone() for name, tensor in now.items()}
        self.step, self.loss = step, loss

    def beaten_by(self, loss: float | None) -> bool:
        """Whether weights with this figure are to be kept in place of these."""
        if loss is None or not self.tensors:
            return True
        if not math.isfinite(loss):
            return False
        return self.loss is None or not math.isfinite(self.loss) or loss < self.loss

    def restore(self) -> None:
        """Give the module the weights that were kept, if there are any."""
        if self.tensors:
            load_named_tensors(self._module, self.tensors)


class Loop:
    """One training run. It knows nothing of what it makes small.

    Args:
        module: flow and objective.
        call: what computes the loss: ``module`` or its compiled form.
        batches: training batches.
        validation: validation rows, None for none.
        optimizer: optimizer, schedule, clipping and guard.
        average: running average of the parameters.
        plan: what the run is to do.
        device: where it runs.
        history: filled in.

    Attributes:
        progress: where it tells how far it is.
        folder: where checkpoints go, None for none.
        callbacks: asked at every evaluation.
    """

    def __init__(
        self,
        *,
        module: LossModule,
        call: Callable[..., Tensor],
        batches: Batches,
        validation: Rows | None,
        optimizer: GuardedOptimizer,
        average: Average,
        plan: Plan,
        device: torch.device,
        history: History,
    ):
        self.module = module
        self.batches = batches
        self.validation = validation
        self.optimizer = optimizer
        self.average = average
        self.plan = plan
        self.device = device
        self.history = history
        self.progress: Progress = Silent()
        self.folder: CheckpointFolder | None = None
        self.callbacks: Sequence[Callback] = ()
        self.step = 0
        self.best = Best(module)
        self._call = call
        self._watch = Watch(module, batches, device)
        self._generator = torch.Generator(device).manual_seed(plan.seed)
        self._without_gain = 0
        self._train_loss: float | None = None
        self._begun = self._mark = time.perf_counter()
        self._rows = 0
        self._interrupted = False

    # ------------------------------------------------------------------ the run

    def run(self) -> None:
        """Take the steps; whatever ends them, the flow has the best weights afterwards."""
        try:
            with self._heeding_interrupts():
                self._go()
        finally:
            self.best.restore()
            self.module.eval()
            self.history.best_step = self.best.step
            self.history.seconds = self._seconds()
            self.history.skipped = list(self._watch.skipped)

    def _go(self) -> None:
        if not self.history.evaluations:
            self._evaluate()
        self.module.train()
        self._mark = time.perf_counter()
        while not self.history.stopped:
            if self.step >= self.plan.steps:
                self.history.stopped = "all steps taken"
                break
            self._take_step()
            if self.step % self.plan.interval == 0 or self.step == self.plan.steps:
                self._evaluate()
            self._attend()
        self._watch.read()
        if self.folder is not None:
            self.folder.write(self.checkpoint())
        elif self.history.stopped == "interrupted":
            raise KeyboardInterrupt

    def _take_step(self) -> None:
        key = self.batches.next()
        batch = self.batches.gather(key)
        self.module.at(self.step / self.plan.steps)
        with self._precision():
            loss = self._call(*batch, self._generator)
        loss.backward()  # type: ignore[no-untyped-call]
        figures = self.optimizer.step(self.step, loss)
        self.average.update()
        self._watch.add(self.step, key, figures)
        self._rows += batch.rows
        self.step += 1

    def _precision(self) -> AbstractContextManager[Any]:
        if self.plan.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.plan.autocast)

    def _attend(self) -> None:
        """Look after display, checkpoints and Ctrl-C, between two steps."""
        if self.folder is not None:
            self.folder.count(self.step)
            if not self.history.stopped and self.folder.due(self.step):
                self.folder.write(self.checkpoint())
        if self.progress.due():
            self._show()
        if self._interrupted and not self.history.stopped:
            self.history.stopped = "interrupted"

    # ------------------------------------------------------------------ evaluations

    def _evaluate(self) -> None:
        self._watch.read()
        train_loss, norm = self._watch.means()
        self._watch.clear()
        now = time.perf_counter()
        rate = self._rows / max(now - self._mark, 1e-9) if self._rows else None
        self._train_loss = _or(train_loss, self._train_loss)
        with self.average.applied(), private_randomness(self.plan.seed, self.device):
            self.module.eval()
            validation = self._validation_loss()
            gained = self.best.beaten_by(validation)
            if gained:
                self.best.keep(self.step, validation)
            evaluation = Evaluation(
                epoch=self._epoch(),
                step=self.step,
                train_loss=train_loss,
                validation_loss=validation,
                lr=self.optimizer.lr(self.step),
                gradient_norm=norm,
                seconds=self._seconds(),
                rows_per_second=rate,
            )
            self.history.evaluations.append(evaluation)
            self._ask_callbacks(evaluation)
        self.module.train()
        self._without_gain = 0 if gained else self._without_gain + 1
        if self._without_gain >= self.plan.patience and not self.history.stopped:
            self.history.stopped = "no better for a while"
        self._show(rate or 0.0)
        self._rows, self._mark = 0, time.perf_counter()

    def _validation_loss(self) -> float | None:
        """Exact mean over the validation rows, however they are cut into batches."""
        if self.validation is None:
            return None
        generator = torch.Generator(self.device).manual_seed(self.plan.seed)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        weight = torch.zeros_like(total)
        with torch.no_grad():
            for batch in self.validation.batches():
                total += self.module(*batch, generator).double() * batch.rows
                weight += batch.rows if batch.weights is None else batch.weights.double().sum()
        return float(total / weight)

    def _ask_callbacks(self, evaluation: Evaluation) -> None:
        flow: Any = self.module.flow
        best = None if self.validation is None else self.best.loss
        event = Event(evaluation, best, self.plan.steps, flow)
        for callback in self.callbacks:
            try:
                wish = callback(event)
            except StopTraining as stop:
                self.history.stopped = f"callback: {stop}" if str(stop) else "callback"
            else:
                if wish is True and not self.history.stopped:
                    self.history.stopped = "callback"

    def _epoch(self) -> float:
        if self.batches.steps_per_epoch is None:
            return float(self.batches.epoch)
        return self.step / self.batches.steps_per_epoch

    def _seconds(self) -> float:
        return time.perf_counter() - self._begun

    def _show(self, rate: float | None = None) -> None:
        self._train_loss = _or(self._watch.means()[0], self._train_loss)
        if rate is None:
            rate = self._rows / max(time.perf_counter() - self._mark, 1e-9)
        evaluations = self.history.evaluations
        last = evaluations[-1].validation_loss if evaluations else None
        # People compare log-densities, of which more is better; a loss of another kind stays one.
        sign = -1.0 if isinstance(self.module.objective, MaximumLikelihood) else 1.0
        train, last = (None if v is None else sign * v for v in (self._train_loss, last))
        self.progress.update(self.step, train, last, rate)

    # ------------------------------------------------------------------ checkpoints

    def checkpoint(self) -> Checkpoint:
        """All that the next step depends on."""
        self._watch.read()
        optimizer, optimizer_facts = pack_optimizer(self.optimizer.optimizer)
        groups: dict[str, dict[str, Tensor]] = {
            "now": named_tensors(self.module),
            "best": self.best.tensors,
            "optimizer": optimizer,
            "batches": self.batches.state(),
            "random": random_state(self.device) | {"objective": self._generator.get_state()},
        }
        if self.average.decay > 0:
            groups["average"] = {str(i): one for i, one in enumerate(self.average.values)}
        self.history.best_step = self.best.step
        self.history.seconds = self._seconds()
        facts = {
            "step": self.step,
            "epoch": self.batches.epoch,
            "position": self.batches.position,
            "averaged": self.average.updates,
            "optimizer": optimizer_facts,
            "watch": self._watch.facts(),
            "best": [self.best.step, self.best.loss],
            "without_gain": self._without_gain,
            "train_loss": self._train_loss,
            "history": self.history.to_json(),
        }
        tensors = {f"{g}/{name}": t for g, group in groups.items() for name, t in group.items()}
        return Checkpoint(tensors, facts)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go to where ``checkpoint`` was taken."""
        groups: dict[str, dict[str, Tensor]] = {}
        for name, tensor in checkpoint.tensors.items():
            group, rest = name.split("/", 1)
            groups.setdefault(group, {})[rest] = tensor
        facts = checkpoint.facts
        load_named_tensors(self.module, groups["now"])
        unpack_optimizer(self.optimizer.optimizer, groups.get("optimizer", {}), facts["optimizer"])
        for number, tensor in groups.get("average", {}).items():
            self.average.values[int(number)].copy_(tensor)
        self.average.updates = facts["averaged"]
        self.best.tensors = {n: t.to(self.device) for n, t in groups["best"].items()}
        self.best.step, self.best.loss = facts["best"]
        self.step = facts["step"]
        self._watch.restore(facts["watch"])
        self._without_gain, self._train_loss = facts["without_gain"], facts["train_loss"]
        past = History.from_json(facts["history"])
        repeated = self.history.repeated_steps
        vars(self.history).update(vars(past))
        self.history.repeated_steps += repeated
        if self.history.stopped == "interrupted":
            self.history.stopped = ""
        self._begun = time.perf_counter() - past.seconds
        self.batches.restore(groups.get("batches", {}), facts["epoch"], facts["position"])
        random = groups["random"]
        self._generator.set_state(random["objective"])
        restore_random_state(random, self.device)

    # ------------------------------------------------------------------ Ctrl-C

    @contextmanager
    def _heeding_interrupts(self) -> Iterator[None]:
        """Let the first Ctrl-C end the run after the present step, the second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's alone
            return
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.default_int_handler:
            yield  # somebody else has plans for Ctrl-C
            return

        def note(*_: object) -> None:
            self._interrupted = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _or(value: float | None, before: float | None) -> float | None:
    return before if value is None else value
