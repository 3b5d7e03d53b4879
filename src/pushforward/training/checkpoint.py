"""Checkpoints: one file, written whole or not at all, that a run continues from bit for bit."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from pushforward.errors import ArgumentError, ModelFileError, SpecError
from pushforward.objectives.likelihood import Batch

__all__ = ["Checkpoint", "CheckpointFolder", "Checkpoints", "fingerprint_rows"]

FORMAT = 1
_KEY = "pushforward.checkpoint"
_HASHED_WHOLE = 2**28  # bytes; of a larger table evenly spaced pieces are hashed
_PIECES = 64


@dataclass(frozen=True)
class Checkpoints:
    """Where checkpoints go and how often; ``fit`` takes a folder's name in its place, too.

    Args:
        folder: is made if it does not exist.
        seconds: time between two checkpoints.
        steps: steps between two checkpoints, in addition; None for none.

    Example:
        >>> Checkpoints("run", seconds=60).seconds
        60
    """

    folder: str | os.PathLike[str]
    seconds: float = 30.0
    steps: int | None = None


@dataclass(frozen=True)
class Checkpoint:
    """All of a run at one step: tensors, and facts that JSON can hold."""

    tensors: Mapping[str, Tensor]
    facts: dict[str, Any]


class CheckpointFolder:
    """One folder of one run: ``checkpoint.safetensors``, and ``steps``, the count of steps.

    The count is eight bytes in shared memory that the operating system writes out whatever
    becomes of this process, so that a resumed run knows exactly how many steps it repeats.

    Args:
        settings: the folder, and how often to write.
        fingerprint: what must be the same in a run that goes on from here.
    """

    def __init__(self, settings: Checkpoints, fingerprint: Mapping[str, Any]):
        self.settings = settings
        self.folder = Path(settings.folder)
        self.fingerprint = dict(fingerprint)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "checkpoint.safetensors"
        self._written = time.perf_counter()
        self._counter: mmap.mmap | None = None

    def read(self) -> Checkpoint | None:
        """Read the checkpoint of this run, or None if the folder has none.

        Raises:
            ModelFileError: the file is damaged or of a newer format.
            ArgumentError: the run it belongs to had other data or settings.
        """
        if not self.path.exists():
            return None
        checkpoint = read_checkpoint(self.path)
        theirs = checkpoint.facts["fingerprint"]
        for name in sorted(set(theirs) | set(self.fingerprint)):
            before, now = theirs.get(name), self.fingerprint.get(name)
            if before != now:
                raise ArgumentError(
                    f"fit: resume=True, but the run in {str(self.folder)!r} had {name} "
                    f"{before!r}, and this one has {now!r}; give it the same data and arguments, "
                    f"or another folder to begin anew."
                )
        return checkpoint

    def steps_done(self) -> int:
        """Steps that the run in this folder had done when it ended, however it ended."""
        path = self.folder / "steps"
        if not path.exists() or path.stat().st_size != 8:
            return 0
        (done,) = struct.unpack("<q", path.read_bytes())
        return int(done)

    def open(self, fresh: bool) -> None:
        """Begin to count steps; a fresh run sets an old run's checkpoint aside."""
        if fresh and self.path.exists():
            os.replace(self.path, self.folder / "previous.safetensors")
        path = self.folder / "steps"
        path.write_bytes(struct.pack("<q", 0))
        with path.open("r+b") as file:
            self._counter = mmap.mmap(file.fileno(), 8)
        self._written = time.perf_counter()

    def count(self, step: int) -> None:
        """Note that ``step`` steps are done."""
        if self._counter is not None:
            struct.pack_into("<q", self._counter, 0, step)

    def due(self, step: int) -> bool:
        """Whether it is time for the next checkpoint."""
        every = self.settings.steps
        if every is not None and step % every == 0:
            return True
        return time.perf_counter() - self._written >= self.settings.seconds

    def write(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint: the old one stays whole until the new one is."""
        facts = {"format": FORMAT, "fingerprint": self.fingerprint, **checkpoint.facts}
        write_checkpoint(self.path, Checkpoint(checkpoint.tensors, facts))
        self._written = time.perf_counter()

    def close(self) -> None:
        """End the count of steps."""
        if self._counter is not None:
            self._counter.close()
            self._counter = None


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write to a temporary name, wait for the disk, move into place.

    Args:
        path: the file.
        checkpoint: tensors from any device, and facts for the header.
    """
    from safetensors.torch import save

    on_cpu = {n: t.detach().cpu().contiguous().clone() for n, t in checkpoint.tensors.items()}
    content = save(on_cpu, {_KEY: json.dumps(checkpoint.facts)})
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what ``write_checkpoint`` wrote, onto the CPU.

    Raises:
        ModelFileError: the file is damaged, not a checkpoint, or of a newer format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(header[_KEY])
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(
            f"fit: the checkpoint {str(path)!r} is damaged ({error}); remove it to begin anew."
        ) from error
    except KeyError:
        raise ModelFileError(
            f"fit: {str(path)!r} is not a checkpoint of a training run; remove it or choose "
            f"another folder."
        ) from None
    if facts.get("format") != FORMAT:
        raise ModelFileError(
            f"fit: the checkpoint {str(path)!r} has format {facts.get('format')}, this version "
            f"reads {FORMAT}; continue with the version that wrote it."
        )
    return Checkpoint(tensors, facts)


def pack_optimizer(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimizer's state into tensors and facts.

    Raises:
        SpecError: the optimizer keeps something that is neither a tensor nor a plain value.
    """
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    state = optimizer.state_dict()
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}/{key}"] = value
            elif value is None or isinstance(value, bool | int | float | str):
                plain.setdefault(str(index), {})[key] = value
            else:
                raise SpecError(
                    f"fit: the state of {type(optimizer).__name__} holds a "
                    f"{type(value).__name__} ({key!r}), which a checkpoint cannot hold; train "
                    f"without checkpoint=, or with the default optimizer."
                )
    groups = [
        {k: v for k, v in group.items() if isinstance(v, bool | int | float | str)}
        for group in state["param_groups"]
    ]
    return tensors, {"plain": plain, "groups": groups}


def unpack_optimizer(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Give an optimizer the state that ``pack_optimizer`` returned."""
    state: dict[int, dict[str, Any]] = {}
    for index, entries in facts["plain"].items():
        state.setdefault(int(index), {}).update(entries)
    for name, tensor in tensors.items():
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = tensor
    whole = optimizer.state_dict()
    groups = [
        {**now, **then} for now, then in zip(whole["param_groups"], facts["groups"], strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Every parameter and every buffer of a module, also those that a state dict leaves out."""
    tensors = {name: p.detach() for name, p in module.named_parameters()}
    return tensors | {name: b.detach() for name, b in module.named_buffers()}


def load_named_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a module the values that ``named_tensors`` returned.

    Raises:
        ArgumentError: a name or a shape differs.
    """
    own = named_tensors(module)
    odd = sorted(set(own) ^ set(tensors))
    odd += [n for n in own if n in tensors and own[n].shape != tensors[n].shape]
    if odd:
        raise ArgumentError(
            f"fit: the checkpoint is of another flow: {odd[0]!r} differs; build the flow as in "
            f"the run that is resumed."
        )
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def fingerprint_module(module: nn.Module) -> str:
    """Digest of a module's build: its classes, and names, shapes and dtypes of its tensors."""
    parts = [f"{name}:{type(part).__qualname__}" for name, part in module.named_modules()]
    for name, parameter in module.named_parameters():
        parts.append(f"{name}:{tuple(parameter.shape)}:{parameter.dtype}")
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=12).hexdigest()


def fingerprint_rows(table: Batch) -> str:
    """Digest of a table's values; of a very large one, of evenly spaced pieces of it.

    Args:
        table: x ``(n, *event)``, context and weights.

    Example:
        >>> import torch
        >>> table = Batch(torch.zeros(3, 2))
        >>> fingerprint_rows(table) == fingerprint_rows(Batch(torch.zeros(3, 2)))
        True
        >>> fingerprint_rows(table) == fingerprint_rows(Batch(torch.ones(3, 2)))
        False
    """
    digest = hashlib.blake2b(digest_size=12)
    for values in table:
        if values is None:
            digest.update(b"none")
            continue
        digest.update(f"{tuple(values.shape)}{values.dtype}".encode())
        size = values.numel() * values.element_size()
        pieces = list(values.chunk(_PIECES)) if size > _HASHED_WHOLE else [values]
        keep = max(1, _HASHED_WHOLE // _PIECES * len(values) // max(size, 1))
        for piece in pieces:
            part = piece[:keep] if len(pieces) > 1 else piece
            digest.update(part.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
