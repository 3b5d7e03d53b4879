"""The one place that turns an error into a sentence and an exit status."""

from __future__ import annotations

import errno
import functools
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any, TextIO

import typer

from pushforward.errors import ArgumentError, PushforwardError

__all__ = ["FAILURE", "INTERRUPTED", "USAGE", "guarded", "usage_error"]

FAILURE = 1
USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count

# Library messages begin with the Python name that was called; on the command line nobody called it.
# A name with a dot is a method, unless it is a file: of files the message speaks.
_FILE = "csv|tsv|parquet|feather|arrow|ipc|npy|npz|safetensors"
_CALLER = re.compile(
    rf"^(?:pf\.[\w.]+|(?!DATA)[A-Z]\w*(?:\.(?!(?:{_FILE}):)\w+)?|fit|save|load): (?=\S)"
)


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
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("default", UserWarning)
                warnings.showwarning = _show_warning
            try:
                command(*args, **kwargs)
            except (typer.Exit, typer.Abort, BrokenPipeError):
                raise  # Typer knows what to do when a reader such as `head` has gone
            except BaseException as error:
                if debug or isinstance(error, SystemExit):
                    raise
                message, status = explain(error)
                typer.echo(message, err=True)
                raise typer.Exit(status) from None

    return run


def explain(error: BaseException) -> tuple[str, int]:
    """What to say of an error, and the exit status.

    Example:
        >>> explain(ArgumentError("pf.flows.nsf: layers is 0, expected at least 1."))
        ('Error: layers is 0, expected at least 1.', 2)
        >>> explain(ZeroDivisionError("division by zero"))[0]
        'Error: internal error, ZeroDivisionError: division by zero; run again with --debug for...'
    """
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted: nothing was saved.", INTERRUPTED
    if isinstance(error, ArgumentError):
        return f"Error: {_without_caller(str(error))}", USAGE
    if isinstance(error, PushforwardError):
        return f"Error: {_without_caller(str(error))}", FAILURE
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


def _without_caller(message: str) -> str:
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
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as a sentence, without the line of our source that raised it."""
    if issubclass(category, UserWarning):
        print(f"Note: {_without_caller(str(message))}", file=sys.stderr, flush=True)
