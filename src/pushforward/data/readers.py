"""One door for every table: a file, a folder, a glob, a frame, an array or a dict of columns."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pushforward.data.table_source import Part, TableSource
from pushforward.errors import DataError, InputTypeError

__all__ = ["open_table"]


def open_table(source: object, *, what: str = "DATA") -> TableSource:
    """Open a table, wherever it lives, for reading chunk by chunk.

    Args:
        source: the path of a .csv, .tsv, .parquet, .feather, .arrow, .ipc, .npy or .npz file, a
            folder of such files of one kind, a glob; or a pandas, polars or Arrow frame (anything
            narwhals reads), a polars lazy frame, an array or a tensor of shape ``(rows,)`` or
            ``(rows, columns)`` (its columns are called x0, x1, …), a dict of columns.
        what: what messages call the argument.

    Returns:
        A `TableSource`. Files are checked and counted here, and read when chunks are asked for.

    Raises:
        DataError: the table cannot be read; the message names the file, and where it can the
            column and the row.
        InputTypeError: ``source`` is nothing of the kinds above.

    Example:
        >>> table = open_table({"a": [1.0, 2.0], "b": [3.0, 4.0]})
        >>> table.names, table.rows
        (('a', 'b'), 2)
        >>> next(table.chunks(["b"])).frame["b"].to_list()
        [3.0, 4.0]
    """
    if isinstance(source, TableSource):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _open_files(source, what)
    return _not_empty(_open_in_memory(source, what), what)


def _open_files(source: str | os.PathLike[str], what: str) -> TableSource:
    from pushforward.data.files.locate import family, locate

    try:
        files = locate(source, what)
        parts = tuple(_opener(family(path, what))(path, what) for path in files)
    except OSError as error:
        raise DataError(
            f"{what}: {error.filename or source} cannot be opened: {error.strerror or error}; "
            "check its permissions."
        ) from error
    for part in parts:
        _same_columns(part, parts[0], what)
        if part.rows == 0:
            raise DataError(
                f"{what}: {part.file} has column names and no rows, expected rows of numbers; "
                "put data into it or leave it out."
            )
    rows = sum(part.rows for part in parts)
    title = str(files[0]) if len(files) == 1 else os.fspath(source)
    return TableSource(parts[0].names, "file", "polars", rows, parts, title)


def _opener(family_name: str) -> Callable[[Path, str], Part]:
    if family_name == "delimited":
        from pushforward.data.files.delimited import open_delimited

        return open_delimited
    if family_name in ("parquet", "arrow"):
        from pushforward.data.files.columnar import open_arrow, open_parquet

        return open_parquet if family_name == "parquet" else open_arrow
    from pushforward.data.files.arrays import open_npy, open_npz

    return open_npy if family_name == "npy" else open_npz


def _open_in_memory(source: object, what: str) -> TableSource:
    import numpy

    from pushforward.data.files.arrays import ArrayPart, columns_of
    from pushforward.data.frames import frame_of_columns, open_frame

    if _is_a("torch", "Tensor", source):
        source = _array_of(source)
    if isinstance(source, numpy.ndarray):
        array = ArrayPart(None, columns_of(source, f"{what}: the array"))
        return TableSource(array.names, "array", "polars", array.rows, (array,))
    if _is_a("polars", "LazyFrame", source):
        from pushforward.data.files.columnar import open_lazy

        lazy = open_lazy(source)  # type: ignore[arg-type]
        return TableSource(lazy.names, "frame", "polars", lazy.rows, (lazy,))
    if isinstance(source, Mapping):
        frame, native = open_frame(frame_of_columns(source, what), what)
        return TableSource(frame.names, "columns", native, frame.rows, (frame,))
    if source is None or isinstance(source, (int, float, bytes, list, tuple, set)):
        raise InputTypeError(
            f"{what} is a {type(source).__name__}, expected the path of a table, a pandas, polars "
            "or Arrow frame, an array, a tensor or a dict of columns."
        )
    frame, native = open_frame(source, what)
    return TableSource(frame.names, "frame", native, frame.rows, (frame,))


def _is_a(module: str, name: str, value: object) -> bool:
    """Whether ``value`` is an instance of a class of a module that may not be imported."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def _array_of(tensor: Any) -> Any:
    """A tensor's numbers as an array; NumPy has no bfloat16."""
    bare = tensor.detach().cpu()
    return bare.float().numpy() if str(bare.dtype) == "torch.bfloat16" else bare.numpy()


def _not_empty(table: TableSource, what: str) -> TableSource:
    if not table.names:
        raise DataError(f"{what} has no columns, expected at least one column of numbers.")
    if table.rows == 0:
        raise DataError(f"{what} has columns and no rows, expected rows of numbers.")
    return table


def _same_columns(part: Part, first: Part, what: str) -> None:
    """Files of one table have the same columns; their order may differ, names decide."""
    lacking = [name for name in first.names if name not in part.names]
    extra = [name for name in part.names if name not in first.names]
    if lacking or extra:
        said = " and ".join(
            [f"lacks {', '.join(map(repr, lacking))}"] * bool(lacking)
            + [f"has {', '.join(map(repr, extra))} more"] * bool(extra)
        )
        raise DataError(
            f"{what}: {part.file} {said}, compared with {first.file}; "
            "files of one table need the same columns."
        )
