"""From a path, a folder or a glob to the files of a table."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from pushforward.data.table_source import did_you_mean
from pushforward.errors import DataError

__all__ = ["EXTENSIONS", "family", "locate", "looks_like"]

# The extension decides the reader; files of one table share their family.
EXTENSIONS = {
    ".csv": "delimited",
    ".tsv": "delimited",
    ".parquet": "parquet",
    ".feather": "arrow",
    ".arrow": "arrow",
    ".ipc": "arrow",
    ".npy": "npy",
    ".npz": "npz",
}

# First bytes of files that turn up under a wrong name.
_CONTENTS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
    (b"PAR1", "Parquet: name it .parquet"),
    (b"ARROW1", "Arrow: name it .arrow"),
    (b"\x93NUMPY", "a NumPy array: name it .npy"),
    (b"\x1f\x8b", "gzip-compressed: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed: unpack it first"),
    (b"PK\x03\x04", "a zip archive (an .xlsx sheet or an .npz): unpack it or save it as .csv"),
    (b"\x89HDF", "HDF5: save the table as .parquet or .npy"),
    (b"\x80", "perhaps a pickle, which is never opened: save the table as .parquet or .npy"),
    (b"\xff\xfe", "UTF-16 text: save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text: save it as UTF-8"),
)


def locate(source: str | os.PathLike[str], what: str) -> list[Path]:
    """The files that ``source`` names, sorted: a file, a folder's tables, or a glob's matches.

    Args:
        source: a path or a glob pattern.
        what: what messages call the argument, such as ``DATA``.

    Raises:
        DataError: nothing is there, or what is there cannot be one table.
    """
    text = os.fspath(source)
    if "://" in text:
        raise DataError(
            f"{what}: {text} is an address, expected a file, a folder or a glob; "
            "download it and give the path of the file."
        )
    path = Path(text).expanduser()
    if path.is_dir():
        return _of_folder(path, what)
    if path.exists():
        family(path, what)
        return [path]
    if glob.has_magic(text):
        return _of_glob(str(path), what)
    raise DataError(f"{what}: {text} does not exist.{_nearest(path)}")


def family(path: Path, what: str) -> str:
    """The family of formats that the extension names.

    Raises:
        DataError: the extension is none of those that can be read.
    """
    suffix = path.suffix.lower()
    if suffix in EXTENSIONS:
        return EXTENSIONS[suffix]
    came = f"has the extension {suffix!r}" if suffix else "has no extension"
    raise DataError(
        f"{what}: {path} {came}, expected {', '.join(EXTENSIONS)}; "
        "save the table as .csv or .parquet."
    )


def looks_like(path: Path) -> str:
    """What the first bytes of a file say that it is, as the end of a sentence, or ''."""
    with path.open("rb") as file:
        head = file.read(8)
    for magic, words in _CONTENTS:
        if head.startswith(magic):
            return f" (its content looks like {words})"
    return ""


def _of_folder(folder: Path, what: str) -> list[Path]:
    files = sorted(
        item
        for item in folder.iterdir()
        if item.suffix.lower() in EXTENSIONS and not item.name.startswith(".") and item.is_file()
    )
    if not files:
        raise DataError(
            f"{what}: the folder {folder} holds no table, expected files ending in "
            f"{', '.join(EXTENSIONS)}."
        )
    _same_family(files, what)
    return files


def _of_glob(pattern: str, what: str) -> list[Path]:
    matches = (Path(match) for match in glob.glob(pattern, recursive=True))
    files = sorted(path for path in matches if path.is_file())
    if not files:
        raise DataError(f"{what}: no file matches {pattern}; check the folder and the pattern.")
    _same_family(files, what)
    return files


def _same_family(files: list[Path], what: str) -> None:
    first = files[0]
    for other in files[1:]:
        if family(other, what) != family(first, what):
            raise DataError(
                f"{what}: {first} and {other} are of different kinds, expected files of one kind; "
                f"name them with a glob such as '{first.parent / ('*' + first.suffix)}'."
            )


def _nearest(path: Path) -> str:
    try:
        names = [item.name for item in path.parent.iterdir() if not item.name.startswith(".")]
    except OSError:
        return f" Nor does the folder {path.parent}."
    hint = did_you_mean(path.name, names)
    # Listing a whole folder would not help; only a near miss does.
    return hint if hint.startswith(" Did") else ""
