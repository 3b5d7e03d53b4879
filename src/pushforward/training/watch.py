"""Watching the figures of each step, and finding where something stopped being finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

from pushforward.errors import NotFiniteError
from pushforward.objectives.likelihood import Batch
from pushforward.training.batches import Batches, Key, Rows
from pushforward.training.history import SkippedStep
from pushforward.training.randomness import private_randomness

__all__ = ["LossModule", "Watch", "compiled", "find_source", "refuse_no_figure"]

IN_A_ROW = 3  # skipped steps that end a run


class LossModule(nn.Module):
    """Flow and objective in one module whose ``forward`` is the loss.

    Data-parallel wrappers and compilers see only what happens inside a ``forward``.

    Args:
        flow: what is trained.
        objective: a callable ``(flow, batch, generator) -> scalar``.
    """

    def __init__(self, flow: nn.Module, objective: object):
        super().__init__()
        self.flow = flow
        self.objective = objective

    def at(self, progress: float) -> None:
        """Tell an objective that changes in the course of a run how much of it is done."""
        tell = getattr(self.objective, "at", None)
        if tell is not None:
            tell(progress)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None,
        weights: Tensor | None,
        generator: Generator | None,
    ) -> Tensor:
        """Loss of one batch, a scalar."""
        loss: Tensor = self.objective(self.flow, Batch(x, context, weights), generator)  # type: ignore[operator]
        return loss


class Watch:
    """Reads loss and gradient norm of the steps, a few steps late on a GPU.

    Reading a number from a GPU waits for it, so the figures stay there and are fetched together.
    On the CPU there is nothing to wait for, and they are read at every step.

    Args:
        module: the loss, asked again for the batch of a step that was skipped.
        batches: where that batch is found.
        device: where training runs.
    """

    def __init__(self, module: LossModule, batches: Batches, device: torch.device):
        self.skipped: list[SkippedStep] = []
        self.every = 1 if device.type == "cpu" else 32
        self._module = module
        self._batches = batches
        self._device = device
        self._pending: list[tuple[int, Key, Tensor]] = []
        self._in_a_row = 0
        self._sums = [0.0, 0.0, 0.0]  # steps, losses, gradient norms since the last evaluation

    def add(self, step: int, key: Key, figures: Tensor) -> None:
        """Note a step: its number, its batch, and its loss and gradient norm ``(2,)``."""
        self._pending.append((step, key, figures))
        if len(self._pending) >= self.every:
            self.read()

    def read(self) -> None:
        """Fetch the figures noted so far.

        Raises:
            NotFiniteError: three steps in a row were skipped.
        """
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        if len(pending) == 1:
            rows = [pending[0][2].tolist()]
        else:
            rows = torch.stack([figures for _, _, figures in pending]).tolist()
        for (step, key, _), (loss, norm) in zip(pending, rows, strict=True):
            if math.isfinite(loss) and math.isfinite(norm):
                self._in_a_row = 0
                self._sums = [self._sums[0] + 1, self._sums[1] + loss, self._sums[2] + norm]
            else:
                self._skip(step, key)

    def _skip(self, step: int, key: Key) -> None:
        source = find_source(self._module, self._batches.gather(key), self._device)
        self.skipped.append(SkippedStep(step, source))
        self._in_a_row += 1
        if self._in_a_row >= IN_A_ROW:
            first = self.skipped[-IN_A_ROW]
            raise NotFiniteError(
                f"fit: the loss or its gradient was not finite in {IN_A_ROW} steps in a row "
                f"(steps {first.step} to {step}); it began in {source}. The flow holds the best "
                f"weights seen before. Try a smaller lr, look for extreme values in the data, "
                f"or train with precision='float64'."
            )

    def means(self) -> tuple[float | None, float | None]:
        """Mean loss and mean gradient norm since the last ``clear``; None before any step."""
        count, loss, norm = self._sums
        return (None, None) if count == 0 else (loss / count, norm / count)

    def clear(self) -> None:
        """Begin new means."""
        self._sums = [0.0, 0.0, 0.0]

    def facts(self) -> dict[str, object]:
        """What a checkpoint must know: after ``read``, nothing else is left on the device."""
        return {
            "sums": self._sums,
            "in_a_row": self._in_a_row,
            "skipped": [[one.step, one.source] for one in self.skipped],
        }

    def restore(self, facts: dict[str, object]) -> None:
        """Take back what ``facts`` returned."""
        sums, in_a_row, skipped = facts["sums"], facts["in_a_row"], facts["skipped"]
        assert isinstance(sums, list)
        assert isinstance(in_a_row, int)
        assert isinstance(skipped, list)
        self._sums, self._in_a_row = list(sums), in_a_row
        self.skipped = [SkippedStep(step, source) for step, source in skipped]


def find_source(module: LossModule, batch: Batch, device: torch.device) -> str:
    """Name the first thing that is not finite when this batch is evaluated again.

    In the order of the computation: the data, the states between the layers, the base and the
    objective, the gradients.

    Args:
        module: the loss.
        batch: rows of the step that went wrong.
        device: where it is evaluated.

    Returns:
        words for a message, e.g. ``"layer 'Coupling 3' (log-determinant, 2 of 256 rows)"``.
    """
    for name, values in zip(("data", "context", "weights"), batch, strict=True):
        if values is not None and not bool(torch.isfinite(values).all()):
            return f"the {name} ({_where(values)})"
    with private_randomness(None, device):
        with torch.no_grad():
            for name, state, logdet in module.flow.states(batch.x, batch.context):  # type: ignore[operator]
                for what, values in (("state", state), ("log-determinant", logdet)):
                    if not bool(torch.isfinite(values).all()):
                        return f"layer {name!r} ({what}, {_where(values)})"
        with torch.enable_grad():
            return _beyond_states(module, batch, device)


def refuse_no_figure(
    module: LossModule, validation: Rows, best: float | None, device: torch.device
) -> None:
    """Refuse a run of which no evaluation was finite: its weights are those it began with.

    Args:
        module: the loss.
        validation: the rows that were evaluated.
        best: the best figure there was; None before any.
        device: where they are evaluated again.

    Raises:
        NotFiniteError: so it was; with the first thing that is not finite.
    """
    if best is None or math.isfinite(best):
        return
    generator = torch.Generator(device).manual_seed(0)
    source = "their sum"
    for batch in validation.batches():
        with torch.no_grad():
            fine = bool(module(*batch, generator).isfinite())
        if not fine:
            source = find_source(module, batch, device)
            break
    raise NotFiniteError(
        f"fit: the figure of the validation rows was finite at no evaluation; it began in "
        f"{source}. The flow is what it was before the first step. Look for validation rows that "
        f"are extreme, or where its density is zero."
    )


def _beyond_states(module: LossModule, batch: Batch, device: torch.device) -> str:
    generator = torch.Generator(device).manual_seed(0)
    loss = module(*batch, generator)
    if not bool(torch.isfinite(loss)):
        with torch.no_grad():
            log_prob = module.flow(batch.x, batch.context)
        if not bool(torch.isfinite(log_prob).all()):
            return f"the density of the base ({_where(log_prob)})"
        return "the objective"
    names, parameters = [], []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            names.append(name.removeprefix("flow."))
            parameters.append(parameter)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    bad = [
        name
        for name, gradient in zip(names, gradients, strict=True)
        if gradient is not None and not bool(torch.isfinite(gradient).all())
    ]
    if not bad:
        norm = torch.stack([g.norm() for g in gradients if g is not None]).norm()
        if not bool(torch.isfinite(norm)):
            return "the norm of the gradient, whose parts are finite but too large to square"
        return "a place that was finite again when the batch was evaluated once more"
    others = f" and {len(bad) - 1} others" if len(bad) > 1 else ""
    # The gradient flows backwards: the last layer in order is the first that broke.
    return f"the gradient of {bad[-1]}{others}"


def _where(values: Tensor) -> str:
    bad = ~torch.isfinite(values.reshape(len(values), -1))
    rows = int(bad.any(1).sum())
    text = f"{rows} of {len(values)} rows"
    if values.ndim == 2 and rows:
        text += f", first in column {int(torch.nonzero(bad)[0, 1])}"
    return text


@contextmanager
def compiled(module: LossModule) -> Iterator[Callable[..., Tensor]]:
    """A module run through ``torch.compile``, with the checks on that compiling switches off."""
    from torch.distributions import Distribution

    before: bool = Distribution._validate_args
    try:
        yield torch.compile(module)
    finally:  # compiling switches these checks off, for the caller's distributions, too
        Distribution.set_default_validate_args(before)
