"""The optimizer, and a step that is no step where the loss or the gradient is not finite."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pushforward.errors import ArgumentError, InputTypeError
from pushforward.training.defaults import CLIP, WEIGHT_DECAY

__all__ = ["GuardedOptimizer", "adamw", "build_optimizer", "schedule", "warm_up_steps"]

OptimizerBuilder = Callable[[Iterable[nn.Parameter]], Optimizer]


def _plain(method: Any) -> Any:
    """A method of an optimizer without what PyTorch wraps it in for its compiler."""
    return inspect.unwrap(method)


class PromptAdamW(torch.optim.AdamW):
    """PyTorch's AdamW, without the import of PyTorch's compiler, which takes it two seconds.

    Its methods are wrapped so that a compiler passes them by; the first call of a wrapper imports
    the compiler. The optimizer is never compiled here: the methods are called as they are.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters."""
        _plain(Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients."""
        _plain(Optimizer.zero_grad)(self, set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return _plain(Optimizer.state_dict)(self)  # type: ignore[no-any-return]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        _plain(Optimizer.load_state_dict)(self, state_dict)

    def step(self, closure: Any = None) -> Any:
        """Take a step."""
        with torch.set_grad_enabled(bool(self.defaults["differentiable"])):
            return _plain(torch.optim.AdamW.step)(self, closure)


def adamw(
    parameters: Sequence[nn.Parameter], lr: float, weight_decay: float = WEIGHT_DECAY
) -> Optimizer:
    """AdamW with weight decay on matrices alone, fused into one kernel where PyTorch can.

    Args:
        parameters: what is trained.
        lr: learning rate at its peak.
        weight_decay: of matrices.
    """
    matrices = [p for p in parameters if p.ndim >= 2]
    others = [p for p in parameters if p.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": group, "weight_decay": decay}
        for group, decay in ((matrices, weight_decay), (others, 0.0))
        if group
    ]
    try:
        return PromptAdamW(groups, lr=lr, fused=True)
    except RuntimeError:  # this device or dtype has no fused kernel; the plain one does the same
        return PromptAdamW(groups, lr=lr)


def build_optimizer(
    parameters: Sequence[nn.Parameter],
    builder: OptimizerBuilder | None,
    lr: float,
    weight_decay: float | None = None,
) -> Optimizer:
    """Return the caller's optimizer, or AdamW.

    Args:
        parameters: what is trained.
        builder: a callable from parameters to an optimizer, or None.
        lr: peak learning rate of AdamW; not read if there is a builder.
        weight_decay: of AdamW, None for the usual one; not read if there is a builder.

    Raises:
        InputTypeError: the builder is not a callable or does not return an optimizer.
        ArgumentError: the optimizer needs a closure.
    """
    if builder is None:
        return adamw(parameters, lr, WEIGHT_DECAY if weight_decay is None else weight_decay)
    what = "a callable from parameters to an optimizer"
    write = "write optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.01)"
    if isinstance(builder, Optimizer) or not callable(builder):
        raise InputTypeError(
            f"fit: optimizer is a {type(builder).__name__}, expected {what}; {write}."
        )
    optimizer = builder(parameters)
    if not isinstance(optimizer, Optimizer):
        raise InputTypeError(
            f"fit: optimizer returned a {type(optimizer).__name__}, expected {what}; {write}."
        )
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ArgumentError(
            "fit: optimizer is LBFGS, which evaluates the loss several times a step and knows no "
            "batches; use the default, or another first-order optimizer."
        )
    return optimizer


class GuardedOptimizer:
    """An optimizer with its schedule, its clipping, and its guard against what is not finite.

    Where loss or gradient norm is not finite, nothing changes: neither parameters nor moments,
    weight decay or the optimizer's own count of steps. On a GPU a fused optimizer is told so by
    a flag on the device (the one that gradient scalers use), so that nobody waits for the device;
    another optimizer is asked to step or not, which waits once a step. On the CPU asking is free.

    Args:
        optimizer: what it drives.
        steps: steps of the run, for the schedule.
        clip: largest norm of the whole gradient.
        flagged: whether to use the flag; by default where the optimizer knows it and asking
            costs time.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        steps: int,
        clip: float = CLIP,
        flagged: bool | None = None,
    ):
        self.optimizer = optimizer
        self.steps = steps
        self.clip = clip
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._peaks = [float(group["lr"]) for group in optimizer.param_groups]
        if flagged is None:
            knows = bool(getattr(optimizer, "_step_supports_amp_scaling", False))
            flagged = knows and self._parameters[0].device.type != "cpu"
        self._flagged = flagged

    def lr(self, step: int) -> float:
        """Learning rate of the first parameter group at this step."""
        return self._peaks[0] * schedule(step, self.steps)

    def step(self, step: int, loss: Tensor) -> Tensor:
        """Take the step with this number if ``loss`` and the gradients are finite.

        Args:
            step: number of the step, from 0.
            loss: what the gradients came from, a scalar.

        Returns:
            loss and gradient norm before clipping, ``(2,)``, on the device.
        """
        factor = schedule(step, self.steps)
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        loss = loss.detach().float()
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if not gradients:  # the loss reads no parameter: nothing to do, and nothing wrong
            return torch.stack((loss, torch.zeros_like(loss)))
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))).float()
        if self._flagged:
            self._step_flagged(norm, torch.isfinite(loss + norm))
        elif math.isfinite(float(loss)) and math.isfinite(float(norm)):
            if float(norm) > self.clip:
                torch._foreach_mul_(gradients, self.clip / norm)
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return torch.stack((loss, norm))

    def _step_flagged(self, norm: Tensor, finite: Tensor) -> None:
        # The kernel divides gradients by grad_scale: clipping costs no pass of its own.
        optimizer: Any = self.optimizer
        optimizer.grad_scale = (norm / self.clip).clamp(min=1.0)
        optimizer.found_inf = finite.logical_not().float()
        try:
            optimizer.step()
        finally:
            del optimizer.grad_scale, optimizer.found_inf


def warm_up_steps(steps: int) -> int:
    """Length of the linear rise: a twentieth of the run, at most 500 steps.

    Example:
        >>> warm_up_steps(2000)
        100
    """
    return min(steps // 20, 500)


def schedule(step: int, steps: int, warm_up: int | None = None) -> float:
    """Factor of the learning rate: a linear rise, then half a cosine down to zero.

    A function of the step alone, so that a resumed run needs nothing but its step.

    Args:
        step: the step about to be taken, from 0.
        steps: steps of the whole run; at ``step == steps`` the factor is 0.
        warm_up: steps of the rise; by default ``warm_up_steps(steps)``.

    Returns:
        a number from 0 to 1.

    Example:
        >>> [round(schedule(step, 10, warm_up=2), 3) for step in (0, 1, 2, 6, 10)]
        [0.333, 0.667, 1.0, 0.5, 0.0]
    """
    if warm_up is None:
        warm_up = warm_up_steps(steps)
    if step < warm_up:
        return (step + 1) / (warm_up + 1)  # never zero: the first step is not wasted
    share = min((step - warm_up) / max(steps - warm_up, 1), 1.0)
    return 0.5 * (1.0 + math.cos(math.pi * share))
