"""Measurements that need a process of their own; prints one JSON object.

    python benchmarks/speed_fresh.py first LIBRARY THREADS
    python benchmarks/speed_fresh.py memory LAYERS ordinary|recompute ROWS

``first``: seconds from the end of ``import torch`` (or jax) to the end of the first training step
of spline couplings on 512 rows of 43 features: import, build, optimizer, first step with whatever
it compiles. ``memory``: what a forward and a backward pass hold at most beyond what was there.
"""

from __future__ import annotations

import json
import re
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

FEATURES, ROWS = 43, 512


def first(library: str, threads: int) -> dict[str, float]:
    """The way to the first step, in parts."""
    if library == "FlowJAX":
        import jax  # noqa: F401

        return _first_of_jax()
    import torch

    torch.set_num_threads(threads)
    began = time.perf_counter()
    make = _importer(library)
    imported = time.perf_counter()
    module, log_prob, whole = make()
    built = time.perf_counter()
    if whole is not None:
        whole(torch.randn(ROWS, FEATURES))
        return _parts(began, imported, built, built, time.perf_counter())
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4, fused=True)
    prepared = time.perf_counter()
    optimizer.zero_grad()
    loss = -log_prob(torch.randn(ROWS, FEATURES)).mean()
    loss.backward()
    optimizer.step()
    return _parts(began, imported, built, prepared, time.perf_counter())


def _importer(library: str) -> Callable[[], tuple[Any, Any, Any]]:
    """Import a library; what it returns builds the flow."""
    if library.startswith("pushforward"):
        import pushforward as pf

        pf.flows.nsf  # noqa: B018 (that is when it is imported)

        def ours() -> tuple[Any, Any, Any]:
            flow = pf.flows.nsf(FEATURES, affine=0, mix="none", seed=0)
            if library == "pushforward":
                return flow, flow.log_prob, None
            fit = {"steps": 1, "batch_size": ROWS, "validation": 0, "progress": False}
            return flow, None, lambda x: pf.fit(flow, x, **fit)

        return ours
    if library == "an empty loop":  # PyTorch's own share: one Linear, and Adam
        import torch

        layer = torch.nn.Linear(FEATURES, 1)
        return lambda: (layer, layer, None)
    from speed_peers import load

    peer: Any = load(library)

    def theirs() -> tuple[Any, Any, Any]:
        model = peer.build("coupling", FEATURES) or peer.build("realnvp", FEATURES)
        return model.module, model.log_prob, None

    return theirs


def _first_of_jax() -> dict[str, float]:
    began = time.perf_counter()
    from speed_peers import flowjax_flows

    imported = time.perf_counter()
    model: Any = flowjax_flows.build("coupling", FEATURES)
    built = time.perf_counter()
    step = model.job("train", ROWS)
    compiled = time.perf_counter()
    step()
    return _parts(began, imported, built, compiled, time.perf_counter())


def _parts(*marks: float) -> dict[str, float]:
    began, imported, built, prepared, ended = marks
    return {
        "import": imported - began,
        "build": built - imported,
        "prepare": prepared - built,  # PyTorch: make Adam; JAX: compile
        "step": ended - prepared,
        "seconds": ended - began,
    }


# ---------------------------------------------------------------- memory


def memory(layers: int, mode: str, rows: int) -> dict[str, Any]:
    """Bytes that a forward and a backward pass hold at most: resident, and saved by autograd."""
    import torch

    from pushforward.training.speed import Absent
    from pushforward.training.speed.rows import build, recomputing

    torch.set_num_threads(1)
    flow: Any = build("coupling", FEATURES, layers).train()
    if mode == "recompute":
        flow = recomputing(flow)
    if isinstance(flow, Absent):
        return {"absent": flow.reason}

    def both_ways(n: int) -> None:
        (-flow.log_prob(torch.randn(n, FEATURES)).mean()).backward()

    for _ in range(2):
        both_ways(8)  # gradients and whatever is built once are there from here on
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    both_ways(rows)
    peak = _status("VmHWM") - before
    return {"resident": peak, "saved": saved(lambda: both_ways(rows), flow.parameters())}


def saved(call: Callable[[], None], parameters: Any) -> int:
    """Largest sum of the storages that autograd held at once, parameters not counted."""
    import torch

    known = {one.untyped_storage().data_ptr() for one in parameters}
    held: dict[int, list[int]] = {}  # by address: how often it is held, and its size
    now = most = 0

    class Kept:
        def __init__(self, tensor: Any) -> None:
            self.tensor = tensor

    def drop(address: int) -> None:
        nonlocal now
        held[address][0] -= 1
        if not held[address][0]:
            now -= held.pop(address)[1]

    def pack(tensor: Any) -> Any:
        nonlocal now, most
        storage = tensor.untyped_storage()
        kept = Kept(tensor.detach())
        if storage.data_ptr() in known:
            return kept
        if storage.data_ptr() not in held:
            held[storage.data_ptr()] = [0, storage.nbytes()]
            now += storage.nbytes()
            most = max(most, now)
        held[storage.data_ptr()][0] += 1
        weakref.finalize(kept, drop, storage.data_ptr())
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        call()
    return most


def _status(key: str) -> int:
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)[1])  # type: ignore[index]


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    done = (
        first(rest[0], int(rest[1]))
        if what == "first"
        else memory(int(rest[0]), rest[1], int(rest[2]))
    )
    print(json.dumps(done))
