"""What tests of recomputing share."""

import pytest

from pushforward.transforms import recompute


@pytest.fixture
def one_part(monkeypatch):
    """All steps lie behind one kept state, so that all but the first are taken back."""
    monkeypatch.setattr(recompute, "_KEPT", 1)


@pytest.fixture
def ways(monkeypatch):
    """Which way the parts of the last backward pass went, in turn."""
    gone = []
    for name in ("_taken_back", "_gone_again", "_with_graph"):
        whole = getattr(recompute, name)

        def noted(*args, name=name, whole=whole):
            found = whole(*args)
            gone.append(name if found is not None else "missed")
            return found

        monkeypatch.setattr(recompute, name, noted)
    return gone
