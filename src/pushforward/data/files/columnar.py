"""Parquet and Arrow files, and polars' lazy frames: read by slices, only the columns wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.data.files.arrow_names import arrow_names
from pushforward.data.files.locate import looks_like
from pushforward.errors import DataError

if TYPE_CHECKING:
    import polars

__all__ = ["LazyPart", "open_arrow", "open_lazy", "open_parquet"]


@dataclass(frozen=True)
class LazyPart:
    """A lazy frame read by slices: each slice touches only its own pages and columns."""

    file: str | None
    names: tuple[str, ...]
    rows: int
    frame: polars.LazyFrame

    def read(self, columns: Sequence[str], size: int) -> Iterator[polars.DataFrame]:
        """The rows in order, ``columns`` only, at most ``size`` at a time."""
        wanted = self.frame.select(list(columns))
        for start in range(0, self.rows, size):
            yield _collect(wanted.slice(start, size), self.file, f"from row {start + 1} on")


def open_parquet(path: Path, what: str) -> LazyPart:
    """A Parquet file.

    Raises:
        DataError: the file is damaged or no Parquet, or two of its columns share a name.
    """
    import polars

    return _open(path, lambda: polars.scan_parquet(path, glob=False), "Parquet", what)


def open_arrow(path: Path, what: str) -> LazyPart:
    """An Arrow file (Feather, IPC), of the file or the stream kind.

    Raises:
        DataError: the file is damaged or no Arrow, or two of its columns share a name.
    """
    import polars

    with path.open("rb") as file:
        is_file_kind = file.read(6) == b"ARROW1"

    def scan() -> polars.LazyFrame:
        repeated = [name for name, count in Counter(arrow_names(path)).items() if count > 1]
        if repeated:
            raise polars.exceptions.DuplicateError(f"{repeated[0]!r}")
        # A stream has no table of contents, so that kind is read whole.
        return polars.scan_ipc(path) if is_file_kind else polars.read_ipc_stream(path).lazy()

    return _open(path, scan, "Arrow", what)


def open_lazy(frame: polars.LazyFrame) -> LazyPart:
    """A polars lazy frame, evaluated slice by slice."""
    import polars

    names = tuple(frame.collect_schema().names())
    rows = int(_collect(frame.select(polars.len()), None, "").item())
    return LazyPart(None, names, rows, frame)


def _open(
    path: Path, scan: Callable[[], polars.LazyFrame], format_name: str, what: str
) -> LazyPart:
    import polars

    try:
        frame = scan()
        names = tuple(frame.collect_schema().names())
        rows = int(frame.select(polars.len()).collect().item())
    except (Exception, polars.exceptions.PanicException) as error:
        if isinstance(error, polars.exceptions.DuplicateError):
            raise DataError(
                f"{what}: {path} has two columns of one name ({_first_line(error)}); "
                "give every column its own name."
            ) from error
        raise DataError(
            f"{what}: {path} cannot be read as {format_name}{looks_like(path)}: it is damaged, "
            f"cut short or of another format; write it again. ({_first_line(error)})"
        ) from error
    return LazyPart(str(path), names, rows, frame)


def _collect(frame: polars.LazyFrame, file: str | None, where: str) -> polars.DataFrame:
    import polars

    try:
        return frame.collect()
    except (Exception, polars.exceptions.PanicException) as error:
        if file is None:
            raise
        raise DataError(
            f"{file} cannot be read {where}: it is damaged or cut short; "
            f"write it again. ({_first_line(error)})"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
