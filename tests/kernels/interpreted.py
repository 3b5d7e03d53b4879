"""Runs the kernels for GPUs in Triton's interpreter, in a process of its own.

    TRITON_INTERPRET=1 python interpreted.py FILE

writes what they give for each map to a file, which ``test_cuda.py`` reads.
"""

import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.kernels.cases import MAPS_AND_DIRECTIONS, extreme_numbers, plain_numbers

KINDS = ("double", "with nan", "single in strides")


def numbers(map, kind):
    """Ordinary and extreme ones; few, or so many that their errors have a mean."""
    single = kind.startswith("single")
    dtype, count, step = (torch.float32, 1000, 1) if single else (torch.float64, 21, 11)
    parts = (
        plain_numbers(map, count, 0.7, dtype),
        [t[::step] for t in extreme_numbers(map, dtype)],
    )
    x, raw = (torch.cat(both) for both in zip(*parts, strict=True))
    if kind == "with nan":
        x[3, 1] = raw[5, 2] = torch.nan
    return x, raw


def gradients(x):
    """Those of value and log-derivative."""
    generator = torch.Generator().manual_seed(2)
    return tuple(
        torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype) for _ in "zl"
    )


def in_strides(tensor):
    """The same numbers in memory that runs the other way."""
    order = tuple(range(tensor.ndim))[::-1]
    return tensor.permute(order).contiguous().permute(order)


def run(case, direction, kind):
    from pushforward.kernels.cuda import launch

    if kind.startswith("single"):  # one large block, since each takes the interpreter a while
        launch._TILE, launch._NUMBERS = 1 << 18, 1 << 13
    x, raw = numbers(case.build(), kind)
    map = case.build().bind(3).to(x.dtype)
    facts = (map.formula, *map.constants, direction == "inverse")
    grads = gradients(x)
    if kind.endswith("strides"):
        x, raw, *grads = (in_strides(tensor) for tensor in (x, raw, *grads))
    z, log_derivative = launch.forward(*facts, x, raw, x.shape)
    grads = (grads[0], torch.where(log_derivative.isfinite(), grads[1], 0.0))
    results = torch.empty(x.shape, dtype=x.dtype), torch.empty(raw.shape, dtype=x.dtype)
    data = z if direction == "inverse" else x
    launch.backward(*facts, data, x.contiguous(), raw, grads, results)
    return [z, log_derivative, *results]


if __name__ == "__main__":
    assert os.environ["TRITON_INTERPRET"] == "1"
    found = {
        f"{parameters.id} {kind}": run(*parameters.values, kind)
        for kind in KINDS
        for parameters in MAPS_AND_DIRECTIONS
    }
    torch.save(found, sys.argv[1])
