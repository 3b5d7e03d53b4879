"""The compiled library: found, loaded, given PyTorch's threads, or absent with a reason."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from ctypes import CDLL, Structure, c_char_p, c_double, c_int64, c_void_p
from pathlib import Path
from struct import Struct
from typing import Any

import torch

__all__ = [
    "ELEMENTWISE_CALL",
    "LAYER_CALL",
    "LIBRARY",
    "MOST_CHAINED",
    "MOST_LAYERS",
    "Elementwise",
    "Layer",
    "Linear",
    "MapFields",
    "available",
    "reason",
    "remedy",
    "target",
    "threads",
]

_VERSION = 3  # of the structures below, which are those of csrc/types.h
MOST_LAYERS = 8
MOST_CHAINED = 64
_SWITCH = "PUSHFORWARD_KERNELS"  # 0 switches the kernels off; a path is another library's
_TARGET = "PUSHFORWARD_KERNELS_TARGET"  # plain, avx2 or avx512 in the place of the best there is


class MapFields(Structure):
    """``map_t``: a map with its constants."""

    _fields_ = (
        ("kind", c_int64),
        ("width", c_int64),
        ("terms", c_int64),
        ("tails", c_int64),
        ("bound", c_double),
        ("min_width", c_double),
        ("min_height", c_double),
        ("min_slope", c_double),
        ("offset", c_double),
        ("low", c_void_p),
        ("high", c_void_p),
        ("box_step", c_int64),
    )


class Elementwise(Structure):
    """``elementwise_t``: a map with parameters of its own for each number."""

    _fields_ = (
        ("map", MapFields),
        ("rows", c_int64),
        ("features", c_int64),
        ("x", c_void_p),
        ("x_row", c_int64),
        ("x_feature", c_int64),
        ("raw", c_void_p),
        ("raw_row", c_int64),
        ("raw_feature", c_int64),
        ("raw_step", c_int64),
        ("z", c_void_p),
        ("log_derivative", c_void_p),
        ("grad_z", c_void_p),
        ("grad_log", c_void_p),
        ("grad_z_row", c_int64),
        ("grad_z_feature", c_int64),
        ("grad_log_row", c_int64),
        ("grad_log_feature", c_int64),
        ("grad_x", c_void_p),
        ("grad_raw", c_void_p),
        ("inverse", c_int64),
        ("threads", c_int64),
    )


# What follows the constants of the map, from its field ``low`` on.
ELEMENTWISE_CALL = Struct("@24q")


class Linear(Structure):
    """``linear_t``: one linear layer of a network."""

    _fields_ = (
        ("inputs", c_int64),
        ("outputs", c_int64),
        ("limit", c_void_p),
        ("rows", c_void_p),
        ("columns", c_void_p),
    )


_ALL = c_void_p * MOST_LAYERS

# What changes from call to call, in the order in which LAYER_CALL packs it.
LAYER_CALL = Struct(f"@{16 + 4 * MOST_LAYERS}q")


class Layer(Structure):
    """``layer_t``: a coupling, a masked autoregression, triangles, a scaling or a density."""

    _fields_ = (
        ("rows", c_int64),
        ("x", c_void_p),
        ("z", c_void_p),
        ("logdet", c_void_p),
        ("context_values", c_void_p),
        ("context_row", c_int64),
        ("low", c_void_p),
        ("high", c_void_p),
        ("saved", c_void_p),
        ("grad_z", c_void_p),
        ("grad_logdet", c_void_p),
        ("grad_x", c_void_p),
        ("grad_context", c_void_p),
        ("inverse", c_int64),
        ("adds", c_int64),
        ("threads", c_int64),
        ("weight", _ALL),
        ("bias", _ALL),
        ("grad_weight", _ALL),
        ("grad_bias", _ALL),
        ("kind", c_int64),
        ("map", MapFields),
        ("features", c_int64),
        ("seen", c_int64),
        ("seen_features", c_void_p),
        ("moved", c_int64),
        ("moved_features", c_void_p),
        ("kept", c_int64),
        ("kept_features", c_void_p),
        ("context", c_int64),
        ("context_first", c_int64),
        ("box_by_feature", c_int64),
        ("activation", c_int64),
        ("residual", c_int64),
        ("layers", c_int64),
        ("linear", Linear * MOST_LAYERS),
    )


def available(device: str = "cpu") -> bool:
    """Whether there are kernels for a kind of device, switched on.

    Args:
        device: ``cpu``, where they are compiled C, or ``cuda``, where they are Triton's.

    Example:
        >>> available() or len(reason()) > 0
        True
    """
    return reason(device) == ""


def reason(device: str = "cpu") -> str:
    """Why there are no kernels for a kind of device, in words; empty where there are.

    Example:
        >>> isinstance(reason("cuda"), str)
        True
    """
    if device == "cpu":
        return _REASON
    if device != "cuda":
        return f"there are none for {device}"
    from pushforward.kernels.cuda import ready

    return ready.reason()


def remedy() -> str:
    """What to do about it, in words; empty where the kernels are there.

    Example:
        >>> available() or len(remedy()) > 0
        True
    """
    if available():
        return ""
    for name in (_SWITCH, _TARGET):
        if name in _REASON:
            return f"to have them, remove {name} from the environment"
    return "to have them, install a C compiler and then pushforward again"


def target() -> str:
    """The kind of processor that the kernels run for: ``plain``, ``avx2``, ``avx512``, or empty.

    Example:
        >>> target() in ("", "plain", "avx2", "avx512")
        True
    """
    return _TARGET_NAME


def threads() -> int:
    """How many threads a kernel takes: as many as PyTorch does, one in a forked process."""
    return 1 if _forked else torch.get_num_threads()


_forked = False  # a pool of threads does not survive a fork: using it would wait for ever


def _after_fork() -> None:
    global _forked
    _forked = True


def _load() -> tuple[CDLL | None, str, str]:
    """The library, why there is none, and what it runs for."""
    wish = os.environ.get(_SWITCH, "")
    if wish == "0":
        return None, f"they are switched off by {_SWITCH}=0", ""
    path = Path(wish).absolute() if wish else next(_candidates(), None)
    if path is None:
        return None, "they were not compiled when pushforward was installed", ""
    try:
        lib = ctypes.CDLL(str(path))
        _declare(lib)
    except (OSError, AttributeError) as error:
        whose = f"{_SWITCH} names {path}, which" if wish else "they"
        return None, f"{whose} cannot be loaded: {str(error).splitlines()[0]}", ""
    if lib.pushforward_version() != _VERSION or _sizes(lib) != _own_sizes():
        return None, "they were compiled from another version of pushforward", ""
    name = _choose(lib)
    if not name:
        return None, f"{_TARGET} is {os.environ[_TARGET]!r}, which does not run here", ""
    _share_threads(lib)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
    return lib, "", name


def _candidates() -> Iterator[Path]:
    """The file that the installation may have made."""
    path = Path(__file__).with_name("_compiled.bin")
    if path.exists():
        yield path


def _sizes(lib: CDLL) -> list[int]:
    return [lib.pushforward_sizes(i) for i in range(3)]


def _own_sizes() -> list[int]:
    return [ctypes.sizeof(Elementwise), ctypes.sizeof(Layer), MOST_CHAINED]


def _declare(lib: CDLL) -> None:
    """What the functions take, so that ctypes need not guess at every call."""
    # structures come packed, as bytes; layers are counted
    for name, more in (("elementwise", []), ("layers", [c_int64])):
        for function in (f"pushforward_{name}", f"pushforward_{name}_backward"):
            getattr(lib, function).argtypes = [c_char_p, *more, c_int64]
            getattr(lib, function).restype = c_int64
    for name in ("version", "sizes", "choose"):
        getattr(lib, f"pushforward_{name}").restype = c_int64
    lib.pushforward_version.argtypes = []
    lib.pushforward_sizes.argtypes = lib.pushforward_choose.argtypes = [c_int64]
    lib.pushforward_target.argtypes = [c_int64]
    lib.pushforward_target.restype = c_char_p
    lib.pushforward_threads.argtypes = [c_void_p] * 4
    lib.pushforward_threads.restype = None


def _choose(lib: CDLL) -> str:
    """Take the best kind of processor that this one is, or the one that was asked for."""
    wanted, i = os.environ.get(_TARGET, ""), 0
    while (name := lib.pushforward_target(i)) is not None:
        if wanted in ("", name.decode()) and lib.pushforward_choose(i):
            return str(name.decode())
        i += 1
    return ""


def _share_threads(lib: CDLL) -> None:
    """Hand over the OpenMP runtime that PyTorch has loaded; without one there is one thread."""
    for path in _openmp():
        try:
            runtime = ctypes.CDLL(path)
            functions: list[Any] = [
                runtime.GOMP_parallel,
                runtime.GOMP_barrier,
                runtime.omp_get_thread_num,
                runtime.omp_get_num_threads,
            ]
        except (OSError, AttributeError):
            continue
        lib.pushforward_threads(*(ctypes.cast(f, c_void_p) for f in functions))
        return


def _openmp() -> Iterator[str]:
    """Paths of OpenMP runtimes in this process; what speaks GNU's interface will do.

    First the one that PyTorch itself calls, which is found through PyTorch: other packages bring
    their own, with threads of their own.
    """
    names, home = ("libgomp", "libiomp5", "libomp"), Path(torch.__file__).parent / "lib"
    yield from map(str, home.glob("libtorch_cpu.*"))
    maps = Path("/proc/self/maps")
    if maps.exists():
        paths = {line.split(maxsplit=5)[-1].strip() for line in maps.read_text().splitlines()}
        for name in names:
            yield from sorted(p for p in paths if Path(p).name.startswith(name))
    elif sys.platform == "darwin":
        for name in names:
            yield from map(str, home.glob(f"{name}*.dylib"))


# When the module is imported, which is after PyTorch and its OpenMP runtime are.
LIBRARY, _REASON, _TARGET_NAME = _load()
