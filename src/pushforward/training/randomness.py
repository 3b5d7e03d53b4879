"""Random state of a run: its own, so that the caller's stays as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["private_randomness", "random_state", "restore_random_state"]


@contextmanager
def private_randomness(seed: int | None, device: torch.device) -> Iterator[None]:
    """Give torch's global generators another state inside the block, and their own after it.

    Only the CPU's generator and that of ``device`` are touched (``torch.manual_seed`` would seed
    every GPU of the machine).

    Args:
        seed: seed inside the block; None goes on from the present state.
        device: where the work is done.

    Example:
        >>> before = torch.get_rng_state()
        >>> with private_randomness(0, torch.device("cpu")):
        ...     _ = torch.rand(3)
        >>> torch.equal(before, torch.get_rng_state())
        True
    """
    before = random_state(device)
    try:
        if seed is not None:
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
        yield
    finally:
        restore_random_state(before, device)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the state of torch's global generators, as byte tensors."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Set torch's global generators to what ``random_state`` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
