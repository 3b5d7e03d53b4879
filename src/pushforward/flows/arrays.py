"""What a flow takes for a tensor: tensors, arrays, lists and frames of numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import InputTypeError

__all__ = ["as_tensor", "first_floating"]


def as_tensor(who: str, name: str, value: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of the given dtype and device, from whatever holds numbers.

    Raises:
        InputTypeError: the value holds no numbers, or numbers that are complex.
    """
    numbers: Tensor = value if isinstance(value, Tensor) else _from_numbers(who, name, value)
    if numbers.is_complex():
        raise InputTypeError(f"{who}: {name} is complex, expected real numbers.")
    if numbers.dtype == dtype and numbers.device == device:
        return numbers
    return numbers.to(device=device, dtype=dtype)


def _from_numbers(who: str, name: str, value: Any) -> Tensor:
    if hasattr(value, "__dataframe__") or hasattr(value, "__arrow_c_stream__"):
        value = _from_frame(who, name, value)
    # A frame of one column gives its own memory, read-only: PyTorch warns of such arrays.
    if getattr(getattr(value, "flags", None), "writeable", True) is False:
        value = value.copy()
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputTypeError(
            f"{who}: {name} is a {type(value).__name__} that holds no table of numbers "
            f"({str(error).splitlines()[0]}); expected a tensor, an array or a frame of numbers."
        ) from None


def _from_frame(who: str, name: str, value: Any) -> Any:
    import narwhals as nw

    frame = nw.from_native(value, eager_only=True)
    words = [c for c, kind in frame.schema.items() if not (kind.is_numeric() or kind == nw.Boolean)]
    if words:
        raise InputTypeError(
            f"{who}: column {words[0]!r} of {name} is {frame.schema[words[0]]}, expected numbers; "
            f"leave it out, or use pf.TableFlow."
        )
    return frame.to_numpy()


def first_floating(module: nn.Module) -> Tensor | None:
    """The first floating parameter, or else buffer, within a module; None if there is none.

    ``parameters()`` gives the same one, in ten times the time, which each small batch would feel.
    """
    found = _first_of(module, "_parameters")
    return _first_of(module, "_buffers") if found is None else found


def _first_of(module: nn.Module, kind: str) -> Tensor | None:
    for tensor in getattr(module, kind).values():
        if tensor is not None and tensor.is_floating_point():
            return tensor  # type: ignore[no-any-return]
    for inner in module._modules.values():
        found = None if inner is None else _first_of(inner, kind)
        if found is not None:
            return found
    return None
