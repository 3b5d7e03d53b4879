"""What can be written to a file by itself."""

from __future__ import annotations

import os

__all__ = ["Savable"]


class Savable:
    """Something that ``pf.save`` takes, with a method that calls it.

    Source: none
    """

    def save(self, path: str | os.PathLike[str]) -> None:
        """The same as ``pf.save(self, path)``."""
        from pushforward.flows.saving import save

        save(self, path)
