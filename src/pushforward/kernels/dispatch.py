"""Which way a computation takes: the compiled kernel, or the plain function that defines it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._device import DeviceContext

from pushforward.kernels import library
from pushforward.kernels.cuda.ready import ready

__all__ = ["disabled", "eager", "fixed", "followed", "readable", "way"]

_off = 0


@contextmanager
def disabled() -> Iterator[None]:
    """Take the plain path inside the ``with`` block, whatever there is.

    Example:
        >>> with disabled():
        ...     way(torch.zeros(1))
        'plain'
    """
    global _off
    _off += 1
    try:
        yield
    finally:
        _off -= 1


def way(*tensors: Tensor) -> str:
    """``plain``, ``kernel``, or ``operator`` under compilation, for a map of numbers.

    A kernel reads memory. What has none of its own, or is watched by somebody who would not see a
    kernel, takes the plain path: devices other than processors and CUDA's, half precision,
    subclasses of tensors, tracers and dispatch modes, and nested transformations. A program that is
    exported shall run without this package.
    """
    if _off or (library.LIBRARY is None and not tensors[0].is_cuda):
        return "plain"
    if torch.compiler.is_compiling():
        # the operator resolves memory that holds the opposite
        if _exporting() or not (_in_memory(tensors) or _on_gpu(tensors)):
            return "plain"
        return "operator"
    if _watched() or not (readable(tensors) or _on_gpu(tensors)):
        return "plain"
    if torch._C._are_functorch_transforms_active() and not _mapped_once():
        return "plain"
    # Backward does not carry tangents on: forward over reverse is left to the plain path.
    if forward_ad._current_level >= 0 and any(t.requires_grad for t in tensors):
        return "plain"
    return "kernel"


def eager() -> bool:
    """Whether nothing watches, follows or compiles, so that all kernels may run."""
    return (
        library.LIBRARY is not None
        and not _off
        and not torch.compiler.is_compiling()
        and followed()
        and not torch.is_autocast_enabled("cpu")
        and not _watched()
    )


def followed(*grads: Tensor) -> bool:
    """Whether a kernel may find gradients: it would not follow tangents, nor many at once."""
    return (
        forward_ad._current_level < 0
        and not torch._C._are_functorch_transforms_active()
        and not any(torch._C._functorch.is_legacy_batchedtensor(g) for g in grads)
    )


def _exporting() -> bool:
    exporting = getattr(torch.compiler, "is_exporting", None)  # PyTorch 2.7
    return exporting is not None and exporting()


def _watched() -> bool:
    """Whether somebody follows each operation, such as a tracer or a counter of operations."""
    return (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._get_tracing_state() is not None
        or (torch._C._len_torch_function_stack() > 0 and _changed())
    )


def _changed() -> bool:
    """Whether a mode sees each call, other than one that says where new tensors are made."""
    count = torch._C._len_torch_function_stack()
    modes = (torch._C._get_function_stack_at(i) for i in range(count))
    return any(not isinstance(mode, DeviceContext) for mode in modes)


def readable(tensors: Sequence[Tensor]) -> bool:
    """Whether tensors are memory of this process that holds their numbers, all of one type.

    What was made in inference mode is not, where autograd might keep it for backward.
    """
    return (
        _in_memory(tensors)
        and not any(map(_is_opposite, tensors))
        and not any(map(_is_nothing, tensors))
        and not (torch.is_grad_enabled() and any(map(_is_inference, tensors)))
    )


def fixed(shape: Sequence[int], *tensors: Tensor) -> bool:
    """Whether tensors have this shape and lie in one piece, and nobody asks for gradients."""
    return all(
        tensor.shape == shape and tensor.is_contiguous() and not tensor.requires_grad
        for tensor in tensors
    )


# Memory that holds the opposites, or none at all where autograd knows that everything is zero.
_is_opposite, _is_nothing, _is_inference = Tensor.is_neg, Tensor._is_zerotensor, Tensor.is_inference


def _in_memory(tensors: Sequence[Tensor]) -> bool:
    """As ``readable``, or holds their opposites."""
    dtype, strided = tensors[0].dtype, torch.strided
    if dtype is not torch.float32 and dtype is not torch.float64:
        return False
    for tensor in tensors:
        kind = type(tensor)
        if kind is not Tensor and kind is not nn.Parameter:
            return False
        if tensor.dtype is not dtype or not tensor.is_cpu or tensor.layout is not strided:
            return False
    return True


def _on_gpu(tensors: Sequence[Tensor]) -> bool:
    """As ``readable``, in the memory of one GPU, where Triton works."""
    first = tensors[0]
    return (
        first.is_cuda
        and first.dtype in (torch.float32, torch.float64)
        and all(
            type(tensor) in (Tensor, nn.Parameter)
            and tensor.dtype is first.dtype
            and tensor.device == first.device
            and tensor.layout is torch.strided
            for tensor in tensors
        )
        and ready()
    )


def _mapped_once() -> bool:
    """Whether just one transformation is at work, and it is vmap."""
    stack: Any = torch._C._functorch.get_interpreter_stack()
    kind: Any = torch._C._functorch.TransformType.Vmap
    return len(stack) == 1 and bool(stack[0].key() == kind)
