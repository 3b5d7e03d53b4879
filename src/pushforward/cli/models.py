"""Model files, as the commands open them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.errors import DataError, ModelFileError

if TYPE_CHECKING:
    from pushforward.tables import TableFlow

__all__ = ["check_model_path", "default_model_path", "load_table"]

_SUFFIX = ".safetensors"


def load_table(path: Path, verb: str) -> TableFlow:
    """The table flow in a model file.

    Args:
        path: the file.
        verb: what the command does, for the message.

    Raises:
        ModelFileError: the file is no model, or a flow that knows no columns.
    """
    import pushforward as pf

    model: Any = pf.load(path)
    if not isinstance(model, pf.TableFlow):
        raise ModelFileError(
            f"{path} holds a {type(model).__name__} that knows no columns, so that there is "
            f"nothing to {verb} by name; use it from Python: flow = pf.load({str(path)!r})."
        )
    return model


def default_model_path(data: str) -> Path:
    """Where ``fit`` saves without ``--out``: the table's name, in the current folder.

    Example:
        >>> print(default_model_path("data/events.csv"))
        events.safetensors
        >>> print(default_model_path("data/2011/part-*.parquet"))
        2011.safetensors
    """
    path = Path(data)
    named = [part for part in path.parts if not any(sign in part for sign in "*?[")]
    whole = len(named) == len(path.parts)
    name = (path.stem if whole else Path(*named).name) if named else ""
    return Path(f"{name or Path.cwd().name or 'model'}{_SUFFIX}")


def check_model_path(path: Path) -> None:
    """Refuse, before hours of training, a path that the model cannot be saved under.

    Raises:
        DataError: its ending is another, its folder is not there or cannot be written to.
    """
    import os

    if path.suffix != _SUFFIX:
        raise DataError(
            f"--out {path}: a model file ends in {_SUFFIX}; write {path.stem}{_SUFFIX}."
        )
    if path.is_dir():
        raise DataError(f"--out {path} is a folder, expected the name of a file.")
    if not path.parent.is_dir():
        raise DataError(f"--out {path}: the folder {path.parent} does not exist; make it first.")
    if not os.access(path.parent, os.W_OK):
        raise DataError(f"--out {path}: the folder {path.parent} cannot be written to.")
