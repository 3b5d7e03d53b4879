"""``pf.fit``: the arguments checked, the rest chosen, one loop run."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pushforward.errors import ArgumentError, InputTypeError, SpecError
from pushforward.flows.recipes.registry import learning_rate
from pushforward.objectives.likelihood import Batch, MaximumLikelihood, Objective
from pushforward.spec import Part, describe, dumps
from pushforward.training.average import Average
from pushforward.training.batches import Sources, prepare
from pushforward.training.batches.rows import RowShape, by_weight
from pushforward.training.batches.sources import Given, look
from pushforward.training.batches.support import Support
from pushforward.training.callbacks import Callback
from pushforward.training.checkpoint import (
    CheckpointFolder,
    Checkpoints,
    fingerprint_module,
    fingerprint_rows,
)
from pushforward.training.defaults import evaluation_interval
from pushforward.training.history import History
from pushforward.training.loop import Loop, Plan
from pushforward.training.optimizer import (
    GuardedOptimizer,
    OptimizerBuilder,
    build_optimizer,
)
from pushforward.training.progress import choose_progress
from pushforward.training.randomness import private_randomness
from pushforward.training.settings import Request, Settings, settle
from pushforward.training.watch import LossModule, compiled, refuse_no_figure

if TYPE_CHECKING:
    from pushforward.flows.flow import Flow

__all__ = ["fit"]

_PRECISIONS = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}
_THREADS_PAY = 2e8  # parameters times rows a step: from here on threads share a step with gain
_GPU_PAYS = 5e7  # parameters times rows a step: below, starting kernels costs more than they do


def fit(
    flow: Flow,
    data: Any,
    *,
    context: Any = None,
    weights: Any = None,
    signed_weights: bool = False,
    objective: Objective | None = None,
    validation: Any = 0.1,
    epochs: float | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    weight_decay: float | None = None,
    optimizer: OptimizerBuilder | None = None,
    patience: float | None = None,
    ema: float | None = None,
    device: str | torch.device = "auto",
    precision: str = "float32",
    compile: bool = False,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | Checkpoints | None = None,
    resume: bool = False,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Train a flow, in place, and leave it in ``eval`` mode with the best weights seen.

    ``flow.fit`` looks at the training rows once, unless the flow was trained before: training then
    goes on from what it is. Gradient steps are taken if anything is trainable. The flow as it was
    at the start is evaluated, too: if training only makes it worse, it stays as it was. The
    figures that decide are those of the validation rows, of the averaged weights. At the end
    ``flow.settle`` looks at the training rows again.

    Rows that are not finite are refused. A step whose loss or gradient is not finite changes
    nothing, is counted and reported in the history; three in a row end the run.

    Args:
        flow: what is trained. It is moved to the device and stays there.
        data: rows ``(n, *flow.event_shape)``: a tensor, array or frame of numbers, which stays
            one table in memory; or a ``Dataset`` or ``DataLoader`` that gives ``x``, ``(x,)``,
            ``(x, context)`` or ``(x, context, weights)``.
        context: rows ``(n, flow.context)`` for a conditional flow.
        weights: weight of each row, ``(n,)``, not negative; only their ratios matter.
        signed_weights: whether weights may be negative, as those of simulated events that undo
            others. Where more is undone than there is, nothing keeps the density from falling.
        objective: what is made small; by default ``MaximumLikelihood()``.
        validation: share of the rows, chosen at random with ``seed``; or a data set, a loader or
            a tuple ``(x, context, weights)``. 0: no validation, the last weights are kept.
        epochs: passes over the training rows; by default chosen from the size of the table.
        steps: steps, in the place of ``epochs``.
        batch_size: rows a step; by default chosen.
        lr: peak learning rate; by default 0.002, or what the flow's recipe says.
        weight_decay: of AdamW, on matrices alone, by default 0.0001; as a share of the learning
            rate a step. 1 keeps large networks of small tables from learning rows by heart.
        optimizer: a callable from parameters to an optimizer with its own learning rate, which
            warm-up and decay then scale; by default AdamW.
        patience: evaluations in a row without a better validation figure before the run stops;
            ``math.inf`` never stops early. By default 25.
        ema: decay of the exponential average of the weights, 0 for none; by default chosen.
        device: ``"cpu"``, ``"cuda"`` ...; ``"auto"`` takes a GPU where there is one and the
            problem is large enough to gain from it.
        precision: ``"float32"``; ``"float64"``, to which the flow is converted; or
            ``"bfloat16"``, in which networks compute while weights, maps and log-determinants
            stay in float32.
        compile: whether to run the loss through ``torch.compile``. It compiles for half a minute
            and needs a C++ compiler; on a processor flows of layers that have kernels are faster
            without it (docs/kernels.md has figures), so try it on flows of other layers.
        seed: of split, order and whatever is random in training; the caller's random state is
            left alone. The same seed gives the same weights on the same machine.
        checkpoint: a folder, or ``Checkpoints(folder, seconds=30)``: the run is saved there every
            so often and on Ctrl-C.
        resume: whether to go on where the run in that folder stopped, bit for bit.
        progress: whether to show a bar (plain lines where there is no terminal).
        callbacks: called with an ``Event`` at every evaluation; one that returns True or raises
            ``StopTraining`` ends the run.

    Returns:
        the history of the run. After Ctrl-C with a checkpoint folder its ``stopped`` is
        ``"interrupted"``; without one, ``KeyboardInterrupt`` is raised again.

    Raises:
        ArgumentError: an argument has no sensible value, or does not go with another.
        InputTypeError, ShapeError, ContextError, DataError: the data cannot be used; rows outside
            the flow's support are named, of loaders and streams when they come.
        NotFiniteError: loss or gradient was not finite in three steps in a row, or the figure of
            the validation rows at no evaluation.
        ModelFileError: the checkpoint is damaged.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.flows.nsf(features=1, layers=1, hidden=(8,))
        >>> history = fit(flow, torch.randn(200, 1), steps=20, progress=False)
        >>> history.evaluations[-1].step
        20
    """
    if weight_decay is not None and (optimizer is not None or not 0.0 <= weight_decay < math.inf):
        raise ArgumentError(
            f"fit: weight_decay is {weight_decay}, expected a number from 0 up, and no optimizer."
        )
    request = Request(
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        patience=patience,
        ema=ema,
        own_optimizer=optimizer is not None,
    )
    if resume and checkpoint is None:
        raise ArgumentError("fit: resume=True needs checkpoint=, the folder of the run.")
    dtype = _settle_precision(flow, precision)
    shape = RowShape(tuple(flow.event_shape), _context_width(flow), Support(flow), signed_weights)
    given = look(data, context, weights, validation, shape, dtype)
    chosen = settle(request, given, math.prod(shape.event), learning_rate(flow))
    place = _choose_device(device, flow, given, chosen.batch_size)
    module = LossModule(flow, MaximumLikelihood() if objective is None else objective).to(place)
    with private_randomness(seed, place), _threads(flow, chosen.batch_size):
        sources = prepare(given, shape, dtype, place, chosen.batch_size, seed)
        if "training" not in flow.facts:  # a trained flow would be another one on new scales
            seen = by_weight(sources.sample)
            flow.fit(seen.x, seen.context)
        settings = _settings(sources, chosen, place) | {
            "seed": seed,
            "precision": precision,
            "weight_decay": weight_decay,
        }
        folder = None
        if checkpoint is not None:
            identity = settings | _identity(module, given, optimizer)
            folder = CheckpointFolder(_checkpoints(checkpoint), identity)
        plan = Plan(
            steps=chosen.steps,
            interval=_interval(chosen, sources),
            patience=chosen.patience,
            seed=seed,
            autocast=torch.bfloat16 if precision == "bfloat16" else None,
        )
        with compiled(module) if compile else nullcontext(module) as call:
            loop = _build(module, call, sources, plan, chosen, optimizer, weight_decay, place)
            loop.folder, loop.callbacks = folder, callbacks
            loop.history.settings = settings
            history = _run(loop, resume, progress)
        settled = by_weight(sources.sample)
        flow.settle(settled.x, settled.context)
    flow.facts["training"] = history.summary()
    return history


@contextmanager
def _threads(flow: Flow, batch_size: int) -> Iterator[None]:
    """One thread for a small flow: its steps are too short to share, and waiting costs more.

    On two free cores 20 ms a step with one thread are 18 with two; with one core busy, 90.
    """
    before = torch.get_num_threads()
    numbers = sum(p.numel() for p in flow.parameters())
    try:
        if numbers * batch_size < _THREADS_PAY:
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


def _build(
    module: LossModule,
    call: Callable[..., Tensor],
    sources: Sources,
    plan: Plan,
    chosen: Settings,
    builder: OptimizerBuilder | None,
    weight_decay: float | None,
    device: torch.device,
) -> Loop:
    parameters = [p for p in module.parameters() if p.requires_grad]
    history = History()
    if not parameters:
        history.stopped = "nothing to train"  # the loop evaluates, and takes no step
    trained = parameters or [nn.Parameter(torch.zeros((), device=device))]
    made = build_optimizer(trained, builder, chosen.lr, weight_decay)
    return Loop(
        module=module,
        call=call,
        batches=sources.batches,
        validation=sources.validation,
        optimizer=GuardedOptimizer(made, plan.steps),
        average=Average(parameters, chosen.ema),
        plan=plan,
        device=device,
        history=history,
    )


def _run(loop: Loop, resume: bool, shown: bool) -> History:
    notes = [] if loop.folder is None else _begin(loop, loop.folder, resume)
    loop.progress = choose_progress(shown, loop.plan.steps, loop.step)
    try:
        for note in notes:
            loop.progress.note(note)
        loop.run()
        if loop.folder is not None and loop.history.stopped == "interrupted":
            loop.progress.note(
                f"stopped at step {loop.step}; go on with "
                f"fit(..., checkpoint={str(loop.folder.folder)!r}, resume=True)"
            )
    finally:
        loop.progress.stop()
        if loop.folder is not None:
            loop.folder.close()
    if loop.validation is not None and loop.history.stopped != "interrupted":
        refuse_no_figure(loop.module, loop.validation, loop.best.loss, loop.device)
    return loop.history


def _begin(loop: Loop, folder: CheckpointFolder, resume: bool) -> list[str]:
    """Go to where the run in the folder stopped, or begin anew; say what was done."""
    checkpoint = folder.read() if resume else None
    done = folder.steps_done() if resume else 0
    if checkpoint is not None:
        loop.restore(checkpoint)
    repeated = max(done - loop.step, 0)
    loop.history.repeated_steps += repeated
    folder.open(fresh=not resume)
    folder.count(loop.step)
    if not resume:
        return []
    again = f"; {repeated} steps are taken again" if repeated else ""
    if checkpoint is None:
        return [f"no checkpoint in {str(folder.folder)!r}: beginning at step 0{again}"]
    return [f"resuming at step {loop.step} of {loop.plan.steps}{again}"]


def _settle_precision(flow: Flow, precision: str) -> torch.dtype:
    """Dtype of data and weights; a flow is converted only where the caller said so."""
    if precision not in _PRECISIONS:
        raise ArgumentError(
            f"fit: precision is {precision!r}, expected one of {', '.join(_PRECISIONS)}."
        )
    if precision == "float64":
        flow.double()
    elif flow.dtype != torch.float32:
        name = str(flow.dtype).removeprefix("torch.")
        raise ArgumentError(
            f"fit: precision is {precision!r}, but the flow is {name}; convert it with "
            f"flow.float(), or pass precision='float64'."
        )
    return _PRECISIONS[precision]


def _description(flow: object) -> str:
    """A digest of the flow's constructor call, where that can be written down."""
    try:
        text = dumps(describe(flow)) if isinstance(flow, Part) else ""
    except SpecError:
        return ""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _name(objective: object) -> str:
    """What tells objectives apart: their class, and the arguments of our own."""
    known = isinstance(objective, MaximumLikelihood)
    return repr(objective) if known else type(objective).__qualname__


def _context_width(flow: Flow) -> int | None:
    """Width of the context that comes in, if it is known: an embedding may change it."""
    if flow.context == 0:
        return 0
    if flow.embed is None:
        return flow.context
    width = getattr(flow.embed, "features", None)
    return width if isinstance(width, int) else None


def _choose_device(
    device: str | torch.device, flow: Flow, given: Given, batch_size: int
) -> torch.device:
    if device != "auto":
        try:
            place = torch.device(device)
        except (RuntimeError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ArgumentError(f"fit: device is {device!r}, refused by torch: {reason}") from None
        if place.type == "cuda" and not torch.cuda.is_available():
            raise ArgumentError(
                f"fit: device is {device!r}, but torch finds no CUDA device; pass device='cpu'."
            )
        return _numbered(place)
    if flow.device.type != "cpu":
        return flow.device
    if isinstance(given.data, Batch) and given.data.x.device.type != "cpu":
        return given.data.x.device
    numbers = sum(p.numel() for p in flow.parameters())
    if torch.cuda.is_available() and numbers * batch_size >= _GPU_PAYS:
        return _numbered(torch.device("cuda"))
    return torch.device("cpu")


def _numbered(place: torch.device) -> torch.device:
    if str(place) == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return place


def _interval(chosen: Settings, sources: Sources) -> int:
    rows = sources.validation_rows
    batches = 0.0 if rows is None else rows / chosen.batch_size
    return evaluation_interval(chosen.steps, sources.batches.steps_per_epoch, batches)


def _checkpoints(checkpoint: object) -> Checkpoints:
    if isinstance(checkpoint, Checkpoints):
        return checkpoint
    if isinstance(checkpoint, str | os.PathLike):
        return Checkpoints(checkpoint)
    raise InputTypeError(
        f"fit: checkpoint is a {type(checkpoint).__name__}, expected a folder or Checkpoints."
    )


def _settings(sources: Sources, chosen: Settings, device: torch.device) -> dict[str, Any]:
    return {
        "rows": sources.rows,
        "validation_rows": sources.validation_rows,
        **asdict(chosen),
        "device": str(device),
    }


def _identity(module: LossModule, given: Given, builder: OptimizerBuilder | None) -> dict[str, Any]:
    """What must be the same, besides the settings, for a run to go on bit for bit."""
    facts: dict[str, Any] = {
        "flow": f"{fingerprint_module(module)} {_description(module.flow)}".strip(),
        "objective": _name(module.objective),
        "optimizer": "default" if builder is None else getattr(builder, "__qualname__", "own"),
    }
    for name, value in (("data", given.data), ("validation data", given.validation)):
        if isinstance(value, Batch):
            facts[name] = fingerprint_rows(value)
        else:
            facts[name] = value if isinstance(value, float) else type(value).__name__
    return facts
