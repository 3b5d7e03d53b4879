"""Whether the kernels for GPUs work here: found out when a CUDA tensor first asks."""

from __future__ import annotations

import importlib.util
import os

import torch

from pushforward.kernels.formula import Formula

__all__ = ["ready", "reason"]

_SWITCH = "PUSHFORWARD_KERNELS"  # 0 switches the kernels off, as it does those in C
_LEAST = (7, 0)  # compute capability that Triton compiles for


def _first_look() -> str | None:
    """Why there can be none, as far as that costs nothing to know; None where it must be tried."""
    if os.environ.get(_SWITCH, "") == "0":
        return f"they are switched off by {_SWITCH}=0"
    if torch.version.cuda is None:
        return "this PyTorch is not built for CUDA"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed: pip install triton"
    return None


_reason = _first_look()


def reason() -> str:
    """Why there are no kernels on CUDA, in words; empty where there are.

    Example:
        >>> isinstance(reason(), str)
        True
    """
    global _reason
    if _reason is None:
        _reason = _trial()
    return _reason


def ready() -> bool:
    """Whether there are kernels on CUDA.

    Example:
        >>> ready() or len(reason()) > 0
        True
    """
    return reason() == ""


# Compiled programs take the answer as it is, and do not look into how it was found.
ready._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _trial() -> str:
    """Compile and run the smallest kernel: Triton needs a new enough GPU and a C compiler."""
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    for i in range(torch.cuda.device_count()):
        if torch.cuda.get_device_capability(i) < _LEAST:
            return f"{torch.cuda.get_device_name(i)} is older than Triton compiles for"
    try:
        from pushforward.kernels.cuda.launch import forward

        x, raw = torch.ones(1, 1, device="cuda"), torch.zeros(1, 1, 2, device="cuda")
        z, _ = forward(Formula("affine", 2), None, None, False, x, raw, x.shape)
        right = bool(z == 1.0)
    except Exception as error:  # whatever it is, the plain path goes on without
        return f"Triton does not run here: {type(error).__name__}: {str(error).strip()[:200]}"
    return "" if right else "Triton computes wrong numbers here"
