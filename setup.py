"""The compiled kernels, an optional part: where they cannot be built, pushforward runs without.

Everything else about the package stands in pyproject.toml.
"""

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = Path("src/pushforward/kernels/csrc")
# -ffast-math is not among them: loading such a library switches on flush-to-zero for the whole
# process. -fno-math-errno and its neighbour say that nobody reads errno and nobody counts on
# floating-point traps. Python adds its own flags before these: with its -fwrapv (by another name
# -fno-strict-overflow) loops over int are not made vectors, and splines take twice the time; its -g
# makes the library three times as large.
FLAGS = [
    "-std=gnu11",
    "-O3",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-wrapv",
    "-fstrict-overflow",
    "-g0",
]


class BuildLibrary(build_ext):
    """Build a library that Python does not take for a module: it knows nothing of Python."""

    def get_ext_filename(self, fullname: str) -> str:
        """One name on every system and for every Python."""
        return str(Path(*fullname.split(".")).with_suffix(".bin"))


setup(
    cmdclass={"build_ext": BuildLibrary},
    ext_modules=[
        Extension(
            "pushforward.kernels._compiled",
            sources=[str(SOURCES / "kernels.c")],
            # this file, too: its flags
            depends=["setup.py", *(str(path) for path in sorted(SOURCES.glob("*.h")))],
            extra_compile_args=[] if sys.platform == "win32" else FLAGS,
            libraries=[] if sys.platform == "win32" else ["m", "pthread"],
            optional=True,
        )
    ],
)
