"""What every test relies on: a seed of its own, and the global state left as it was found."""

import gc
import os
import sys
from pathlib import Path

import pytest
import torch

SWITCH = "PUSHFORWARD_KERNELS"
KERNELS = os.environ.get(SWITCH)  # before any test is collected
ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # so that tests can share lists of cases: tests.<room>.cases


def pytest_collection_finish():
    """The tests themselves are no garbage: to look through them each time takes seconds."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    """Each test draws the same numbers, alone or among others."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _nothing_global_changes():
    """A test, or the code it calls, that leaves a global setting changed would change the next."""
    before = _settings()
    yield
    assert _settings() == before
    # what processes inherit that tests start; importing a file of tests must not change it either
    assert os.environ.get(SWITCH) == KERNELS, f"{SWITCH} has changed"


def _settings() -> dict[str, object]:
    return {
        "default dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "threads": torch.get_num_threads(),
    }
