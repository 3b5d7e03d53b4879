"""CSV and TSV: read in blocks of bytes, every cell first as text, so that nothing is guessed.

A column's type is decided by all of its cells: whole numbers, numbers, true/false, else text.
Reading a million rows so costs two passes of the parser and the memory of one block.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.data.files.cells import Kind, Kinds, parse
from pushforward.data.files.locate import looks_like
from pushforward.errors import DataError

if TYPE_CHECKING:
    import polars

__all__ = ["DelimitedPart", "open_delimited"]

_BLOCK = 1 << 23  # bytes parsed at a time


@dataclass(frozen=True)
class DelimitedPart:
    """A CSV or TSV file whose header and column types are known."""

    file: str
    names: tuple[str, ...]
    rows: int
    kinds: tuple[Kind, ...]
    separator: str
    start: int  # where the data begins, in bytes

    def read(self, columns: Sequence[str], size: int) -> Iterator[polars.DataFrame]:
        """The rows in order, ``columns`` only, at most ``size`` at a time."""
        kinds = dict(zip(self.names, self.kinds, strict=True))
        for block in _blocks(Path(self.file), self.names, self.separator, self.start):
            frame = parse(block, {name: kinds[name] for name in columns})
            yield from frame.iter_slices(size)


def open_delimited(path: Path, what: str) -> DelimitedPart:
    """Read the header of a CSV or TSV file, count its rows and decide the columns' types.

    The separator of a .csv is the comma, or the semicolon or tab where the header has no comma.

    Raises:
        DataError: the file is empty, has no header or no rows, is not UTF-8 text, repeats a
            column name, or has a row longer than its header.
    """
    header, start = _header(path, what)
    separator = "\t" if path.suffix.lower() == ".tsv" else _separator(header)
    names = _names(path, header, separator, what)
    kinds, rows = Kinds(names), 0
    for block in _blocks(path, names, separator, start):
        kinds.update(block)
        rows += block.height
    return DelimitedPart(str(path), names, rows, kinds.decide(), separator, start)


def _header(path: Path, what: str) -> tuple[str, int]:
    """The header's text, and the place of the byte after it."""
    with path.open("rb") as file:
        data = b""
        while True:
            more = file.read(1 << 16)
            data += more
            end = _first_end(data)
            if end >= 0 or not more or len(data) > _BLOCK:
                break
    if not data.strip():
        raise DataError(f"{what}: {path} is empty, expected a header and rows of numbers.")
    end = len(data) if end < 0 else end + 1
    if b"\0" in data:
        raise _not_text(path, what)
    try:
        text = data[:end].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_text(path, what) from error
    return text.rstrip("\r\n"), end


def _first_end(data: bytes) -> int:
    """The place of the first line break that is not in quotes, or -1."""
    end, start, quotes = data.find(b"\n"), 0, 0
    while end >= 0:
        quotes += data.count(b'"', start, end)
        if quotes % 2 == 0:
            break
        start, end = end, data.find(b"\n", end + 1)
    return end


def _last_end(data: bytes) -> int:
    """The place of the last line break that is not in quotes, or -1."""
    end = data.rfind(b"\n")
    quotes = data.count(b'"', 0, max(end, 0))
    while end >= 0 and quotes % 2:
        before = data.rfind(b"\n", 0, end)
        quotes -= data.count(b'"', max(before, 0), end)
        end = before
    return end


def _not_text(path: Path, what: str) -> DataError:
    return DataError(
        f"{what}: {path} is not a table in UTF-8 text{looks_like(path)}; save it as UTF-8 CSV."
    )


def _separator(header: str) -> str:
    return next((mark for mark in (",", ";", "\t") if mark in header), ",")


def _names(path: Path, header: str, separator: str, what: str) -> tuple[str, ...]:
    names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [""])]
    for index, name in enumerate(names):
        if name in names[:index]:
            called = f"are called {name!r}" if name else "have no name"
            raise DataError(
                f"{what}: {path}: columns {names.index(name) + 1} and {index + 1} {called}; "
                "give every column its own name."
            )
    if all(map(_is_number, names)) and names != [str(index) for index in range(len(names))]:
        raise DataError(
            f"{what}: {path} begins with a row of numbers ({names[0]}, …), expected a header; "
            "put the names of the columns into the first line."
        )
    return tuple(names)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _blocks(
    path: Path, names: Sequence[str], separator: str, start: int
) -> Iterator[polars.DataFrame]:
    """The data as frames of text, cut at the ends of rows."""
    first = 1
    for data in _bytes(path, start):
        frame = _parse(path, data, names, separator, first)
        yield frame
        first += frame.height


def _bytes(path: Path, start: int) -> Iterator[bytes]:
    rest = b""
    with path.open("rb") as file:
        file.seek(start)
        while more := file.read(_BLOCK):
            data = rest + more
            end = _last_end(data)
            # Line breaks at the very end are no rows, so the last ones wait for what follows.
            while end > 0 and data[end - 1 : end] in (b"\n", b"\r"):
                end -= 1
            if end <= 0:
                rest = data
                continue
            yield data[:end]
            rest = data[end:].removeprefix(b"\r").removeprefix(b"\n")
    rest = rest.rstrip(b"\r\n")
    if rest:
        yield rest


def _parse(
    path: Path, data: bytes, names: Sequence[str], separator: str, first: int
) -> polars.DataFrame:
    import polars

    # polars takes the number of columns from the first row, which may be short or blank.
    model = separator.join("0" for _ in names).encode() + b"\n"
    try:
        frame = polars.read_csv(
            io.BytesIO(model + data),
            has_header=False,
            separator=separator,
            schema=dict.fromkeys(names, polars.String),
        )
    except (Exception, polars.exceptions.PanicException) as error:
        raise _why(path, data, names, separator, first, error) from error
    return frame.slice(1)


def _why(
    path: Path,
    data: bytes,
    names: Sequence[str],
    separator: str,
    first: int,
    error: BaseException,
) -> DataError:
    """Find the row that polars could not read, and say what is wrong with it."""
    try:
        text = data.decode()
    except UnicodeDecodeError as wrong:
        row = first + data.count(b"\n", 0, wrong.start)
        return DataError(f"{path}: row {row} is not UTF-8 text; save the file as UTF-8.")
    for row, cells in enumerate(csv.reader(io.StringIO(text), delimiter=separator), start=first):
        if len(cells) > len(names):
            return DataError(
                f"{path}: row {row} has {len(cells)} values and the header {len(names)} names; "
                "correct the row (a value that holds the separator needs quotes)."
            )
    for row, line in enumerate(text.split("\n"), start=first):
        if line.count('"') % 2:
            return DataError(
                f"{path}: row {row} has a quotation mark without its partner; close the quotes, or "
                'double a mark that is part of a text ("5"" pipe").'
            )
    message = (str(error).strip().splitlines() or [type(error).__name__])[0]
    last = first + data.count(b"\n")
    return DataError(
        f"{path}: rows {first} to {last} cannot be read as text separated by {separator!r}: "
        f"{message}; correct the file."
    )
