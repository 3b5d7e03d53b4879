"""The one place that turns an error into a sentence and an exit status."""

from __future__ import annotations

import errno
import functools
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import typer

from pushforward.advice import in_shell
from pushforward.errors import ArgumentError, PushforwardError

__all__ = ["FAILURE", "INTERRUPTED", "USAGE", "guarded", "usage_error"]

FAILURE = 1
USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count

# Library messages begin with the Python name that was called; on the command line nobody called it.
_CALLER = re.compile(r"^(?:pf\.[\w.]+|(?!DATA)[A-Z]\w*(?:\.\w+)?|fit|save|load): (?=\S)")


def usage_error(message: str) -> ArgumentError:
    """An error of usage (exit status 2), to be raised; the message begins with the option."""
    return ArgumentError(message)


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose errors become one sentence on standard error; ``--debug`` lets them through.

    Args:
        command: the function; its keyword ``debug`` says whether errors pass as they are.
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        debug = bool(kwargs.get("debug"))
        typed = tuple(str(value) for value in kwargs.values() if isinstance(value, str | Path))
        with in_shell(), warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("default", UserWarning)
                warnings.showwarning = functools.partial(_show_warning, typed)
            try:
                command(*args, **kwargs)
            except (typer.Exit, typer.Abort, BrokenPipeError):
                raise  # Typer knows what to do when a reader such as `head` has gone
            except BaseException as error:
                if debug or isinstance(error, SystemExit):
                    raise
                message, status = explain(error, typed)
                typer.echo(message, err=True)
                raise typer.Exit(status) from None

    return run


def explain(error: BaseException, typed: Sequence[str] = ()) -> tuple[str, int]:
    """What to say of an error, and the exit status.

    Args:
        error: the error.
        typed: paths and names that were typed: a message that begins with one keeps it.

    Example:
        >>> explain(ArgumentError("pf.flows.nsf: layers is 0, expected at least 1."))
        ('Error: layers is 0, expected at least 1.', 2)
        >>> explain(ZeroDivisionError("division by zero"))[0]
        'Error: internal error, ZeroDivisionError: division by zero; run again with --debug for...'
    """
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted: nothing was saved.", INTERRUPTED
    if isinstance(error, PushforwardError):
        status = USAGE if isinstance(error, ArgumentError) else FAILURE
        return f"Error: {_without_caller(str(error), typed)}", status
    if isinstance(error, OSError):
        return f"Error: {_of_system(error)}", FAILURE
    if _is_memory(error):
        return (
            "Error: the memory of this machine does not suffice; try a smaller --batch-size, "
            "fewer rows or columns, or --device cpu.",
            FAILURE,
        )
    text = " ".join(str(error).split())
    return (
        f"Error: internal error, {type(error).__name__}{': ' * bool(text)}{text}; run again with "
        "--debug for the traceback, and please report it.",
        FAILURE,
    )


def _without_caller(message: str, typed: Sequence[str]) -> str:
    """A message without the Python name before it; ``DATA`` goes where the file is named anyway."""
    paths = {path for name in typed if name for path in (name, str(Path(name)))}
    if any(message.startswith((f"{path}: ", f"DATA: {path}")) for path in paths):
        return message.removeprefix("DATA: ")
    return _CALLER.sub("", message, count=1)


def _of_system(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error) or type(error).__name__
    advice = {
        errno.ENOSPC: "; make room on the disk, or write elsewhere",
        errno.EACCES: "; check the permissions, or write elsewhere",
        errno.EPERM: "; check the permissions, or write elsewhere",
        errno.EROFS: "; write elsewhere",
        errno.ENOENT: "; check the path",
    }.get(error.errno or 0, "")
    return f"{where}{what[:1].lower()}{what[1:]}{advice}."


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    # torch.OutOfMemoryError on a GPU; on the CPU torch raises a bare RuntimeError.
    text = str(error)
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "can't allocate memory" in text
    )


def _show_warning(
    typed: Sequence[str],
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as a sentence, without the line of our source that raised it."""
    if issubclass(category, UserWarning):
        print(f"Note: {_without_caller(str(message), typed)}", file=sys.stderr, flush=True)
