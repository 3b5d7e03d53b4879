"""The compiled kernels, an optional part: where they cannot be built, pushforward runs without.

Everything else about the package stands in pyproject.toml.
"""

import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCES = Path("src/pushforward/kernels/csrc")
# -ffast-math is not among them: loading such a library switches on flush-to-zero for the whole
# process. The two that are say that nobody reads errno and nobody counts on floating-point traps.
FLAGS = [
    "-std=gnu11",
    "-O3",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
]

setup(
    ext_modules=[
        Extension(
            "pushforward.kernels._compiled",
            sources=[str(SOURCES / "kernels.c")],
            depends=[str(path) for path in sorted(SOURCES.glob("*.h"))],
            extra_compile_args=[] if sys.platform == "win32" else FLAGS,
            libraries=[] if sys.platform == "win32" else ["m"],
            optional=True,
        )
    ]
)
