"""Frames in memory: pandas, polars, Arrow and whatever else narwhals knows."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pushforward.data.table_source import Native
from pushforward.errors import DataError, InputTypeError, MissingPackageError

if TYPE_CHECKING:
    import narwhals
    import polars

__all__ = ["FramePart", "frame_of_columns", "open_frame", "to_native"]


@dataclass(frozen=True)
class FramePart:
    """A frame in memory, taken slice by slice."""

    frame: narwhals.DataFrame[Any]
    file: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.frame.columns)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.frame)

    def read(self, columns: Sequence[str], size: int) -> Iterator[polars.DataFrame]:
        """The rows in order, ``columns`` only, at most ``size`` at a time."""
        wanted = self.frame.select(list(columns))
        for start in range(0, self.rows, size):
            yield _to_polars(wanted[start : start + size])


def open_frame(frame: object, what: str) -> tuple[FramePart, Native]:
    """A frame that narwhals can read, and the kind of frame to give back.

    Raises:
        DataError: two columns share a name.
        InputTypeError: it is no frame, or one that is not in memory.
    """
    import narwhals

    try:
        wrapped = narwhals.from_native(_with_text_names(frame, what), eager_only=True)
    except TypeError as error:
        raise InputTypeError(
            f"{what} is a {type(frame).__module__}.{type(frame).__name__}, expected the path of a "
            "table, a pandas, polars or Arrow frame, an array, a tensor or a dict of columns."
        ) from error
    kind = wrapped.implementation
    native: Native = "pandas" if kind.is_pandas() else "arrow" if kind.is_pyarrow() else "polars"
    return FramePart(wrapped), native


def frame_of_columns(columns: Mapping[Any, Any], what: str) -> polars.DataFrame:
    """A dict of columns (lists, arrays, tensors, series) as a polars frame.

    Raises:
        DataError: columns differ in length or hold what is no column.
    """
    import polars

    series = []
    for name, values in columns.items():
        bare = values.detach().cpu().numpy() if hasattr(values, "detach") else values
        bare = bare.to_list() if hasattr(bare, "to_list") else bare
        try:
            series.append(polars.Series(str(name), bare, strict=False))
        except Exception as error:
            raise DataError(
                f"{what}: column {str(name)!r} is a {type(values).__name__} that cannot be read "
                "as a column, expected a list or an array of numbers."
            ) from error
    lengths = {column.name: column.len() for column in series}
    if len(set(lengths.values())) > 1:
        held = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"{what}: the columns have different lengths ({held}); make them equal.")
    return polars.DataFrame(series)


def to_native(frame: polars.DataFrame, native: Native) -> Any:
    """Give a polars frame back as the kind of frame that came in.

    Args:
        frame: the frame.
        native: ``"pandas"``, ``"arrow"`` or ``"polars"``.

    Raises:
        MissingPackageError: the package of that kind is not installed here.

    Example:
        >>> import polars
        >>> type(to_native(polars.DataFrame({"a": [1.0]}), "pandas")).__name__
        'DataFrame'
    """
    if native == "polars":
        return frame
    try:
        if native == "arrow":
            return frame.to_arrow()
        import pandas

        # Column by column: polars' own to_pandas needs pyarrow even for plain numbers.
        return pandas.DataFrame({column.name: _to_pandas(column) for column in frame})
    except ModuleNotFoundError as error:
        package = "pyarrow" if native == "arrow" else "pandas"
        raise MissingPackageError(
            f"to_native: a frame of {package} is to be given back and {package} is not installed; "
            f"pip install {package}"
        ) from error


def _to_pandas(column: polars.Series) -> Any:
    """What pandas has for a column: it tells gaps from numbers only in types of its own."""
    import pandas
    import polars

    kind = column.dtype
    if column.null_count() and (kind.is_integer() or kind == polars.Boolean):
        nullable = str(kind) if kind.is_integer() else "boolean"
        return pandas.array(column.to_list(), dtype=nullable)
    if isinstance(kind, polars.Datetime) and kind.time_zone:
        times = pandas.Series(
            column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
        )
        return times.dt.tz_localize("UTC").dt.tz_convert(kind.time_zone)
    if kind == polars.Categorical:
        return pandas.Categorical(column.to_list())
    return (
        column.to_numpy()
        if kind.is_numeric() or isinstance(kind, polars.Datetime)
        else column.to_list()
    )


def _with_text_names(frame: Any, what: str) -> Any:
    """The frame with its names as text; pandas allows other names, and repeated ones."""
    names = getattr(frame, "column_names", None) or getattr(frame, "columns", None)
    if names is None or callable(names):
        return frame
    texts = [str(name) for name in names] if not hasattr(frame, "column_names") else list(names)
    repeated = [name for name, count in Counter(texts).items() if count > 1]
    if repeated:
        raise DataError(
            f"{what}: the frame has two columns called {repeated[0]!r}; "
            "give every column its own name."
        )
    if hasattr(frame, "set_axis") and any(not isinstance(name, str) for name in names):
        return frame.set_axis(texts, axis=1)
    return frame


def _to_polars(frame: narwhals.DataFrame[Any]) -> polars.DataFrame:
    import polars

    if frame.implementation.is_polars() or frame.implementation.is_pyarrow():
        return frame.to_polars()
    # Column by column, since polars would ask for pyarrow to read a pandas frame with text.
    return polars.DataFrame([_series(column) for column in frame.iter_columns()])


def _series(column: narwhals.Series[Any]) -> polars.Series:
    import polars

    kind = str(column.dtype)
    if column.dtype.is_numeric() and not (column.dtype.is_integer() and column.is_null().any()):
        return polars.Series(column.name, column.to_numpy(), strict=False)
    # pandas marks a gap among texts by a float that is not a number.
    gaps = column.is_null().to_list()
    values = [None if gap else value for value, gap in zip(column.to_list(), gaps, strict=True)]
    clocks = {str(zone) for one in values if (zone := getattr(one, "tzinfo", None)) is not None}
    if len(clocks) > 1:  # pandas keeps such times as objects; one column has one clock
        values = [one if one is None else one.astimezone(datetime.timezone.utc) for one in values]
    made = polars.Series(column.name, values, strict=False)
    if kind.startswith("Categorical") and made.dtype == polars.String:
        return made.cast(polars.Categorical)
    return made
