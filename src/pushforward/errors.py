"""What can go wrong, in one place. Each class is also the built-in a caller would guess.

PushforwardError
    ShapeError          (ValueError)         a tensor does not fit the part it was given to
    ContextError        (ValueError)         a context is missing, or given where nobody reads it
    ArgumentError       (ValueError)         an argument has a value that cannot be used
    InputTypeError      (TypeError)          an argument is of a kind that cannot be used
    DataError           (ValueError)         the data cannot be used: which file, column and row
    NotFiniteError      (ArithmeticError)    a loss, a density or a state is nan or infinite
    InverseError        (ArithmeticError)    a numeric inverse did not converge
    ModelFileError      (ValueError)         a model file is damaged, foreign or of a newer version
    SpecError           (TypeError)          a part cannot be described, so it cannot be saved
    NotFittedError      (RuntimeError)       a method was called before ``fit``
    MissingFolderError  (FileNotFoundError)  a file cannot be written: its folder does not exist
    MissingPackageError (ImportError)        an optional package is needed, and how to get it
"""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "ContextError",
    "DataError",
    "InputTypeError",
    "InverseError",
    "MissingFolderError",
    "MissingPackageError",
    "ModelFileError",
    "NotFiniteError",
    "NotFittedError",
    "PushforwardError",
    "ShapeError",
    "SpecError",
]


class PushforwardError(Exception):
    """Base of every error this library raises on purpose."""


class ShapeError(PushforwardError, ValueError):
    """A tensor does not fit the part it was given to."""


class ContextError(PushforwardError, ValueError):
    """A context is missing, or given where nobody reads it."""


class ArgumentError(PushforwardError, ValueError):
    """An argument has a value that cannot be used."""


class InputTypeError(PushforwardError, TypeError):
    """An argument is of a kind that cannot be used."""


class DataError(PushforwardError, ValueError):
    """The data cannot be used; the message names the file, the column and the row."""


class NotFiniteError(PushforwardError, ArithmeticError):
    """A loss, a density or a state is nan or infinite."""


class InverseError(PushforwardError, ArithmeticError):
    """A numeric inverse did not converge."""


class ModelFileError(PushforwardError, ValueError):
    """A model file is damaged, not ours, or from a newer version."""


class SpecError(PushforwardError, TypeError):
    """A part cannot be described by its constructor call, so it cannot be saved."""


class NotFittedError(PushforwardError, RuntimeError):
    """A method was called that needs ``fit`` first."""


class MissingFolderError(PushforwardError, FileNotFoundError):
    """A file cannot be written, since its folder does not exist."""


class MissingPackageError(PushforwardError, ImportError):
    """An optional package is needed; the message says how to install it."""
