"""The ``pushforward`` command: one thin file a sub-command.

Importing this room imports Typer and nothing heavier, so that ``pushforward --help`` is instant.
"""

from pushforward.cli.app import app, main

__all__ = ["app", "main"]
