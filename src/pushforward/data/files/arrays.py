"""NumPy files and arrays: a column is a one-dimensional view, a slice of it is read at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.data.files.locate import looks_like
from pushforward.errors import DataError

if TYPE_CHECKING:
    import numpy
    import polars

__all__ = ["ArrayPart", "columns_of", "open_npy", "open_npz"]


@dataclass(frozen=True)
class ArrayPart:
    """Columns that are one-dimensional arrays of equal length."""

    file: str | None
    columns: Mapping[str, numpy.ndarray[Any, Any]]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.columns)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def read(self, columns: Sequence[str], size: int) -> Iterator[polars.DataFrame]:
        """The rows in order, ``columns`` only, at most ``size`` at a time."""
        import polars

        for start in range(0, self.rows, size):
            yield polars.DataFrame(
                [
                    polars.Series(name, _plain(self.columns[name][start : start + size]))
                    for name in columns
                ]
            )


def columns_of(
    array: numpy.ndarray[Any, Any], who: str, names: Sequence[str] | None = None
) -> dict[str, numpy.ndarray[Any, Any]]:
    """The columns of an array as views: x0, x1, … or ``names``; a structured array has its own.

    Raises:
        DataError: the array is not one- or two-dimensional, or does not hold numbers.
    """
    if array.dtype.names and array.ndim == 1:
        fields = {str(name): array[name] for name in array.dtype.names}
        for name, field in fields.items():
            _check(field, f"{who}: field {name!r}", (1,))
        return fields
    _check(array, who, (1, 2))
    matrix = array[:, None] if array.ndim == 1 else array
    if names is None:
        names = [f"x{index}" for index in range(matrix.shape[1])]
    return {name: matrix[:, index] for index, name in enumerate(names)}


def open_npy(path: Path, what: str) -> ArrayPart:
    """An .npy file, mapped into memory rather than read.

    Raises:
        DataError: the file is damaged, holds objects, or no one- or two-dimensional numbers.
    """
    import numpy

    try:
        with path.open("rb") as file:
            numpy.lib.format.read_magic(file)
        array = numpy.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        raise _unreadable(path, what, error) from error
    return ArrayPart(str(path), columns_of(array, f"{what}: {path}"))


def open_npz(path: Path, what: str) -> ArrayPart:
    """An .npz file: a matrix ``X`` with optional names ``columns``, or one array a column.

    Raises:
        DataError: the file is damaged, or holds neither of the two.
    """
    import numpy

    try:
        # numpy leaves a file open that it opened and could not read, so we open it.
        with path.open("rb") as file, numpy.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:
        raise _unreadable(path, what, error) from error
    if "X" in arrays and arrays["X"].ndim == 2 and set(arrays) <= {"X", "columns"}:
        return ArrayPart(str(path), _named_matrix(path, arrays, what))
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) == 1 and len(next(iter(shapes))) == 1:
        for name, array in arrays.items():
            _check(array, f"{what}: {path}: array {name!r}", (1,))
        return ArrayPart(str(path), arrays)
    held = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
    raise DataError(
        f"{what}: {path} holds {held}, expected one matrix X (with names in columns), or "
        "one-dimensional arrays of equal length; save it so, or as .npy."
    )


def _named_matrix(
    path: Path, arrays: dict[str, numpy.ndarray[Any, Any]], what: str
) -> dict[str, numpy.ndarray[Any, Any]]:
    names = [str(name) for name in arrays["columns"].ravel()] if "columns" in arrays else None
    width = arrays["X"].shape[1]
    if names is not None and len(names) != width:
        raise DataError(
            f"{what}: {path}: columns has {len(names)} names and X {width} columns; "
            "give as many names as columns."
        )
    repeated = [name for name in names or () if (names or []).count(name) > 1]
    if repeated:
        raise DataError(
            f"{what}: {path} has two columns called {repeated[0]!r}; "
            "give every column its own name."
        )
    return columns_of(arrays["X"], f"{what}: {path}", names)


def _check(array: numpy.ndarray[Any, Any], who: str, dimensions: tuple[int, ...]) -> None:
    if array.ndim not in dimensions:
        raise DataError(
            f"{who} has shape {array.shape}, expected (rows,) or (rows, columns); "
            "reshape it so that every row is one event."
        )
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{who} holds {array.dtype} values, expected numbers; "
            "convert it to a floating or integer type."
        )


def _plain(column: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
    """A contiguous column of a type that polars has: native byte order, 32 or 64 bits if float."""
    import numpy

    kind = column.dtype.newbyteorder("=")
    if kind.kind == "f":
        kind = numpy.dtype(numpy.float32 if kind.itemsize <= 4 else numpy.float64)
    return numpy.ascontiguousarray(column, dtype=kind)


def _unreadable(path: Path, what: str, error: Exception) -> DataError:
    if "bject array" in str(error):
        return DataError(
            f"{what}: {path} holds Python objects, which are never unpickled, expected numbers; "
            "convert the array to a floating or integer type and save it again."
        )
    return DataError(
        f"{what}: {path} cannot be read as {path.suffix}{looks_like(path)}: it is damaged, cut "
        f"short or of another format; write it again. "
        f"({(str(error).splitlines() or [type(error).__name__])[0]})"
    )
