"""The real table that comes with the package: di-muon events of the CMS experiment."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from pushforward.errors import ArgumentError

if TYPE_CHECKING:
    import polars

__all__ = ["cms_dimuon", "packaged_path"]


def packaged_path(name: str) -> Path:
    """The path of a file that comes with the package.

    Args:
        name: the file's name, such as ``"cms_dimuon.parquet"``.

    Raises:
        ArgumentError: no such file comes with the package; the message lists those that do.

    Example:
        >>> packaged_path("cms_dimuon.parquet").suffix
        '.parquet'
    """
    folder = resources.files("pushforward.data").joinpath("packaged")
    names = sorted(item.name for item in folder.iterdir() if item.is_file())
    if name not in names:
        raise ArgumentError(f"packaged_path: name is {name!r}, expected one of {', '.join(names)}.")
    # A package imported from a zip file has no path; as_file then keeps a copy until we exit.
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(resources.as_file(folder.joinpath(name)))


def cms_dimuon(columns: Sequence[str] | None = None) -> polars.DataFrame:
    """Di-muon events around the Z boson, recorded by CMS in 2011: 10 583 rows.

    Transverse momentum ``pt`` (GeV), pseudorapidity ``eta``, azimuth ``phi`` (rad), charge ``Q``,
    impact parameter ``dxy`` (cm) and isolation ``iso`` (GeV) of both muons. CMS open data; source
    and licence are in ``packaged/README.md``.

    Args:
        columns: the columns to read, in the order wanted; all twelve without it.

    Returns:
        A polars frame, float32, the charges int8.

    Raises:
        ArgumentError: a name in ``columns`` is not one of the twelve.

    Example:
        >>> cms_dimuon(["pt1", "pt2"]).shape
        (10583, 2)
    """
    import polars

    path = packaged_path("cms_dimuon.parquet")
    if columns is None:
        return polars.read_parquet(path)
    names = polars.read_parquet_schema(path)
    unknown = [name for name in columns if name not in names]
    if unknown:
        raise ArgumentError(
            f"cms_dimuon: columns holds {unknown[0]!r}, expected names out of {', '.join(names)}."
        )
    return polars.read_parquet(path, columns=list(columns))
