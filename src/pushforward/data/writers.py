"""Writing a frame to a file: by its extension, and whole or not at all."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.errors import DataError

if TYPE_CHECKING:
    import polars

__all__ = ["as_polars", "check_output", "write_table"]


def check_output(path: str | os.PathLike[str], *, what: str = "OUT") -> Path:
    """Refuse early, before anything is computed, a path that `write_table` would refuse.

    Args:
        path: where a table is to be written.
        what: what messages call the argument.

    Raises:
        DataError: the extension is unknown, the folder does not exist, or the path is a folder.
    """
    target = Path(path).expanduser()
    suffix = target.suffix.lower()
    if suffix not in _WRITERS:
        came = f"the extension {suffix!r}" if suffix else "no extension"
        raise DataError(
            f"{what}: {path} has {came}, expected {', '.join(_WRITERS)}; "
            "give the file a name that ends in one of them."
        )
    if target.is_dir():
        raise DataError(f"{what}: {path} is a folder, expected the name of a file.")
    if not target.parent.is_dir():
        raise DataError(f"{what}: the folder {target.parent} does not exist; make it first.")
    return target


def write_table(frame: Any, path: str | os.PathLike[str], *, what: str = "OUT") -> None:
    """Write a frame as .csv, .tsv, .parquet, .feather, .arrow, .ipc, .npy or .npz.

    The file appears whole or not at all: it is written under another name beside its place and
    then moved there, so that a crash leaves an old file as it was. An .npz holds one array a
    column; an .npy is a matrix without names.

    Args:
        frame: a polars, pandas or Arrow frame, or anything else `open_table` takes.
        path: where to write; a file that is there is replaced.
        what: what messages call the argument.

    Raises:
        DataError: the path cannot be written to, or the format cannot hold the frame.

    Example:
        >>> import tempfile, polars
        >>> from pushforward.data.readers import open_table
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_table(polars.DataFrame({"a": [1.5, 2.5]}), f"{folder}/a.csv")
        ...     open_table(f"{folder}/a.csv").rows
        2
    """
    target = check_output(path, what=what)
    table = as_polars(frame)
    if target.suffix.lower() in (".npy", ".npz"):
        _only_numbers(table, target, what)
    hidden = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        _WRITERS[target.suffix.lower()](table, hidden)
        os.replace(hidden, target)
    except OSError as error:
        raise DataError(
            f"{what}: {path} cannot be written: {error.strerror or error}; "
            "check the disk and the permissions."
        ) from error
    finally:
        hidden.unlink(missing_ok=True)


def as_polars(frame: Any) -> polars.DataFrame:
    """Any frame, or anything else `open_table` takes, as a polars frame."""
    import polars

    from pushforward.data.readers import open_table

    if isinstance(frame, polars.DataFrame):
        return frame
    chunks = [chunk.frame for chunk in open_table(frame, what="frame").chunks()]
    return polars.concat(chunks, how="vertical_relaxed")


def _only_numbers(table: polars.DataFrame, target: Path, what: str) -> None:
    for column in table:
        if not (column.dtype.is_numeric() or str(column.dtype) == "Boolean"):
            raise DataError(
                f"{what}: {target} cannot hold column {column.name!r} ({column.dtype}), only "
                "numbers; write .csv or .parquet, or leave the column out."
            )


def _numbers(column: polars.Series) -> polars.Series:
    """The column as NumPy can hold it: decimals, and true/false with gaps, become floats."""
    import polars

    gaps = column.dtype == polars.Boolean and column.null_count() > 0
    return column.cast(polars.Float64) if gaps or column.dtype.is_decimal() else column


def _write_npy(table: polars.DataFrame, path: Path) -> None:
    import numpy

    with path.open("wb") as file:
        matrix = table.select(_numbers(column) for column in table).to_numpy()
        numpy.save(file, numpy.ascontiguousarray(matrix), allow_pickle=False)


def _write_npz(table: polars.DataFrame, path: Path) -> None:
    import numpy

    # numpy.savez takes names as keywords, and would stumble over a column called "file".
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for column in table:
            with archive.open(f"{column.name}.npy", "w", force_zip64=True) as file:
                numpy.lib.format.write_array(file, _numbers(column).to_numpy(), allow_pickle=False)


_WRITERS: dict[str, Callable[[polars.DataFrame, Path], object]] = {
    ".csv": lambda table, path: table.write_csv(path),
    ".tsv": lambda table, path: table.write_csv(path, separator="\t"),
    ".parquet": lambda table, path: table.write_parquet(path),
    ".feather": lambda table, path: table.write_ipc(path),
    ".arrow": lambda table, path: table.write_ipc(path),
    ".ipc": lambda table, path: table.write_ipc(path),
    ".npy": _write_npy,
    ".npz": _write_npz,
}
