"""What a figure was measured on: processor, versions, commit. Prints it when run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "pushforward",
    "torch",
    "numpy",
    "polars",
    "scikit-learn",
    "pyod",
    "zuko",
    "nflows",
    "normflows",
    "FrEIA",
    "flowjax",
    "equinox",
    "optax",
    "jax",
    "jaxlib",
)


def describe_machine() -> dict[str, Any]:
    """Processor, cores and memory."""
    facts: dict[str, Any] = {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": _memory(),
    }
    if hasattr(os, "getloadavg"):
        # what else was running when the figures were taken: 0 is an idle machine
        facts["load_before"] = round(os.getloadavg()[0], 2)
    return facts


def describe_versions() -> dict[str, str]:
    """Versions of Python and of every package that takes part; those not installed are absent."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if "pushforward" not in versions:  # run from the source tree, not installed
        import pushforward

        versions["pushforward"] = pushforward.__version__
    return versions


def describe_commit() -> dict[str, Any]:
    """The commit, and whether files of the package differ from it."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "src", "benchmarks")
    return {"commit": _git("rev-parse", "HEAD") or "unknown", "changed": bool(changed)}


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


if __name__ == "__main__":
    print(
        json.dumps(
            {
                **describe_commit(),
                "machine": describe_machine(),
                "versions": describe_versions(),
            },
            indent=2,
        )
    )
